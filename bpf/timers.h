/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0 */
/*
 * The ledger of mini-sockets, kept by their timers: no trampoline needed. A mini-socket
 * is born when its timer is started for the first time, and ends when the timer is taken
 * off the wheel for good. timer_cancel alone does not say which that is:
 *
 *   cancel(tw), start(tw)    one critical section with interrupts off: armed anew
 *   cancel(tw), expire(tw)   one softirq: expired
 *   cancel(tw), neither      killed: by a SYN, an RST, ss -K, the end of the namespace
 *   cancel(tw), tw unhashed  reused by connect(), at once and for certain
 *
 * So a cancel is held per CPU until the next event that decides. Timers of others
 * cannot come between the two halves of the first pair; in the second, only a hard
 * interrupt's can, which is why their starts and cancels decide nothing.
 */
#ifndef TWTRACE_TIMERS_H
#define TWTRACE_TIMERS_H

#include "mini.h"
#include "skb.h"

/* A cancel that nothing decided within this time was a kill; see on_settle(). */
#define SETTLE_NS 50000000ULL

/* The mini-socket of a timer, or NULL if the timer belongs to something else. */
static __always_inline struct inet_timewait_sock *mini_of(struct timer_list *t)
{
	if ((__u64)t->function != tw_timer_handler)
		return NULL;
	return (void *)t - bpf_core_field_offset(struct inet_timewait_sock, tw_timer);
}

/* What is pending has ended. */
static __always_inline void end_pending(struct cpu_state *cpu)
{
	cpu->pending_tw = 0;
	ended(&cpu->pending, cpu->pending_key);
}

/* Something happened on this CPU that does not belong to what is pending. */
static __always_inline void settle(struct cpu_state *cpu)
{
	if (cpu->pending_tw)
		end_pending(cpu);
}

/* Note all there is to say of a mini-socket, for it may be gone when it is known how. */
static __always_inline void hold(struct cpu_state *cpu, struct inet_timewait_sock *tw)
{
	cpu->pending_key = describe(&cpu->pending, tw);
	cpu->pending_tw = (__u64)tw;
	cpu->pending_expires = BPF_CORE_READ(tw, tw_timer.expires);
}

/*
 * Armed anew: for a late segment, or for the FIN that promotes it; or moved, as it was,
 * from a CPU that goes offline.
 */
static __always_inline void rearmed(struct cpu_state *cpu, struct inet_timewait_sock *tw)
{
	struct event *e = &cpu->pending;
	struct conn *c = conn_get(cpu->pending_key);

	cpu->pending_tw = 0;
	if (c && mini_of_conn(c) == MINI_PARKED && e->old == TCP_TIME_WAIT) {
		promote(e, c);
		return;
	}
	if (BPF_CORE_READ(tw, tw_timer.expires) == cpu->pending_expires)
		return;
	if (c)
		c->rearms++;
}

/*
 * The FIN that promotes a parked mini-socket usually moves no timer, and the RST that
 * kills one leaves no other trace; but every segment that a mini-socket consumes ends in
 * kfree_skb().
 */
static __always_inline void consumed(struct event *e, struct conn *c, struct inet_timewait_sock *tw)
{
	if (!c || mini_of_conn(c) != MINI_PARKED || BPF_CORE_READ(tw, tw_substate) != TCP_TIME_WAIT)
		return;
	describe(e, tw);
	promote(e, c);
}

static __always_inline void started(struct cpu_state *cpu, struct inet_timewait_sock *tw)
{
	struct event e = { .time = bpf_ktime_get_ns() };
	struct sock_common copy;
	__u64 key;
	bool parked;

	fill_mini(&e, tw, &copy);
	if (cpu->pending_tw == (__u64)tw && cpu->pending.cookie == e.cookie) {
		rearmed(cpu, tw);
		return;
	}
	settle(cpu);
	key = e.cookie ?: address_of(tw);
	parked = BPF_CORE_READ(tw, tw_substate) == TCP_FIN_WAIT2;
	born(&e, key, parked);
	/* Segments find it already. If the FIN has come since, nobody knew that it was parked. */
	if (parked)
		consumed(&e, conn_get(key), tw);
}

/*
 * A request socket for the very connection whose mini-socket was just taken off the
 * wheel: a new SYN was accepted in TIME_WAIT.
 */
static __always_inline void requested(struct cpu_state *cpu, struct timer_list *timer)
{
	struct request_sock *req;
	struct event e = {};

	if (!cpu->pending_tw || cpu->pending.why != WHY_KILLED)
		return;
	req = (void *)timer - bpf_core_field_offset(struct request_sock, rsk_timer);
	read_tuple(&e, &req->__req_common);
	if (same_tuple(&e, &cpu->pending)) {
		cpu->pending.why = WHY_SYN;
		end_pending(cpu);
	}
}

static __always_inline int on_timer_start(struct timer_list *timer)
{
	struct inet_timewait_sock *tw = mini_of(timer);
	struct cpu_state *cpu;

	if (!enabled || (!tw && (__u64)timer->function != reqsk_timer_handler))
		return 0;
	cpu = this_cpu();
	if (!cpu)
		return 0;
	if (tw)
		started(cpu, tw);
	else
		requested(cpu, timer);
	return 0;
}

