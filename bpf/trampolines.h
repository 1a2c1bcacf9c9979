/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0 */
/*
 * The ledger of mini-sockets, kept at the functions that make and unmake them. No other
 * timer is touched, and every reason is exact. All these functions are called from
 * another file or through a pointer, so the compiler has not inlined them there; where it
 * has in their own file, on_kill() sees it.
 */
#ifndef TWTRACE_TRAMPOLINES_H
#define TWTRACE_TRAMPOLINES_H

#include "mini.h"
#include "skb.h"
#include "state.h"

/* enum tcp_tw_status; its numbers have not changed, and it may not be in BTF. */
#define TW_RST 1
#define TW_SYN 3

/*
 * How long after tcp_timewait_state_process() its verdict explains an end, ns. The end
 * is a few instructions later, but a virtual CPU may be off its host's for long.
 */
#define VERDICT_NS 1000000000ULL

/*
 * inet_twsk_alloc() without a mini-socket: for want of room in the namespace, or of memory.
 * This may run in a task, with softirqs and, from 7.0 on, preemption in between, and is then
 * skipped; of two programs, the second finds the conn as the first has left it, and takes
 * what that one has not. A refusal that both skip is drift.
 */
static __always_inline int on_alloc(struct sock *sk, struct inet_timewait_sock *tw, bool caught)
{
	struct event e = { .time = bpf_ktime_get_ns() };
	struct tally *t;
	struct conn *c;

	if (tw || !enabled || sk->sk_protocol != IPPROTO_TCP)
		return 0;
	e.cookie = bpf_get_socket_cookie(sk);
	c = conn_of(e.cookie, sk);
	if (c ? mini_of_conn(c) == MINI_REFUSED : caught)
		return 0;
	tuple_of_sock(&e, &sk->__sk_common);
	if (c) {
		fill_conn(&e, c);
		set_mini(c, MINI_REFUSED); /* on_close() has nothing to add */
	}
	e.kind = KIND_REFUSED;
	e.why = at_bucket_limit(sk) ? WHY_BUCKETS : WHY_MEMORY;
	e.old = sk->__sk_common.skc_state;
	e.new = TCP_CLOSE;
	t = tally_of(e.netns);
	if (t)
		__sync_fetch_and_add(&t->refused, 1);
	emit(&e);
	return 0;
}

/*
 * inet_twsk_hashdance() or, from 6.11 on, inet_twsk_hashdance_schedule(): a birth. They are
 * called with softirqs off, so that no run is skipped before 7.0. Since then a program can be
 * preempted: of two, the second takes the births that the first has not, of connections that
 * are known.
 */
static __always_inline int on_hashed(struct inet_timewait_sock *tw, struct sock *sk, bool caught)
{
	struct event e = { .time = bpf_ktime_get_ns() };
	__u64 key;

	if (!enabled || sk->sk_protocol != IPPROTO_TCP)
		return 0;
	e.cookie = cookie_of(tw); /* not the socket's: one made by now is not the mini-socket's */
	key = e.cookie ?: address_of(tw);
	if (caught) {
		struct conn *c = conn_get(key);

		if (!c || mini_of_conn(c) != MINI_NONE)
			return 0;
		count(LOSS_BIRTH);
	}
	tuple_of_sock(&e, &sk->__sk_common);
	e.flags |= EVENT_STAMPS_KNOWN;
	if (BPF_CORE_READ((struct tcp_sock *)sk, rx_opt.ts_recent_stamp))
		e.flags |= EVENT_STAMPS;
	born(&e, key, BPF_CORE_READ(tw, tw_substate) == TCP_FIN_WAIT2);
	return 0;
}

/* tw_timer_handler() */
static __always_inline int on_expired(struct timer_list *timer)
{
	struct inet_timewait_sock *tw;
	struct event e;
	__u64 key;

	if (!enabled)
		return 0;
	tw = (void *)timer - bpf_core_field_offset(struct inet_timewait_sock, tw_timer);
	key = describe(&e, tw);
	e.why = WHY_EXPIRED;
	ended(&e, key);
	return 0;
}

