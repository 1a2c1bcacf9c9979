/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0 */
/*
 * The programs that stand in for each other on inet_sock_set_state.
 *
 * A program that is running on a CPU does not run again there until it returns (6.1 and
 * later; see compat.h), so a softirq's transition in the middle of a task's would be lost.
 * A second program, attached behind the first, takes what the first has not signed for.
 * Since 7.0 a program can be preempted, and is skipped on that CPU until its task runs
 * again: with a dozen tasks ready to run, a few will have stopped within one. Each that
 * has takes one program of the chain away. What is still lost is counted.
 *
 * They run one after the other, and each leaves its signature for the next. One that
 * interrupts may overwrite it; see already_handled().
 */
#ifndef TWTRACE_CHAIN_H
#define TWTRACE_CHAIN_H

#include "state.h"

static __always_inline __u64 *signature_slot(struct cpu_state *cpu, const struct change *ch)
{
	return &cpu->handled[ch->cookie % SIGNED_SLOTS];
}

static __always_inline __u64 signature(const struct change *ch)
{
	return ch->cookie << 4 | ch->new;
}

/* Did the program before this one sign? The last one takes the signature back. */
static __always_inline bool was_signed(struct cpu_state *cpu, const struct change *ch, bool last)
{
	__u64 *slot = signature_slot(cpu, ch);

	if (*slot != signature(ch))
		return false;
	if (last)
		*slot = 0;
	return true;
}

/*
 * Without a signature: was it skipped, or was the signature overwritten, or left on
 * another CPU? A close without a conn counts as handled, since handling it deletes the conn.
 */
static __always_inline bool already_handled(const struct change *ch)
{
	struct conn *c = conn_get(ch->cookie);

	if (ch->new == TCP_CLOSE)
		return !c || c->flags & CONN_CLOSED;
	return c && c->state == ch->new;
}

/* The first program of the chain. */
static __always_inline int on_state(struct sock *sk, int old, int new)
{
	struct change ch = { .old = old, .new = new };
	struct cpu_state *cpu = this_cpu();

	if (!cpu || !enabled)
		return 0;
	if (old == TCP_LISTEN && new == TCP_SYN_RECV) {
		on_cloned(cpu, sk);
		return 0;
	}
	ch.cookie = cookie_of_sock(sk);
	if (of_interest(sk, &ch)) {
		ch.now = bpf_ktime_get_ns();
		handle(sk, &ch);
	}
	*signature_slot(cpu, &ch) = signature(&ch);
	return 0;
}

/* Those behind it. */
static __always_inline int on_state_unsigned(struct sock *sk, int old, int new, bool last)
{
	struct change ch = { .old = old, .new = new };
	struct cpu_state *cpu = this_cpu();

	if (!cpu || !enabled)
		return 0;
	if (old == TCP_LISTEN && new == TCP_SYN_RECV) {
		if (on_cloned(cpu, sk))
			count(LOSS_CAUGHT);
		return 0;
	}
	ch.cookie = cookie_of_sock(sk);
	if (was_signed(cpu, &ch, last))
		return 0;
	if (of_interest(sk, &ch)) {
		if (already_handled(&ch))
			return 0;
		ch.now = bpf_ktime_get_ns();
		handle(sk, &ch);
	}
	count(LOSS_CAUGHT); /* or skipped, and nothing to do */
	if (!last)
		*signature_slot(cpu, &ch) = signature(&ch);
	return 0;
}

#endif
