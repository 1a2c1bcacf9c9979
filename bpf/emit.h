/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0 */
/* From a socket and what is known of it to a sample in the ring. */
#ifndef TWTRACE_EMIT_H
#define TWTRACE_EMIT_H

#include "conns.h"
#include "filter.h"

/*
 * The tuple of a sock_common, which full sockets and mini-sockets share. Where the
 * verifier does not know the pointer's type (a mini-socket is found from its timer), it is
 * that of a copy, which takes one call of a helper instead of ten.
 */
#define DEFINE_TUPLE(name, GET)                                                          \
	static __always_inline void name(struct event *e, const struct sock_common *c)   \
	{                                                                                \
		e->netns = GET(c, skc_net.net, ns.inum);                                 \
		e->lport = GET(c, skc_num);                                              \
		e->rport = bpf_ntohs(GET(c, skc_dport));                                 \
		if (GET(c, skc_family) == AF_INET) {                                     \
			e->family = 4;                                                   \
			*(__u32 *)e->laddr = GET(c, skc_rcv_saddr);                      \
			*(__u32 *)e->raddr = GET(c, skc_daddr);                          \
		} else {                                                                 \
			e->family = 6;                                                   \
			bpf_core_read(e->laddr, sizeof(e->laddr), &c->skc_v6_rcv_saddr); \
			bpf_core_read(e->raddr, sizeof(e->raddr), &c->skc_v6_daddr);     \
		}                                                                        \
	}

#define LOAD1(c, f) ((c)->f)
#define LOAD2(c, f, g) ((c)->f->g)
#define LOAD(c, ...) ___apply(LOAD, ___narg(__VA_ARGS__))(c, __VA_ARGS__)

#define COPIED1(c, f) ((c)->f)
#define COPIED2(c, f, g) BPF_CORE_READ((c)->f, g)
#define COPIED(c, ...) ___apply(COPIED, ___narg(__VA_ARGS__))(c, __VA_ARGS__)

DEFINE_TUPLE(tuple_of_sock, LOAD)
DEFINE_TUPLE(tuple_of_copy, COPIED)

static __always_inline void copy_common(struct sock_common *to, const struct sock_common *from)
{
	bpf_core_read(to, bpf_core_type_size(struct sock_common), from);
}

static __always_inline void read_tuple(struct event *e, const struct sock_common *from)
{
	struct sock_common copy;

	copy_common(&copy, from);
	tuple_of_copy(e, &copy);
}

/* All that is known of the connection, so that a sample needs no other to be understood. */
static __always_inline void fill_conn(struct event *e, const struct conn *c)
{
	e->established = c->established;
	e->closed = c->closed;
	e->since = c->since;
	e->origin = c->origin;
	e->closer = c->closer;
	e->old = c->state;
	e->role = c->role;
	e->side = c->side;
	e->rearms = c->rearms;
	e->idle = idle_of(c);
	if (c->flags & CONN_BOUND)
		e->flags |= EVENT_BOUND;
	if (c->flags & CONN_TAKEN_IN)
		e->flags |= EVENT_LISTENER;
	if (!e->lport)
		e->lport = c->lport;
}

__noinline int emit(struct event *e)
{
	if (!e)
		return 0;
	/* A listener of both families, on any address, serves connections of each. */
	if (e->kind != KIND_LISTEN && !wanted(e))
		return 0;
	if (bpf_ringbuf_output(&events, e, sizeof(*e), BPF_RB_NO_WAKEUP))
		count(LOSS_RING);
	return 0;
}

#endif
