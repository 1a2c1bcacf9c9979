/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0 */
/*
 * The ledger of mini-sockets, kept by their timers. A mini-socket is born when its
 * timer is started for the first time, and ends when the timer is taken off the wheel
 * for good. timer_cancel alone does not say which that is:
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
#ifndef TWTRACE_TIMEWAIT_H
#define TWTRACE_TIMEWAIT_H

#include "emit.h"

/* Address of tw_timer_handler(), set by the loader. */
const volatile __u64 tw_timer_handler = 0;

/* A cancel that nothing decided within this time was a kill; see settle(). */
#define SETTLE_NS 50000000ULL

/* The mini-socket of a timer, or NULL if the timer belongs to something else. */
static __always_inline struct inet_timewait_sock *mini_of(struct timer_list *t)
{
	if ((__u64)t->function != tw_timer_handler)
		return NULL;
	return (void *)t - bpf_core_field_offset(struct inet_timewait_sock, tw_timer);
}

static __always_inline __u64 cookie_of(struct inet_timewait_sock *tw)
{
	return BPF_CORE_READ(tw, __tw_common.skc_cookie.counter);
}

/* The conn of a mini-socket: by its cookie, or by its address if it had none then. */
static __always_inline struct conn *conn_of_mini(__u64 tw, __u64 cookie, __u64 *key)
{
	struct conn *c = NULL;

	*key = cookie;
	if (cookie)
		c = bpf_map_lookup_elem(&twtrace_conns, key);
	if (!c || c->mini == MINI_NONE) {
		struct conn *other;

		other = bpf_map_lookup_elem(&twtrace_conns, &tw);
		if (other) {
			*key = tw;
			return other;
		}
	}
	return c;
}

static __always_inline void fill_mini(struct event *e, struct inet_timewait_sock *tw)
{
	tuple_of_mini(e, &tw->__tw_common);
	e->flags |= EVENT_STAMPS_KNOWN;
	if (BPF_CORE_READ((struct tcp_timewait_sock *)tw, tw_ts_recent_stamp))
		e->flags |= EVENT_STAMPS;
}

/* A parked mini-socket got its FIN. e has the tuple and what conns knows. */
static __noinline void promote(struct event *e, struct conn *c)
{
	struct tally *t;

	if (!__sync_bool_compare_and_swap(&c->mini, MINI_PARKED, MINI_TIME_WAIT))
		return;
	e->kind = KIND_ENTER;
	e->why = WHY_LATE_FIN;
	e->old = TCP_FIN_WAIT2;
	e->new = TCP_TIME_WAIT;
	c->since = e->time;
	t = tally_of(e->netns);
	if (t)
		__sync_fetch_and_add(&t->promoted, 1);
	emit(e);
}

static __always_inline void born(struct inet_timewait_sock *tw, __u64 cookie)
{
	struct event e = { .time = bpf_ktime_get_ns(), .cookie = cookie };
	bool parked = BPF_CORE_READ(tw, tw_substate) == TCP_FIN_WAIT2;
	__u64 key = cookie ?: (__u64)tw;
	struct conn *c = bpf_map_lookup_elem(&twtrace_conns, &key);
	struct tally *t;

	fill_mini(&e, tw);
	e.why = WHY_ACTIVE;
	e.old = TCP_FIN_WAIT2;
	if (c) {
		fill_conn(&e, c);
		if (c->state == TCP_CLOSING)
			e.why = WHY_SIMULTANEOUS;
		else if (c->state != TCP_FIN_WAIT2)
			e.since = 0; /* that transition was skipped */
		e.old = c->state == TCP_CLOSING ? TCP_CLOSING : TCP_FIN_WAIT2;
	} else {
		struct conn fresh = { .lport = e.lport };

		e.flags |= EVENT_NOT_SEEN;
		c = conn_insert(key, &fresh);
	}
	e.kind = parked ? KIND_PARKED : KIND_ENTER;
	e.new = parked ? TCP_FIN_WAIT2 : TCP_TIME_WAIT;
	if (c) {
		c->mini = parked ? MINI_PARKED : MINI_TIME_WAIT;
		if (!parked)
			c->since = e.time;
	}
	t = tally_of(e.netns);
	if (t) {
		t->births++;
		t->parked += parked;
	}
	emit(&e);
}

static __always_inline void count_end(struct tally *t, __u8 why, bool parked)
{
	__u32 i = why - WHY_EXPIRED;

	if (i < ENDS)
		__sync_fetch_and_add(parked ? &t->parked_ends[i] : &t->ends[i], 1);
}