/* The handshake that made cpu->clone is over, and its request with it. */
static __always_inline void taken_in(struct cpu_state *cpu, struct timer_list *timer)
{
	struct request_sock *req =
		(void *)timer - bpf_core_field_offset(struct request_sock, rsk_timer);
	struct sock *listener = BPF_CORE_READ(req, __req_common.skc_listener);
	struct event e = {};
	__u64 *at = (__u64 *)e.laddr;

	read_tuple(&e, &listener->__sk_common);
	cpu->clone_at[0] = at[0];
	cpu->clone_at[1] = at[1];
	cpu->clone_port = e.lport;
	cpu->clone_exact = 1;
}

static __always_inline int on_timer_cancel(struct timer_list *timer)
{
	struct inet_timewait_sock *tw = mini_of(timer);
	struct cpu_state *cpu;

	if (!enabled || (!tw && (__u64)timer->function != reqsk_timer_handler))
		return 0;
	cpu = this_cpu();
	if (!cpu)
		return 0;
	if (!tw) {
		if (cpu->clone)
			taken_in(cpu, timer);
		return 0;
	}
	settle(cpu);
	hold(cpu, tw);
	if (cpu->pending.why == WHY_REUSED)
		end_pending(cpu);
	return 0;
}

static __always_inline int on_timer_expire(struct timer_list *timer)
{
	struct inet_timewait_sock *tw = mini_of(timer);
	struct cpu_state *cpu = this_cpu();

	if (!cpu || !enabled)
		return 0;
	if (!tw) {
		settle(cpu);
		return 0;
	}
	if (cpu->pending_tw != (__u64)tw) {
		settle(cpu);
		hold(cpu, tw);
	}
	cpu->pending.why = WHY_EXPIRED;
	end_pending(cpu);
	return 0;
}

/*
 * The segment for which what is pending was killed, if it was: an RST; or, in FIN_WAIT2, data
 * that nobody will read, which the kernel answers with one.
 */
static __always_inline void killed_by(struct cpu_state *cpu, __u8 flags)
{
	bool sent = !(flags & TCP_FLAG_RST_BYTE);

	if (cpu->pending.why != WHY_KILLED || (sent && cpu->pending.old != TCP_FIN_WAIT2))
		return;
	cpu->pending.why = WHY_RESET;
	if (sent)
		cpu->pending.flags |= EVENT_RESET_SENT;
	end_pending(cpu);
}

/* 6.11 and later say which socket a segment was for. */
static __always_inline int on_skb_freed(struct sk_buff *skb, struct sock *sk)
{
	struct cpu_state *cpu;
	struct event e;
	struct conn *c;
	__u64 key;

	if (!sk || sk->__sk_common.skc_state != TCP_TIME_WAIT || !enabled)
		return 0;
	cpu = this_cpu();
	if (cpu && cpu->pending_tw == (__u64)sk) {
		/* Read nothing else of it: it is gone, and only the segment is still there. */
		killed_by(cpu, tcp_flags(skb));
		return 0;
	}
	c = conn_of_mini(sk, sk->__sk_common.skc_cookie.counter, &key);
	consumed(&e, c, (struct inet_timewait_sock *)sk);
	return 0;
}

/* Before that, the addresses in the segment must do. */
static __always_inline int on_skb_freed_tuple(struct sk_buff *skb)
{
	struct cpu_state *cpu;
	struct event e = {};
	struct conn *c;
	struct tuple k;
	__u64 *key;
	__u8 flags;

	if (!enabled || !tuple_of_skb(&e, &flags, skb))
		return 0;
	cpu = this_cpu();
	if (cpu && cpu->pending_tw && same_tuple(&e, &cpu->pending)) {
		killed_by(cpu, flags);
		return 0;
	}
	if ((flags & TCP_FLAG_RST_BYTE) || !(flags & TCP_FLAG_FIN_BYTE))
		return 0;
	tuple_key(&k, &e);
	key = bpf_map_lookup_elem(&parked_minis, &k);
	if (!key)
		return 0;
	e.time = bpf_ktime_get_ns();
	c = conn_get(*key);
	if (!c || mini_of_conn(c) != MINI_PARKED)
		return 0;
	e.cookie = *key;
	fill_conn(&e, c);
	promote(&e, c);
	return 0;
}

/*
 * User space runs this on a CPU that has been quiet: a kill stays pending until the
 * next timer, and on an idle CPU that can take seconds. A softirq may come between
 * any two lines of it, so it works on a copy and claims it by compare and swap.
 */
static __always_inline int on_settle(void)
{
	struct cpu_state *cpu = this_cpu();
	struct event e;
	__u64 tw, key;

	if (!cpu)
		return 0;
	tw = cpu->pending_tw;
	key = cpu->pending_key;
	e = cpu->pending;
	if (!tw || bpf_ktime_get_ns() - e.time < SETTLE_NS)
		return 0;
	if (__sync_bool_compare_and_swap(&cpu->pending_tw, tw, 0))
		ended(&e, key);
	return 0;
}

#endif
