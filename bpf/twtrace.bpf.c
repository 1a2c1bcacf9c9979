// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0
/*
 * The hooks. Each is a line or two; what they do is in the headers, by question:
 * state.h and chain.h (who opens and closes, how long it lives), calls.h (who accepts,
 * which calls fail), mini.h with timers.h or trampolines.h (when TIME_WAIT starts and
 * ends), filter.h and emit.h (what of it user space sees). config.h has what user space
 * sets, compat.h what differs between kernels. README.md has the maps and the words.
 */
#include "vmlinux.h"
#include <bpf_helpers.h>
#include <bpf_core_read.h>
#include <bpf_tracing.h>
#include <bpf_endian.h>

#include "chain.h"
#include "calls.h"
#include "timers.h"
#include "trampolines.h"

/* Referred to so that their names reach BTF, and from there the Go side. */
const enum kind *unused_kind __attribute__((unused));
const enum why *unused_why __attribute__((unused));
const enum call *unused_call __attribute__((unused));
const enum loss *unused_loss __attribute__((unused));
const enum event_flags *unused_flags __attribute__((unused));
const enum role *unused_role __attribute__((unused));
const enum side *unused_side __attribute__((unused));
const enum shared *unused_shared __attribute__((unused));

char LICENSE[] SEC("license") = "Dual BSD/GPL";

/* Who opens and who closes. The second program and those behind it: see chain.h. */
SEC("tp_btf/inet_sock_set_state")
int BPF_PROG(state, struct sock *sk, int oldstate, int newstate)
{
	return on_state(sk, oldstate, newstate);
}

SEC("tp_btf/inet_sock_set_state")
int BPF_PROG(state_caught, struct sock *sk, int oldstate, int newstate)
{
	return on_state_unsigned(sk, oldstate, newstate, !catch_again);
}

SEC("tp_btf/inet_sock_set_state")
int BPF_PROG(state_caught_2, struct sock *sk, int oldstate, int newstate)
{
	return on_state_unsigned(sk, oldstate, newstate, false);
}

SEC("tp_btf/inet_sock_set_state")
int BPF_PROG(state_caught_3, struct sock *sk, int oldstate, int newstate)
{
	return on_state_unsigned(sk, oldstate, newstate, false);
}

SEC("tp_btf/inet_sock_set_state")
int BPF_PROG(state_caught_4, struct sock *sk, int oldstate, int newstate)
{
	return on_state_unsigned(sk, oldstate, newstate, false);
}