/* A mini-socket is gone. e: what hold() noted; key: where conns has it, or 0. */
static __noinline void ended(struct event *e, __u64 key, __u8 why)
{
	struct conn *c = bpf_map_lookup_elem(&twtrace_conns, &key);
	struct tally *t = tally_of(e->netns);
	bool parked = e->old == TCP_FIN_WAIT2;

	if (c && c->mini == MINI_PARKED && !parked) {
		/* Its promotion was not seen at the time. */
		count(LOSS_LATE);
		e->flags |= EVENT_LATE;
		promote(e, c);
		e->since = 0;
		e->old = TCP_TIME_WAIT;
	}
	e->kind = parked ? KIND_CLOSE : KIND_EXIT;
	e->why = why;
	e->new = TCP_CLOSE;
	if (t)
		count_end(t, why, parked);
	emit(e);
	if (c)
		bpf_map_delete_elem(&twtrace_conns, &key);
}

static __always_inline void end_pending(struct cpu_state *cpu, __u8 why)
{
	cpu->pending_tw = 0;
	ended(&cpu->pending, cpu->pending_key, why);
}

/* Something happened on this CPU that does not belong to what is pending. */
static __always_inline void settle(struct cpu_state *cpu)
{
	if (cpu->pending_tw)
		end_pending(cpu, WHY_KILLED);
}

/* Note all there is to say of a mini-socket, for it may be gone when it is known how. */
static __noinline void hold(struct cpu_state *cpu, struct inet_timewait_sock *tw)
{
	struct event *e = &cpu->pending;
	struct conn *c;
	__u64 key;

	__builtin_memset(e, 0, sizeof(*e));
	e->time = bpf_ktime_get_ns();
	e->cookie = cookie_of(tw);
	fill_mini(e, tw);
	c = conn_of_mini((__u64)tw, e->cookie, &key);
	if (c && c->mini != MINI_NONE) {
		fill_conn(e, c);
	} else {
		e->flags |= EVENT_NOT_SEEN;
		key = 0;
	}
	e->old = BPF_CORE_READ(tw, tw_substate);
	cpu->pending_key = key;
	cpu->pending_tw = (__u64)tw;
}

static __always_inline void rearmed(struct cpu_state *cpu)
{
	struct event *e = &cpu->pending;
	struct conn *c = bpf_map_lookup_elem(&twtrace_conns, &cpu->pending_key);
	struct tally *t = tally_of(e->netns);

	cpu->pending_tw = 0;
	if (t)
		t->rearms++;
	if (!c)
		return;
	c->rearms++;
	if (c->mini == MINI_PARKED && e->old == TCP_TIME_WAIT)
		promote(e, c);
}

static __always_inline int on_timer_start(struct timer_list *timer)
{
	struct inet_timewait_sock *tw = mini_of(timer);
	struct cpu_state *cpu;
	__u64 cookie;

	if (!tw || !enabled)
		return 0;
	cpu = this_cpu();
	if (!cpu)
		return 0;
	cookie = cookie_of(tw);
	if (cpu->pending_tw == (__u64)tw && cpu->pending.cookie == cookie) {
		rearmed(cpu);
		return 0;
	}
	settle(cpu);
	born(tw, cookie);
	return 0;
}

static __always_inline int on_timer_cancel(struct timer_list *timer)
{
	struct inet_timewait_sock *tw = mini_of(timer);
	struct cpu_state *cpu;

	if (!tw || !enabled)
		return 0;
	cpu = this_cpu();
	if (!cpu)
		return 0;
	settle(cpu);
	hold(cpu, tw);
	if (!BPF_CORE_READ(tw, __tw_common.skc_nulls_node.pprev))
		end_pending(cpu, WHY_REUSED);
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
		count(LOSS_ODD);
	}
	end_pending(cpu, WHY_EXPIRED);
	return 0;
}

/*
 * The FIN that promotes a parked mini-socket usually moves no timer; but like every
 * segment that a mini-socket consumes it ends in kfree_skb().
 */
static __always_inline int on_skb_freed(struct sock *sk)
{
	struct inet_timewait_sock *tw = (struct inet_timewait_sock *)sk;
	struct event e = {};
	struct conn *c;
	__u64 key;

	if (!sk || sk->__sk_common.skc_state != TCP_TIME_WAIT || !enabled)
		return 0;
	e.cookie = sk->__sk_common.skc_cookie.counter;
	c = conn_of_mini((__u64)sk, e.cookie, &key);
	if (!c || c->mini != MINI_PARKED || BPF_CORE_READ(tw, tw_substate) != TCP_TIME_WAIT)
		return 0;
	e.time = bpf_ktime_get_ns();
	fill_mini(&e, tw);
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
		ended(&e, key, WHY_KILLED);
	return 0;
}

#endif
