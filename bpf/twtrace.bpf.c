// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0
/*
 * The hooks. Each is a line or two; what they do stands in the headers, by question:
 * state.h (who opens and closes, how long it lives), timewait.h (when TIME_WAIT
 * begins and ends), filter.h and emit.h (what of it user space gets to see).
 */
#include "vmlinux.h"
#include <bpf_helpers.h>
#include <bpf_core_read.h>
#include <bpf_tracing.h>
#include <bpf_endian.h>

#include "state.h"
#include "timewait.h"

/* Referred to so that their names reach BTF, and from there the Go side. */
const enum kind *unused_kind __attribute__((unused));
const enum why *unused_why __attribute__((unused));
const enum loss *unused_loss __attribute__((unused));
const enum event_flags *unused_flags __attribute__((unused));
const enum role *unused_role __attribute__((unused));
const enum side *unused_side __attribute__((unused));

char LICENSE[] SEC("license") = "Dual BSD/GPL";

/*
 * A program that is running on a CPU does not run again there until it returns (6.1
 * and later), so a softirq's transition in the middle of a task's would be lost. The
 * second program, attached behind the first, takes what the first has not signed for.
 */
SEC("tp_btf/inet_sock_set_state")
int BPF_PROG(state, struct sock *sk, int oldstate, int newstate)
{
	return on_state(sk, oldstate, newstate);
}

SEC("tp_btf/inet_sock_set_state")
int BPF_PROG(state_caught, struct sock *sk, int oldstate, int newstate)
{
	return on_state_unsigned(sk, oldstate, newstate);
}

SEC("tp_btf/timer_start")
int BPF_PROG(timer_start, struct timer_list *timer)
{
	return on_timer_start(timer);
}

SEC("tp_btf/timer_cancel")
int BPF_PROG(timer_cancel, struct timer_list *timer)
{
	return on_timer_cancel(timer);
}

SEC("tp_btf/timer_expire_entry")
int BPF_PROG(timer_expire_entry, struct timer_list *timer)
{
	return on_timer_expire(timer);
}

SEC("tp_btf/kfree_skb")
int BPF_PROG(kfree_skb_rx, struct sk_buff *skb, void *location, int reason, struct sock *rx_sk)
{
	return on_skb_freed(rx_sk);
}

/* Not attached: user space runs it on a CPU of its choice. */
SEC("raw_tp")
int settle_cpu(void *ctx)
{
	return on_settle();
}
