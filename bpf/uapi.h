/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0 */
/* Numbers of the kernel's interface that BTF does not carry. They never change. */
#ifndef TWTRACE_UAPI_H
#define TWTRACE_UAPI_H

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

/* Flags of a task. */
#define PF_IO_WORKER 0x00000010
#define PF_KTHREAD 0x00200000

/* The type of a file, in its mode. */
#define S_IFMT 0170000
#define S_IFSOCK 0140000

#endif
