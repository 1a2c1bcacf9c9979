/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0 */
/*
 * What the kernel side reports to user space. bpf2go makes the Go types from these,
 * so a change here is a change there; the assertions below are what the
 * decoder's fixed offsets rest on.
 */
#ifndef TWTRACE_EVENT_H
#define TWTRACE_EVENT_H

#define COMM_LEN 16

enum kind {
	KIND_OPEN = 1, /* a connection was established */
	KIND_STATE,    /* any other transition, only with all_states */
	KIND_PARKED,   /* a mini-socket was born in FIN_WAIT2 */
	KIND_ENTER,    /* TIME_WAIT started, at birth or by promotion */
	KIND_REFUSED,  /* TIME_WAIT should have started, the kernel had no room */
	KIND_EXIT,     /* TIME_WAIT ended */
	KIND_CLOSE,    /* ended with no TIME_WAIT, or parked and never promoted */
	KIND_FAIL,     /* a call failed */
	KIND_LISTEN,   /* a process called listen(), or, if new is CLOSE, stopped */
};

/* Why a mini-socket was born or ended, or a full socket ended without one. */
enum why {
	WHY_NONE,
	WHY_ACTIVE,
	WHY_SIMULTANEOUS,
	WHY_LATE_FIN,
	WHY_BUCKETS,
	WHY_MEMORY,
	WHY_PASSIVE,
	WHY_RESET_SENT,
	WHY_RESET_RECEIVED,
	WHY_TIMEOUT,
	/* Ends of mini-sockets, counted in struct tally. */
	WHY_EXPIRED,
	WHY_REUSED,
	WHY_SYN,
	WHY_RESET,
	WHY_DESTROYED,
	WHY_NETNS_EXIT,
	WHY_KILLED, /* early, and the hooks in use do not show why */
	WHY_MAX,
};

#define ENDS (WHY_MAX - WHY_EXPIRED)

/* Which call failed. */
enum call { CALL_NONE, CALL_CONNECT, CALL_BIND, CALL_ACCEPT, CALL_SOCKET };

enum role { ROLE_UNKNOWN, ROLE_CLIENT, ROLE_SERVER };
enum side { SIDE_UNKNOWN, SIDE_LOCAL, SIDE_REMOTE, SIDE_BOTH };

enum event_flags {
	EVENT_STAMPS_KNOWN = 1, /* the mini-socket said whether the peer has timestamps */
	EVENT_STAMPS = 2,       /* ... and it has */
	EVENT_RESET_SENT = 4,   /* the reset that ended it was ours */
	EVENT_BOUND = 8,        /* the client has bound its port before it connected */
	EVENT_LISTENER = 16, /* closed and since are the address of the listener, rearms its port */
	EVENT_GAVE_UP = 32,  /* the process closed the socket before an answer came */
	EVENT_DATA_LOST = 64, /* a reset discarded data that was not acknowledged, or not read */
};

/*
 * A process as it was at a call. Its id has 64 bits: the tgid in the upper 22, which no
 * kernel exceeds (PROC_TGID_SHIFT), and below it a hash of what else may change: an exec,
 * another user, cgroup or parent make another id, and so does a reused pid. 0 is nobody.
 */
struct proc {
	__u64 start;  /* start_boottime of the thread group leader, ns */
	__u64 cgroup; /* id of its cgroup v2 */
	__u32 tgid;
	__u32 uid;           /* real, as the initial user namespace has it */
	__u32 ppid;          /* tgid of the parent */
	__u32 followed;      /* see follow.h */
	char comm[COMM_LEN]; /* of the thread group leader */
	char pcomm[COMM_LEN];
};

/* One sample of the ring. Times are CLOCK_MONOTONIC, ns; 0 is not known. */
struct event {
	__u64 time;
	__u64 cookie;
	__u64 established; /* entered ESTABLISHED */
	__u64 closed;      /* first transition out of it */
	__u64 since;       /* entered the state it leaves now */
	__u8 laddr[16];    /* IPv4: the first four bytes */
	__u8 raddr[16];
	__u32 netns; /* inode number */
	__u16 lport; /* host order, both */
	__u16 rport;
	__u64 origin; /* proc id of the opener of a client, of the accepter of a server */
	__u64 closer;
	__u8 kind;
	__u8 family; /* 4 or 6 */
	__u8 old;
	__u8 new;
	__u8 role;
	__u8 side;
	__u8 why;
	__u8 flags;
	__u16 rearms;
	__u8 err;   /* of KIND_FAIL: errno, 0 if not known */
	__u8 call;  /* and enum call */
	__u32 idle; /* without data before `closed`, in ticks of jiffies; see conns.h */
};

_Static_assert(sizeof(struct event) == 112, "the decoder reads 112 bytes");

/* Life of one network namespace's mini-sockets since the start, per CPU. */
struct tally {
	__u64 births;
	__u64 parked;
	__u64 promoted;
	__u64 refused;
	__u64 ends[ENDS];        /* of TIME_WAIT, by why less WHY_EXPIRED */
	__u64 parked_ends[ENDS]; /* of those that never were in TIME_WAIT */
};

/* Where something was lost, per CPU. See readAccount() in account.go. */
enum loss {
	LOSS_RING,   /* no room in the ring */
	LOSS_CONNS,  /* no room in conns: an owner or a lifetime is not known */
	LOSS_NETNS,  /* no room in tallies: counted under inode 0 */
	LOSS_PROCS,  /* no room in procs: of an owner the pid alone is known */
	LOSS_FOLLOW, /* no room in followed: a child is not followed */
	LOSS_CAUGHT, /* transitions skipped by `state`, handled by those behind it */
	LOSS_LATE,   /* promotions found at the end of TIME_WAIT only */
	LOSS_ACCEPT, /* accepts skipped by the first program, handled by the second */
	LOSS_BIRTH,  /* the same of births */
	LOSS_MAX,
};

#endif