/* inet_twsk_deschedule_put(): an early end, unless the timer has just fired. */
static __always_inline int on_deschedule(struct inet_timewait_sock *tw)
{
	struct cpu_state *cpu = this_cpu();
	struct event e;
	struct conn *c;
	__u64 key;

	if (!cpu || !enabled || !BPF_CORE_READ(tw, tw_timer.entry.pprev))
		return 0;
	key = describe(&e, tw);
	c = conn_get(key);
	if (e.why == WHY_KILLED && c && (c->flags & CONN_ABORTED)) {
		e.why = WHY_DESTROYED;
	} else if (e.why == WHY_KILLED && cpu->verdict_tw == (__u64)tw &&
		   e.time - cpu->verdict_time < VERDICT_NS) {
		e.why = cpu->verdict;
		if (cpu->verdict_sent)
			e.flags |= EVENT_RESET_SENT;
		cpu->verdict_tw = 0;
	}
	ended(&e, key);
	return 0;
}

/*
 * inet_twsk_kill(): an end that the hooks above did not see. On 6.1 inet_twsk_purge(), by which
 * a namespace ends, has inet_twsk_deschedule_put() inlined. Of others the conn is gone.
 */
static __always_inline int on_kill(struct inet_timewait_sock *tw)
{
	struct event e;
	__u64 key;

	if (!enabled)
		return 0;
	key = describe(&e, tw);
	if (key)
		ended(&e, key);
	return 0;
}

/* tcp_timewait_state_process(), before: an RST ends it within. */
static __always_inline int on_segment(struct inet_timewait_sock *tw, struct sk_buff *skb)
{
	struct cpu_state *cpu = this_cpu();

	if (!cpu || !enabled)
		return 0;
	cpu->verdict_tw = (__u64)tw;
	cpu->verdict_time = bpf_ktime_get_ns();
	cpu->verdict_expires = BPF_CORE_READ(tw, tw_timer.expires);
	cpu->verdict = tcp_flags(skb) & TCP_FLAG_RST_BYTE ? WHY_RESET : WHY_KILLED;
	cpu->verdict_sent = 0;
	return 0;
}

/*
 * ... and after: promoted, armed anew, or about to be ended by its caller. A promotion
 * need not move the timer, if both came in the same tick.
 */
static __always_inline int on_segment_done(struct inet_timewait_sock *tw, __u64 verdict)
{
	struct cpu_state *cpu = this_cpu();
	struct event e;
	struct conn *c;
	bool rearmed;
	__u64 key;

	if (!cpu || !enabled || cpu->verdict_tw != (__u64)tw)
		return 0; /* ended within */
	cpu->verdict = verdict == TW_SYN ? WHY_SYN : verdict == TW_RST ? WHY_RESET : WHY_KILLED;
	cpu->verdict_sent = verdict == TW_RST;
	c = conn_of_mini(tw, cookie_of(tw), &key);
	rearmed = BPF_CORE_READ(tw, tw_timer.expires) != cpu->verdict_expires;
	if (!c || (!rearmed && mini_of_conn(c) != MINI_PARKED))
		return 0;
	describe(&e, tw);
	if (e.old == TCP_TIME_WAIT && mini_of_conn(c) == MINI_PARKED) {
		promote(&e, c);
		return 0;
	}
	if (rearmed)
		c->rearms++;
	return 0;
}

/*
 * tcp_abort(): ss -K and bpf_sock_destroy(). It is a task that may be preempted, and on
 * another CPU when the end comes, so the conn remembers; the verdict is for mini-sockets
 * from before the trace, which have none.
 */
static __always_inline int on_abort(struct sock *sk)
{
	struct cpu_state *cpu = this_cpu();
	struct conn *c;
	__u64 key;

	if (!cpu || !enabled || sk->__sk_common.skc_state != TCP_TIME_WAIT)
		return 0;
	c = conn_of_mini(sk, sk->__sk_common.skc_cookie.counter, &key);
	if (c)
		c->flags |= CONN_ABORTED;
	cpu->verdict_tw = (__u64)sk;
	cpu->verdict_time = bpf_ktime_get_ns();
	cpu->verdict = WHY_DESTROYED;
	cpu->verdict_sent = 0;
	return 0;
}

/*
 * inet_accept() and, of an MPTCP listener, which every Go server has, mptcp_stream_accept(),
 * on return. What it accepted may be a plain TCP socket. A program that is preempted here is
 * skipped on its CPU until it runs again; the second one takes what the first has not.
 */
static __always_inline int on_accept(struct socket *newsock, bool caught)
{
	struct sock *sk = BPF_CORE_READ(newsock, sk);

	if (!sk || !enabled)
		return 0;
	sk = tcp_sock_of(sk);
	if (sk && set_accepter(sk) && caught)
		count(LOSS_ACCEPT);
	return 0;
}

#endif
