/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0 */
/*
 * What only the result of a call shows: who accepted, where no trampoline sees it, and
 * calls that failed before they moved a socket. A hook on the exit of one system call
 * makes all of them slower, so these are attached with --syscalls on alone. They are
 * classic tracepoints: the kernel checks first which call it is, which slows the others
 * down half as much as tp_btf/sys_exit does.
 */
#ifndef TWTRACE_CALLS_H
#define TWTRACE_CALLS_H

#include "state.h"
#include "syscall.h"

/* The TCP socket of an open file, NULL if it is something else. */
static __always_inline struct sock *sock_of_file(struct file *file)
{
	struct socket *socket = BPF_CORE_READ(file, private_data);
	struct sock *sk;
	__u16 family;

	if ((BPF_CORE_READ(file, f_inode, i_mode) & S_IFMT) != S_IFSOCK)
		return NULL;
	sk = BPF_CORE_READ(socket, sk);
	family = BPF_CORE_READ(sk, __sk_common.skc_family);
	if (family != AF_INET && family != AF_INET6)
		return NULL;
	return tcp_sock_of(sk);
}

static __always_inline struct sock *sock_of_fd(__u64 fd)
{
	struct fdtable *table = BPF_CORE_READ(bpf_get_current_task_btf(), files, fdt);
	struct file **files, *file;

	if (fd >= BPF_CORE_READ(table, max_fds))
		return NULL;
	files = BPF_CORE_READ(table, fd);
	if (bpf_probe_read_kernel(&file, sizeof(file), files + fd) || !file)
		return NULL;
	return sock_of_file(file);
}

/* A socket address as the application wrote it. */
struct address {
	__u16 family;
	__u16 port; /* host order */
	__u8 ip[16];
};

static __always_inline bool read_address(struct address *a, __u64 user)
{
	struct sockaddr_in in;
	struct sockaddr_in6 *in6 = (void *)user;

	if (bpf_probe_read_user(&in, sizeof(in), (void *)user))
		return false;
	a->family = in.sin_family;
	a->port = bpf_ntohs(in.sin_port);
	if (a->family == AF_INET) {
		*(__u32 *)a->ip = in.sin_addr.s_addr;
		return true;
	}
	return a->family == AF_INET6 && !bpf_probe_read_user(a->ip, sizeof(a->ip), &in6->sin6_addr);
}

static __always_inline void init_failed(struct event *e, __u8 call, __u16 err)
{
	__builtin_memset(e, 0, sizeof(*e));
	e->time = bpf_ktime_get_ns();
	e->kind = KIND_FAIL;
	e->call = call;
	e->err = err;
	e->origin = current_proc();
}

static __always_inline void init_failed_on(struct event *e, __u8 call, __u16 err, struct sock *sk)
{
	init_failed(e, call, err);
	read_tuple(e, &sk->__sk_common);
	e->cookie = BPF_CORE_READ(sk, __sk_common.skc_cookie.counter);
}

/* Errors for want of a descriptor or of memory for one. */
static __always_inline bool exhausted(long err)
{
	return err == EMFILE || err == ENFILE || err == ENOMEM || err == ENOBUFS;
}

/* socket(): no socket was made, so only what was asked for is known. */
static __always_inline int on_socket_exit(long ret)
{
	struct syscall call;
	struct event e;

	if (!enabled || !exhausted(-ret))
		return 0;
	this_syscall(&call);
	if ((call.arg0 != AF_INET && call.arg0 != AF_INET6) || (call.arg1 & 0xf) != SOCK_STREAM)
		return 0;
	init_failed(&e, CALL_SOCKET, -ret);
	e.netns = BPF_CORE_READ(bpf_get_current_task_btf(), nsproxy, net_ns, ns.inum);
	e.family = call.arg0 == AF_INET ? 4 : 6;
	emit(&e);
	return 0;
}

