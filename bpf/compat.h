/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0 */
/*
 * Every difference between kernels, one block each: the commit that made it, the first
 * release that has it, and what is done about it. Stable and vendor kernels carry some of
 * these earlier than their version says, so nothing here goes by version: types decide.
 *
 * First, changes that are decided within a program. A field that a kernel lacks is a
 * constant to the verifier, which takes out the branch that is not its own.
 */
#ifndef TWTRACE_COMPAT_H
#define TWTRACE_COMPAT_H

#include "uapi.h"

/*
 * fbb8295248e1 ("tcp: allocate tcp_death_row outside of struct netns_ipv4"), 5.18:
 * tcp_death_row became a pointer, and the number of mini-sockets in it, tw_count, a
 * refcount that starts at one, tw_refcount.
 * e9bd0cca09d1 ("tcp: Don't allocate tcp_death_row outside of struct netns_ipv4."), 6.1:
 * tcp_death_row is a member again.
 * https://git.kernel.org/torvalds/c/fbb8295248e1
 * https://git.kernel.org/torvalds/c/e9bd0cca09d1
 */
struct netns_ipv4___pointer {
	struct inet_timewait_death_row *tcp_death_row;
} __attribute__((preserve_access_index));

struct inet_timewait_death_row___old {
	atomic_t tw_count;
};

static __always_inline struct inet_timewait_death_row *death_row_of(const struct sock *sk)
{
	struct netns_ipv4 *ipv4 = &sk->__sk_common.skc_net.net->ipv4;
	struct netns_ipv4___pointer *outside = (void *)ipv4;

	if (bpf_core_field_exists(outside->tcp_death_row))
		return outside->tcp_death_row;
	return &ipv4->tcp_death_row;
}

/* Is this namespace at its tcp_max_tw_buckets? */
static __always_inline bool at_bucket_limit(const struct sock *sk)
{
	struct inet_timewait_death_row *dr = death_row_of(sk);
	int max = BPF_CORE_READ(dr, sysctl_max_tw_buckets), now;

	if (bpf_core_field_exists(dr->tw_refcount)) {
		now = BPF_CORE_READ(dr, tw_refcount.refs.counter) - 1;
	} else {
		struct inet_timewait_death_row___old *old = (void *)dr;

		now = BPF_CORE_READ(old, tw_count.counter);
	}
	return now >= max;
}

/*
 * 4bd0623f04ee ("inet: move inet->transparent to inet->inet_flags"), 6.6:
 * the bit moved, and got a number.
 * https://git.kernel.org/torvalds/c/4bd0623f04ee
 */
struct inet_sock___bits {
	__u8 transparent : 1;
} __attribute__((preserve_access_index));

/* Has the socket IP_TRANSPARENT? A listener passes it on. */
static __always_inline bool is_transparent(struct sock *sk)
{
	struct inet_sock *inet = (struct inet_sock *)sk;
	struct inet_sock___bits *bits = (void *)sk;

	if (bpf_core_field_exists(bits->transparent))
		return BPF_CORE_READ_BITFIELD_PROBED(bits, transparent);
	return BPF_CORE_READ(inet, inet_flags) & 1UL << INET_FLAGS_TRANSPARENT;
}

/*
 * 8b8f3e666fc6 ("net: Use generic ns_common::count"), 5.11:
 * the count of who uses a namespace moved from net.count to net.ns.count.
 * https://git.kernel.org/torvalds/c/8b8f3e666fc6
 */
struct net___old {
	refcount_t count;
};

struct ns_common___count {
	refcount_t count;
};

/*
 * 024596a4e280 ("ns: rename to __ns_ref"), 6.18:
 * ... and then to net.ns.__ns_ref.
 * https://git.kernel.org/torvalds/c/024596a4e280
 */
struct ns_common___ref {
	refcount_t __ns_ref;
};

/* Does nobody use this namespace any more? */

static __always_inline bool netns_dying(struct net *net)
{
	if (bpf_core_field_exists(((struct ns_common___ref *)0)->__ns_ref)) {
		struct ns_common___ref *ns = (void *)&net->ns;

		return !BPF_CORE_READ(ns, __ns_ref.refs.counter);
	}
	if (bpf_core_field_exists(((struct ns_common___count *)0)->count)) {
		struct ns_common___count *ns = (void *)&net->ns;

		return !BPF_CORE_READ(ns, count.refs.counter);
	}
	return !BPF_CORE_READ((struct net___old *)net, count.refs.counter);
}

