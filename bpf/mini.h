/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0 */
/*
 * The mini-socket: born, promoted, ended. What calls these differs by hook set
 * (timers.h, trampolines.h); what they do does not.
 */
#ifndef TWTRACE_MINI_H
#define TWTRACE_MINI_H

#include "emit.h"

static __always_inline __u64 cookie_of(struct inet_timewait_sock *tw)
{
	return BPF_CORE_READ(tw, __tw_common.skc_cookie.counter);
}

/* A number, which the verifier lets us reckon with, unlike the pointer. */
static __always_inline __u64 address_of(const void *p)
{
	__u64 address = 0;

	bpf_probe_read_kernel(&address, sizeof(address), &p);
	return address;
}

/* The conn of a mini-socket: by its cookie, or by its address if it was born without. */
static __always_inline struct conn *conn_of_mini(const void *tw, __u64 cookie, __u64 *key)
{
	struct conn *c = conn_get(cookie);

	*key = cookie;
	if (c && mini_of_conn(c) != MINI_NONE)
		return c;
	*key = address_of(tw);
	return conn_get(*key);
}

/* What the mini-socket itself says, and a copy of its common part. */
static __always_inline void fill_mini(struct event *e, struct inet_timewait_sock *tw,
				      struct sock_common *copy)
{
	copy_common(copy, &tw->__tw_common);
	e->cookie = copy->skc_cookie.counter;
	tuple_of_copy(e, copy);
	e->flags |= EVENT_STAMPS_KNOWN;
	if (BPF_CORE_READ((struct tcp_timewait_sock *)tw, tw_ts_recent_stamp))
		e->flags |= EVENT_STAMPS;
}

/* All there is to say of a mini-socket. Returns its key in conns, 0 if not there. */
static __noinline __u64 describe(struct event *e, struct inet_timewait_sock *tw)
{
	struct sock_common copy;
	struct conn *c;
	__u64 key;

	__builtin_memset(e, 0, sizeof(*e));
	e->time = bpf_ktime_get_ns();
	fill_mini(e, tw, &copy);
	c = conn_of_mini(tw, e->cookie, &key);
	if (c)
		fill_conn(e, c);
	else
		key = 0;
	e->old = BPF_CORE_READ(tw, tw_substate);
	e->why = !copy.skc_nulls_node.pprev    ? WHY_REUSED :
		 netns_dying(copy.skc_net.net) ? WHY_NETNS_EXIT :
						 WHY_KILLED;
	return key;
}

/* IPv4 as ::ffff:a.b.c.d: a segment does not say which family its socket has. */
static __always_inline void mapped(__u64 to[2], const __u8 *addr, __u8 family)
{
	const __u32 *w = (const __u32 *)addr;

	if (family == 4) {
		to[0] = 0;
		to[1] = (__u64)bpf_htonl(0xffff) | (__u64)w[0] << 32;
	} else {
		to[0] = *(const __u64 *)addr;
		to[1] = *(const __u64 *)(addr + 8);
	}
}

static __always_inline void tuple_key(struct tuple *k, const struct event *e)
{
	mapped(k->laddr, e->laddr, e->family);
	mapped(k->raddr, e->raddr, e->family);
	k->netns = e->netns;
	k->lport = e->lport;
	k->rport = e->rport;
}

static __always_inline bool same_tuple(const struct event *a, const struct event *b)
{
	struct tuple x, y;

	tuple_key(&x, a);
	tuple_key(&y, b);
	return x.raddr[0] == y.raddr[0] && x.raddr[1] == y.raddr[1] && x.laddr[0] == y.laddr[0] &&
	       x.laddr[1] == y.laddr[1] && x.netns == y.netns && x.lport == y.lport &&
	       x.rport == y.rport;
}

/*
 * A mini-socket is born. e: time, cookie, tuple and timestamps; key: where conns has
 * the connection or shall have it.
 */
