/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0 */
/*
 * The part of the user's filter that the kernel applies before a sample is
 * written. It may pass too much, never too little: user space filters again.
 * Totals and the conns map are not filtered, so the accounts always balance.
 */
#ifndef TWTRACE_FILTER_H
#define TWTRACE_FILTER_H

#include "maps.h"

static __always_inline bool port_in(const volatile struct port_range *r, __u32 len, __u16 port)
{
	for (int i = 0; i < FILTER_PORTS; i++) {
		if (i >= len)
			break;
		if (port >= r[i].low && port <= r[i].high)
			return true;
	}
	return false;
}

static __always_inline __u32 word(const __u8 *b, int i)
{
	return (__u32)b[i] << 24 | (__u32)b[i + 1] << 16 | (__u32)b[i + 2] << 8 | b[i + 3];
}

static __always_inline __u32 vword(const volatile __u8 *b, int i)
{
	return (__u32)b[i] << 24 | (__u32)b[i + 1] << 16 | (__u32)b[i + 2] << 8 | b[i + 3];
}

/* An address as IPv6, in words. */
struct ip {
	__u32 w[4];
	bool known;
};

/* a is 4 or 16 bytes of an address of that family. */
static __always_inline struct ip ip_of(const __u8 *a, __u8 family)
{
	struct ip ip = { .w = { 0, 0, 0xffff, 0 } };

	if (family == 4) {
		ip.w[3] = word(a, 0);
	} else {
		for (int i = 0; i < 4; i++)
			ip.w[i] = word(a, i * 4);
	}
	ip.known = ip.w[3] || ip.w[0] || ip.w[1] || (family != 4 && ip.w[2]);
	return ip;
}

static __always_inline bool ip_in(const volatile struct prefix *p, const struct ip *ip)
{
	__u32 diff = 0;

	for (int j = 0; j < 4; j++)
		diff |= (ip->w[j] ^ vword(p->addr, j * 4)) & vword(p->mask, j * 4);
	return !diff;
}

static __always_inline bool addr_in(const volatile struct prefix *p, __u32 len, const __u8 *a,
				    __u8 family)
{
	struct ip ip = ip_of(a, family);

	for (int i = 0; i < FILTER_NETS; i++) {
		if (i >= len)
			break;
		if (ip_in(&p[i], &ip))
			return true;
	}
	return !ip.known;
}

static __always_inline bool end_is(const volatile struct end *x, const struct ip *ip, __u16 port)
{
	return (!port || (port >= x->ports.low && port <= x->ports.high)) &&
	       (!ip->known || ip_in(&x->net, ip));
}

/* Whether one of the ends in the filter is the local or the remote one. */
static __always_inline bool end_in(const struct event *e)
{
	struct ip local = ip_of(e->laddr, e->family), remote = ip_of(e->raddr, e->family);

	for (int i = 0; i < FILTER_ENDS; i++) {
		if (i >= filter.ends_len)
			break;
		if (end_is(&filter.ends[i], &local, e->lport) ||
		    end_is(&filter.ends[i], &remote, e->rport))
			return true;
	}
	return false;
}

static __always_inline bool netns_in(__u32 inum)
{
	for (int i = 0; i < FILTER_NETNS; i++) {
		if (i >= filter.netns_len)
			break;
		if (filter.netns[i] == inum)
			return true;
	}
	return false;
}

/* IPv4 in an AF_INET6 socket counts as IPv4; the local address may not be chosen yet. */
static __always_inline __u8 family_of(const struct event *e)
{
	const __u64 *hi = (const __u64 *)e->raddr;

	if (e->family == 6 && !hi[0] && word(e->raddr, 8) == 0xffff)
		return 4;
	return e->family;
}

static __always_inline bool number_in(const volatile __u32 *list, __u32 len, __u32 n)
{
	for (int i = 0; i < FILTER_PIDS; i++) {
		if (i >= len)
			break;
		if (list[i] == n)
			return true;
	}
	return false;
}

_Static_assert(FILTER_PIDS >= FILTER_UIDS, "number_in() goes through both");

/*
 * Whose connection it is: one of its processes has to be in each list. Without the first,
 * the opener or accepter, it may still be one that user space alone knows of.
 */
static __always_inline bool wanted_pid(const struct event *e)
{
	bool in = number_in(filter.pids, filter.pids_len, e->origin >> PROC_TGID_SHIFT) ||
		  number_in(filter.pids, filter.pids_len, e->closer >> PROC_TGID_SHIFT);

	return in || !e->origin;
}

static __always_inline bool wanted_uid(const struct event *e, const struct proc *origin,
				       const struct proc *closer)
{
	bool in = (origin && number_in(filter.uids, filter.uids_len, origin->uid)) ||
		  (closer && number_in(filter.uids, filter.uids_len, closer->uid));

	return in || !origin || (e->closer && !closer);
}

static __always_inline bool wanted_procs(const struct event *e)
{
	const struct proc *origin, *closer;

	if (filter.pids_len && !wanted_pid(e))
		return false;
	if (!filter.uids_len && !filter.follow)
		return true;
	origin = bpf_map_lookup_elem(&twtrace_procs, &e->origin);
	closer = bpf_map_lookup_elem(&twtrace_procs, &e->closer);
	if (filter.uids_len && !wanted_uid(e, origin, closer))
		return false;
	return !filter.follow || !origin || origin->followed || (closer && closer->followed) ||
	       (e->closer && !closer);
}

/* A port that is not known (0) cannot be held against the connection. */
static __always_inline bool wanted(const struct event *e)
{
	if (filter.family && filter.family != family_of(e))
		return false;
	if (filter.netns_len && !netns_in(e->netns))
		return false;
	if (filter.lports_len && e->lport && !port_in(filter.lports, filter.lports_len, e->lport))
		return false;
	if (filter.rports_len && e->rport && !port_in(filter.rports, filter.rports_len, e->rport))
		return false;
	if (filter.laddrs_len && !addr_in(filter.laddrs, filter.laddrs_len, e->laddr, e->family))
		return false;
	if (filter.raddrs_len && !addr_in(filter.raddrs, filter.raddrs_len, e->raddr, e->family))
		return false;
	if (filter.ends_len && !end_in(e))
		return false;
	return wanted_procs(e);
}

#endif