/*
 * 41eecbd712b7 ("tcp: replace TCP_SKB_CB(skb)->tcp_tw_isn with a per-cpu field"), 6.10,
 * and 04271411121a ("tcp: add TCP_RFC7323_TW_PAWS drop reason"), 6.16:
 * tcp_timewait_state_process() got a fourth and a fifth argument, so that what it returns
 * is further along in the context of a program on its exit.
 * f92c1e183604 ("bpf: Add get_func_[arg|ret|arg_cnt] helpers"), 5.17:
 * a helper finds it. Before there was one, it is where the context ends.
 * https://git.kernel.org/torvalds/c/41eecbd712b7
 * https://git.kernel.org/torvalds/c/04271411121a
 * https://git.kernel.org/torvalds/c/f92c1e183604
 *
 * What the function returned on whose exit a program runs, of 32 bits; args is how many
 * arguments it had before 5.17.
 */
static __always_inline __u32 returned(void *ctx, int args)
{
	__u64 value = 0;

	/* volatile: the two loads stay two. Of one, the compiler adds to ctx, which is refused. */
	if (!bpf_core_enum_value_exists(enum bpf_func_id, BPF_FUNC_get_func_ret))
		return ((volatile __u64 *)ctx)[args];
	bpf_get_func_ret(ctx, &value);
	return value;
}

/*
 * Kernels without CONFIG_MPTCP have no such type. Where there is one, the member `first`
 * is a pointer to a socket, whatever else of it changes.
 */
struct mptcp_sock___first {
	struct sock *first;
} __attribute__((preserve_access_index));

/*
 * The TCP socket behind the one that the application has: itself, or the first subflow of
 * an MPTCP connection. NULL if it is neither.
 */
static __always_inline struct sock *tcp_sock_of(struct sock *sk)
{
	__u16 protocol = BPF_CORE_READ(sk, sk_protocol);

	if (protocol == IPPROTO_TCP)
		return sk;
	if (protocol == IPPROTO_MPTCP &&
	    bpf_core_field_exists(((struct mptcp_sock___first *)0)->first))
		return BPF_CORE_READ((struct mptcp_sock___first *)sk, first);
	return NULL;
}

/*
 * Then, changes that decide which program is loaded. The hook table in
 * internal/tracer/hooks.go has their conditions.
 *
 * c53795d48ee8 ("net: add rx_sk to trace_kfree_skb"), 6.11:
 * the tracepoint names the socket a segment was for: kfree_skb_rx where it does (four
 * arguments; the third, the reason, is from c504e5c2f964, 5.17), else kfree_skb_any.
 * https://git.kernel.org/torvalds/c/c53795d48ee8
 * https://git.kernel.org/torvalds/c/c504e5c2f964
 *
 * b334b924c9b7 ("net: tcp/dccp: prepare for tw_timer un-pinning"), 6.11:
 * inet_twsk_hashdance() became inet_twsk_hashdance_schedule(): twsk_hash is attached to
 * the one that there is.
 * https://git.kernel.org/torvalds/c/b334b924c9b7
 *
 * 502c87d65564 ("io-uring: Make tracepoints consistent."), 5.18, and
 * 2946f08ae9ed ("io_uring: clean up cqe trace points"), 6.13:
 * io_uring_complete has the request since the first (uring_complete_res), and the whole
 * completion instead of its fields since the second (uring_complete_cqe).
 * https://git.kernel.org/torvalds/c/502c87d65564
 * https://git.kernel.org/torvalds/c/2946f08ae9ed
 *
 * 05b24ff9b2cf ("bpf: Prevent bpf program recursion for raw tracepoint probes"), 6.1:
 * a program that is running on a CPU is skipped there until it returns: state_caught.
 * https://git.kernel.org/torvalds/c/05b24ff9b2cf
 *
 * a46023d5616e ("tracing: Guard __DECLARE_TRACE() use of __DO_TRACE_CALL() with
 * SRCU-fast"), 7.0: a program on a tracepoint can be preempted, and is skipped on that CPU
 * until it goes on: state_caught_2 to _5. The types do not show this one, so it goes by
 * the version after all; a wrong guess costs a program too many, or counted losses.
 * https://git.kernel.org/torvalds/c/a46023d5616e
 *
 * Last, changes that need nothing done, because of how the hooks are written.
 *
 * dbcdcb62b59d ("tracing/timers: Enhance timer_start tracepoint"), 6.8:
 * other arguments after the first; the hooks take the first alone.
 * https://git.kernel.org/torvalds/c/dbcdcb62b59d
 *
 * 6715df8d5d24 ("bpf: Allow reads from uninit stack"), in late 5.15.y too:
 * before, a program may hand no byte of its stack to a helper that it has not written. So
 * no struct that goes into a map has gaps.
 * https://git.kernel.org/torvalds/c/6715df8d5d24
 *
 * What is needed at all: cookies in tracing programs, c5dbb89fc2ac ("bpf: Expose
 * bpf_get_socket_cookie to tracing programs"), 5.12, and for calls.h the registers of a
 * system call, dd6e10fbd9fb ("bpf: Add bpf_task_pt_regs() helper"), 5.15.
 * https://git.kernel.org/torvalds/c/c5dbb89fc2ac
 * https://git.kernel.org/torvalds/c/dd6e10fbd9fb
 */

#endif
