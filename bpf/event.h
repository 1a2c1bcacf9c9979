/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0 */
/*
 * What the kernel side tells user space. bpf2go makes the Go types from these,
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
	KIND_ENTER,    /* TIME_WAIT began, at birth or by promotion */
	KIND_REFUSED,  /* TIME_WAIT should have begun, the kernel had no room */
	KIND_EXIT,     /* TIME_WAIT ended */
	KIND_CLOSE,    /* ended with no TIME_WAIT, or parked and never promoted */
	KIND_FAIL,     /* a call failed */
	KIND_LISTEN,   /* a process called listen(), or, new being CLOSE, nobody does any more */
};

/* Why a mini-socket began or ended, or a full socket ended without one. */
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
	WHY_KILLED, /* early, and the hooks in use do not tell how */
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
	EVENT_LATE = 4,         /* a promotion found at the end of TIME_WAIT only */
	EVENT_NOT_SEEN = 8,     /* the connection is not in the conns map */
	EVENT_RESET_SENT = 16,  /* the reset that ended it was ours */
	EVENT_BOUND = 32,       /* the client has bound its port before it connected */
};

/*
 * A process as it was at a call. Its id in 64 bits: the tgid in the upper 22, of which
 * no kernel has more, and below it a hash of what else may change: an exec, another
 * user, cgroup or parent make another id, and a reused pid does. 0 is nobody.
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

#define PROC_TGID_SHIFT 42

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
	__u16 err;
	__u8 call; /* enum call, of KIND_FAIL; err is its errno, 0 if not known */
	__u8 pad[3];
};

_Static_assert(sizeof(struct event) == 112, "the decoder reads 112 bytes");

/* Life of one network namespace's mini-sockets since the start, per CPU. */
struct tally {
	__u64 births;
	__u64 parked;
	__u64 promoted;
	__u64 refused;
	__u64 rearms;
	__u64 ends[ENDS];        /* of TIME_WAIT, by why less WHY_EXPIRED */
	__u64 parked_ends[ENDS]; /* of those that never were in TIME_WAIT */
};

/* Where something was lost, per CPU. Order as in event.Stage's counters. */
enum loss {
	LOSS_RING,   /* no room in the ring */
	LOSS_CONNS,  /* no room in conns: an owner or a lifetime is not known */
	LOSS_NETNS,  /* no room in tallies: counted under inode 0 */
	LOSS_PROCS,  /* no room in procs: of an owner the pid alone is known */
	LOSS_FOLLOW, /* no room in followed: a child is not followed */
	LOSS_CAUGHT, /* transitions skipped by `state`, handled by those behind it */
	LOSS_LATE,   /* promotions found at the end of TIME_WAIT only */
	LOSS_MAX,
};

#endif