static __noinline void born(struct event *e, __u64 key, bool parked)
{
	struct conn *c = conn_get(key);
	struct tally *t = tally_of(e->netns);

	e->why = WHY_ACTIVE;
	e->old = TCP_FIN_WAIT2;
	if (c) {
		fill_conn(e, c);
		if (c->state == TCP_CLOSING)
			e->why = WHY_SIMULTANEOUS;
		else if (c->state != TCP_FIN_WAIT2)
			e->since = 0; /* that transition was skipped */
		e->old = c->state == TCP_CLOSING ? TCP_CLOSING : TCP_FIN_WAIT2;
	} else {
		struct conn fresh = { .lport = e->lport, .netns = e->netns };

		c = conn_add(key, &fresh);
	}
	e->kind = parked ? KIND_PARKED : KIND_ENTER;
	e->new = parked ? TCP_FIN_WAIT2 : TCP_TIME_WAIT;
	if (c) {
		/* Before anybody reads the substate again: see started(). */
		swap_mini(c, parked ? MINI_PARKED : MINI_TIME_WAIT);
		if (!parked)
			c->since = e->time;
	}
	if (parked && find_parked_by_tuple) {
		struct tuple k;

		tuple_key(&k, e);
		if (bpf_map_update_elem(&parked_minis, &k, &key, BPF_ANY))
			count(LOSS_CONNS);
	}
	if (t) {
		__sync_fetch_and_add(&t->births, 1);
		if (parked)
			__sync_fetch_and_add(&t->parked, 1);
	}
	emit(e);
}

/* A parked mini-socket got its FIN. e has the tuple and what conns knows. */
static __noinline void promote(struct event *e, struct conn *c)
{
	struct tally *t;
	__u32 parked;

	if (!c)
		return;
	parked = (c->mini & ~MINI_MASK) | MINI_PARKED;
	if (!__sync_bool_compare_and_swap(&c->mini, parked, parked - MINI_PARKED + MINI_TIME_WAIT))
		return;
	e->kind = KIND_ENTER;
	e->why = WHY_LATE_FIN;
	e->old = TCP_FIN_WAIT2;
	e->new = TCP_TIME_WAIT;
	c->since = e->time;
	if (find_parked_by_tuple) {
		struct tuple k;

		tuple_key(&k, e);
		bpf_map_delete_elem(&parked_minis, &k);
	}
	t = tally_of(e->netns);
	if (t)
		__sync_fetch_and_add(&t->promoted, 1);
	emit(e);
}

static __always_inline void count_end(struct tally *t, __u8 why, bool parked)
{
	__u32 i = why - WHY_EXPIRED;

	if (i < ENDS)
		__sync_fetch_and_add(parked ? &t->parked_ends[i] : &t->ends[i], 1);
}

/* A mini-socket is gone, as e->why says. e, key: from describe(). */
static __noinline void ended(struct event *e, __u64 key)
{
	struct conn *c = conn_get(key);
	struct tally *t = tally_of(e->netns);
	bool parked = e->old == TCP_FIN_WAIT2;
	__u8 why = e->why;

	if (c && mini_of_conn(c) == MINI_PARKED && !parked) {
		/* Its promotion was not seen at the time. */
		count(LOSS_LATE);
		promote(e, c);
		e->since = 0;
		e->old = TCP_TIME_WAIT;
		e->why = why;
	}
	e->kind = parked ? KIND_CLOSE : KIND_EXIT;
	e->new = TCP_CLOSE;
	if (parked && find_parked_by_tuple) {
		struct tuple k;

		tuple_key(&k, e);
		bpf_map_delete_elem(&parked_minis, &k);
	}
	if (t)
		count_end(t, why, parked);
	emit(e);
	if (c)
		conn_delete(c, key);
}

/* User space knows of a mini-socket that was parked before the trace. */
struct adoption {
	__u64 cookie;
	struct tuple tuple;
};

/* Its promotion is noticed only where it is known that it was parked. */
static __always_inline int on_adopt(const struct adoption *a)
{
	struct conn c = { .lport = a->tuple.lport, .netns = a->tuple.netns, .mini = MINI_PARKED };
	struct tuple k = a->tuple;
	__u64 key = a->cookie;

	if (conn_get(key)) /* the hooks know it already */
		return 0;
	conn_add(key, &c);
	if (find_parked_by_tuple && bpf_map_update_elem(&parked_minis, &k, &key, BPF_ANY))
		count(LOSS_CONNS);
	return 0;
}

/*
 * The end has been read of one that was adopted: before, or the hooks have done this. Or the
 * kernel has no such socket any more, and no hook has seen its end.
 */
static __always_inline int on_disown(const struct adoption *a)
{
	__u64 key = a->cookie;
	struct conn *c = conn_get(key);

	if (c)
		conn_delete(c, key);
	return 0;
}

#endif
