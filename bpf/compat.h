/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0 */
/*
 * Every difference between kernels, one block each, with where it comes from.
 */
#ifndef TWTRACE_COMPAT_H
#define TWTRACE_COMPAT_H

/* Errors and constants that BTF does not carry. */
#define EINTR 4
#define E2BIG 7
#define EBADF 9
#define EAGAIN 11
#define ENOMEM 12
#define EACCES 13
#define EFAULT 14
#define EINVAL 22
#define ENFILE 23
#define EMFILE 24
#define ENOTSOCK 88
#define EAFNOSUPPORT 97
#define EADDRINUSE 98
#define EADDRNOTAVAIL 99
#define ECONNABORTED 103
#define ECONNRESET 104
#define ENOBUFS 105
#define EISCONN 106
#define ETIMEDOUT 110
#define EHOSTUNREACH 113
#define EALREADY 114
#define EINPROGRESS 115
#define ERESTARTSYS 512 /* from here on the kernel's own; the call is made again */
#define AF_INET 2
#define AF_INET6 10
#define IPPROTO_TCP 6
#define IPPROTO_MPTCP 262
#define PF_IO_WORKER 0x00000010
#define PF_KTHREAD 0x00200000

/*
 * Up to 5.15 the number of mini-sockets is tw_count; then it became a
 * refcount that starts at one, tw_refcount (5.19).
 */
struct inet_timewait_death_row___old {
	atomic_t tw_count;
};

/* Is this namespace at its tcp_max_tw_buckets? */
static __always_inline bool at_bucket_limit(const struct sock *sk)
{
	struct inet_timewait_death_row *dr = &sk->__sk_common.skc_net.net->ipv4.tcp_death_row;
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
 * The count that says whether a namespace still lives: net.count, then
 * net.ns.count, then net.ns.__ns_ref (6.18).
 */
struct ns_common___ref {
	refcount_t __ns_ref;
};

struct ns_common___count {
	refcount_t count;
};

struct net___old {
	refcount_t count;
};

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
 * The TCP socket behind the one that the application has: itself, or the first subflow of
 * an MPTCP connection. mptcp_sock.first is a pointer everywhere; kernels without MPTCP
 * have no such type. NULL if it is neither.
 */
struct mptcp_sock___first {
	struct sock *first;
} __attribute__((preserve_access_index));

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

#endif