/* bind(): the address is the one asked for; the socket itself still has 0. */
static __always_inline int on_bind_exit(long ret)
{
	struct address want = {};
	struct syscall call;
	struct event e;
	struct sock *sk;

	if (!enabled || (ret != -EADDRINUSE && ret != -EADDRNOTAVAIL && ret != -EACCES))
		return 0;
	this_syscall(&call);
	sk = sock_of_fd(call.arg0);
	if (!sk || !read_address(&want, call.arg1))
		return 0;
	init_failed_on(&e, CALL_BIND, -ret, sk);
	__builtin_memcpy(e.laddr, want.ip, sizeof(e.laddr));
	e.lport = want.port;
	emit(&e);
	return 0;
}

/* accept(): the new socket has an owner, or the listener's process has no descriptor. */
static __always_inline int accepted(struct sock *listener, struct sock *sk, long ret)
{
	struct event e;

	if (sk)
		set_accepter(sk);
	if (!listener || !exhausted(-ret))
		return 0;
	init_failed_on(&e, CALL_ACCEPT, -ret, listener);
	e.role = ROLE_SERVER;
	emit(&e);
	return 0;
}

static __always_inline int on_accept_exit(long ret)
{
	struct syscall call;

	if (!enabled)
		return 0;
	if (ret >= 0)
		return accepted(NULL, sock_of_fd(ret), ret);
	if (!exhausted(-ret))
		return 0;
	this_syscall(&call);
	return accepted(sock_of_fd(call.arg0), NULL, ret);
}

/* Not a failure yet, or a mistake in the call itself: those errors are left out. */
static __always_inline bool connect_failed(long err)
{
	switch (err) {
	case EINTR:
	case EBADF:
	case EAGAIN:
	case EFAULT:
	case EINVAL:
	case ENOTSOCK:
	case EAFNOSUPPORT:
	case EISCONN:
	case EALREADY:
	case EINPROGRESS:
		return false;
	}
	return err > 0 && err < ERESTARTSYS;
}

/*
 * connect(): on_close() has reported what failed in SYN_SENT, but for what it left to this
 * hook. A call that did not get so far is reported here, unless the socket has a sequence
 * number: then an earlier call failed, and this one returns its error. ECONNRESET comes
 * after the connection was established.
 */
static __always_inline int on_connect_exit(long ret)
{
	__u32 tid = bpf_get_current_pid_tgid();
	struct connecting *c = bpf_map_lookup_elem(&connecting, &tid);
	bool sent = c, left = c && c->left;
	struct syscall call;
	struct address to = {};
	struct event e;
	struct sock *sk;

	if (c)
		bpf_map_delete_elem(&connecting, &tid);
	if (!enabled || !connect_failed(-ret) || (sent && !left && ret != -ECONNRESET))
		return 0;
	this_syscall(&call);
	sk = sock_of_fd(call.arg0);
	if (!sk || !read_address(&to, call.arg1))
		return 0;
	if (!sent && ret != -ECONNRESET && BPF_CORE_READ((struct tcp_sock *)sk, write_seq))
		return 0;
	init_failed_on(&e, CALL_CONNECT, -ret, sk);
	e.role = ROLE_CLIENT;
	__builtin_memcpy(e.raddr, to.ip, sizeof(e.raddr));
	e.rport = to.port;
	emit(&e);
	return 0;
}

/*
 * io_uring_complete: accept() through io_uring. A descriptor in the ring's own table is not
 * in the process's, and of a multishot accept only the last result names its request.
 */
static __always_inline int on_uring_complete(struct io_kiocb *req, int res)
{
	struct task_struct *t = bpf_get_current_task_btf();

	if (!enabled || BPF_CORE_READ(req, opcode) != IORING_OP_ACCEPT || t->flags & PF_KTHREAD)
		return 0;
	if (res < 0)
		return accepted(sock_of_file(BPF_CORE_READ(req, file)), NULL, res);
	if (BPF_CORE_READ((struct io_accept *)req, file_slot))
		return 0;
	return accepted(NULL, sock_of_fd(res), res);
}

#endif
