/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0 */
/*
 * The part of the user's filter that the kernel applies before a sample is
 * written. It may pass too much, never too little: user space filters again.
 * Totals and the conns map are not filtered, so the accounts always balance.
 */
#ifndef TWTRACE_FILTER_H
#define TWTRACE_FILTER_H

#include "maps.h"

#define FILTER_NETNS 8
#define FILTER_PORTS 16
#define FILTER_NETS 4
#define FILTER_PIDS 16
#define FILTER_UIDS 8

struct port_range {
	__u16 low, high;
};

/* An IPv6 prefix; IPv4 ones are below ::ffff:0:0/96. */
struct prefix {
	__u8 addr[16];
	__u8 mask[16];
};

struct filter_rules {
	__u32 family; /* 4, 6, or 0 for both */
	__u32 kinds;  /* bit per enum kind */
	__u32 netns_len, lports_len, rports_len, laddrs_len, raddrs_len;
	__u32 netns[FILTER_NETNS];
	struct port_range lports[FILTER_PORTS];
	struct port_range rports[FILTER_PORTS];
	struct prefix laddrs[FILTER_NETS];
	struct prefix raddrs[FILTER_NETS];
	__u32 pids_len, uids_len;
	__u32 pids[FILTER_PIDS];
	__u32 uids[FILTER_UIDS];
	__u32 follow; /* only processes that are followed */
};

const volatile struct filter_rules filter = { .kinds = ~0U };

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

/* a is 4 or 16 bytes of an address of that family; compared as IPv6. */
static __always_inline bool addr_in(const volatile struct prefix *p, __u32 len, const __u8 *a,
				    __u8 family)
{
	__u32 w[4] = { 0, 0, 0xffff, 0 };

	if (family == 4) {
		w[3] = word(a, 0);
	} else {
		for (int i = 0; i < 4; i++)
			w[i] = word(a, i * 4);
	}
	for (int i = 0; i < FILTER_NETS; i++) {
		__u32 diff = 0;

		if (i >= len)
			break;
		for (int j = 0; j < 4; j++)
			diff |= (w[j] ^ vword(p[i].addr, j * 4)) & vword(p[i].mask, j * 4);
		if (!diff)
			return true;
	}
	/* Not known. */
	return !w[3] && !w[0] && !w[1] && (family == 4 || !w[2]);
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

static __always_inline bool wanted_kind(__u8 kind)
{
	return filter.kinds & (1U << kind);
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
	return wanted_procs(e);
}

#endif