SEC("tp_btf/inet_sock_set_state")
int BPF_PROG(state_caught_5, struct sock *sk, int oldstate, int newstate)
{
	return on_state_unsigned(sk, oldstate, newstate, true);
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

/* One of the two, as the kernel has it: 6.11 and later name the receiving socket. */
SEC("tp_btf/kfree_skb")
int BPF_PROG(kfree_skb_rx, struct sk_buff *skb, void *location, int reason, struct sock *rx_sk)
{
	return on_skb_freed(skb, rx_sk);
}

SEC("tp_btf/kfree_skb")
int BPF_PROG(kfree_skb_any, struct sk_buff *skb)
{
	return on_skb_freed_tuple(skb);
}

/* The other hook set: trampolines, where the kernel takes them. */
SEC("fexit/inet_twsk_alloc")
int BPF_PROG(twsk_alloc, struct sock *sk, void *dr, int state, struct inet_timewait_sock *tw)
{
	return on_alloc(sk, tw, false);
}

SEC("fexit/inet_twsk_alloc")
int BPF_PROG(twsk_alloc_caught, struct sock *sk, void *dr, int state, struct inet_timewait_sock *tw)
{
	return on_alloc(sk, tw, true);
}

/* Its name was inet_twsk_hashdance before 6.11; the loader knows. */
SEC("fentry/inet_twsk_hashdance_schedule")
int BPF_PROG(twsk_hash, struct inet_timewait_sock *tw, struct sock *sk)
{
	return on_hashed(tw, sk, false);
}

SEC("fentry/inet_twsk_hashdance_schedule")
int BPF_PROG(twsk_hash_caught, struct inet_timewait_sock *tw, struct sock *sk)
{
	return on_hashed(tw, sk, true);
}

SEC("fentry/tw_timer_handler")
int BPF_PROG(twsk_expire, struct timer_list *timer)
{
	return on_expired(timer);
}

SEC("fentry/inet_twsk_deschedule_put")
int BPF_PROG(twsk_deschedule, struct inet_timewait_sock *tw)
{
	return on_deschedule(tw);
}

SEC("fentry/inet_twsk_kill")
int BPF_PROG(twsk_kill, struct inet_timewait_sock *tw)
{
	return on_kill(tw);
}

SEC("fentry/tcp_timewait_state_process")
int BPF_PROG(twsk_segment, struct inet_timewait_sock *tw, struct sk_buff *skb)
{
	return on_segment(tw, skb);
}

SEC("fexit/tcp_timewait_state_process")
int BPF_PROG(twsk_segment_done, struct inet_timewait_sock *tw)
{
	return on_segment_done(tw, returned(ctx, 3));
}

SEC("fentry/tcp_abort")
int BPF_PROG(sock_abort, struct sock *sk)
{
	return on_abort(sk);
}

SEC("fexit/inet_accept")
int BPF_PROG(sock_accept, struct socket *sock, struct socket *newsock)
{
	return on_accept(newsock, false);
}

SEC("fexit/inet_accept")
int BPF_PROG(sock_accept_caught, struct socket *sock, struct socket *newsock)
{
	return on_accept(newsock, true);
}

SEC("fexit/mptcp_stream_accept")
int BPF_PROG(mptcp_accept, struct socket *sock, struct socket *newsock)
{
	return on_accept(newsock, false);
}

SEC("fexit/mptcp_stream_accept")
int BPF_PROG(mptcp_accept_caught, struct socket *sock, struct socket *newsock)
{
	return on_accept(newsock, true);
}

/* The exits of system calls: with --syscalls on only. */
SEC("tracepoint/syscalls/sys_exit_connect")
int exit_connect(struct trace_event_raw_sys_exit *ctx)
{
	return on_connect_exit(ctx->ret);
}

SEC("tracepoint/syscalls/sys_exit_bind")
int exit_bind(struct trace_event_raw_sys_exit *ctx)
{
	return on_bind_exit(ctx->ret);
}

SEC("tracepoint/syscalls/sys_exit_socket")
int exit_socket(struct trace_event_raw_sys_exit *ctx)
{
	return on_socket_exit(ctx->ret);
}

SEC("tracepoint/syscalls/sys_exit_accept")
int exit_accept(struct trace_event_raw_sys_exit *ctx)
{
	return on_accept_exit(ctx->ret);
}

SEC("tracepoint/syscalls/sys_exit_accept4")
int exit_accept4(struct trace_event_raw_sys_exit *ctx)
{
	return on_accept_exit(ctx->ret);
}

/* One of the two, as the kernel has it: 6.13 and later pass the whole completion. */
SEC("tp_btf/io_uring_complete")
int BPF_PROG(uring_complete_res, void *ring, void *req, __u64 user_data, int res)
{
	return on_uring_complete(req, res);
}

SEC("tp_btf/io_uring_complete")
int BPF_PROG(uring_complete_cqe, void *ring, void *req, struct io_uring_cqe *cqe)
{
	return on_uring_complete(req, BPF_CORE_READ(cqe, res));
}

/* Only to follow: the children of the processes that are traced. */
SEC("tp_btf/sched_process_fork")
int BPF_PROG(process_fork, struct task_struct *parent, struct task_struct *child)
{
	return on_fork(parent, child);
}

SEC("tp_btf/sched_process_free")
int BPF_PROG(process_free, struct task_struct *task)
{
	return on_task_gone(task);
}

/* Not attached: user space runs these two itself. */
SEC("raw_tp")
int adopt_mini(struct adoption *a)
{
	return on_adopt(a);
}

SEC("raw_tp")
int disown_mini(struct adoption *a)
{
	return on_disown(a);
}

/* Nor this, which it runs on a CPU of its choice. */
SEC("raw_tp")
int settle_cpu(void *ctx)
{
	return on_settle();
}
