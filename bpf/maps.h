/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0 */
#ifndef TWTRACE_MAPS_H
#define TWTRACE_MAPS_H

#include "compat.h"
#include "event.h"

enum conn_flags {
	CONN_ABORTED = 1, /* tcp_abort() was called on the mini-socket */
	CONN_BOUND = 2,   /* the client has bound its port before it connected */
	CONN_CLOSED = 4,  /* the full socket is gone */
};

/* Is there a mini-socket, and where is it. */
enum mini_state { MINI_NONE, MINI_PARKED, MINI_TIME_WAIT, MINI_REFUSED };

/*
 * What is known of a connection. It is small because a busy host has hundreds
 * of thousands; addresses are read from the socket when they are needed.
 */
struct conn {
	__u64 established;
	__u64 closed;
	__u64 since;  /* entered the present state */
	__u64 origin; /* proc id of the opener of a client, of the accepter of a server */
	__u64 closer;
	__u16 lport; /* the kernel forgets it before the last transition */
	__u16 rearms;
	__u8 role;
	__u8 side;
	__u8 state; /* of the full socket */
	__u8 flags; /* enum conn_flags */
	__u32 mini; /* enum mini_state; changes by compare and swap */
	__u32 seq;  /* write_seq in SYN_SENT, before connect() has chosen one */
};

_Static_assert(sizeof(struct conn) == 56, "262,144 of these must stay affordable");

/*
 * conns: the owner map. Key: the socket cookie, which the mini-socket inherits;
 * for a mini-socket without one, its address (cookies are small numbers, kernel
 * addresses are not, so both fit one map).
 * Inserted: SYN_SENT, ESTABLISHED, and where first seen later (FIN_WAIT1, LAST_ACK,
 * the birth of a mini-socket). Deleted: CLOSE with no mini-socket, or the end of
 * the mini-socket. Never LRU: an evicted owner would be a wrong answer.
 * Full: the connection goes on without owner and lifetime, LOSS_CONNS counts it.
 * Read by `twtrace list` of another process, hence its name.
 */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 360448);
	__type(key, __u64);
	__type(value, struct conn);
} twtrace_conns SEC(".maps");

/*
 * twtrace_procs: who the owners are, by proc id. Inserted: the first call of a process
 * since its exec. Never deleted but by the map itself, which drops what was not used
 * for longest: an id never names another process, so its owner is then known by its pid
 * alone, and not wrong. 65,536 last for minutes of the worst storm of new processes;
 * user space reads each entry once, and counts those that it does not find.
 * Full, or busy: LOSS_PROCS counts it, and the next call tries again.
 */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 65536);
	__type(key, __u64);
	__type(value, struct proc);
} twtrace_procs SEC(".maps");

struct tuple {
	__u64 laddr[2]; /* IPv4 mapped */
	__u64 raddr[2];
	__u32 netns;
	__u16 lport;
	__u16 rport;
};

/*
 * parked_minis: keys in conns of the mini-sockets parked in FIN_WAIT2, by tuple; only
 * where kfree_skb does not say which socket a segment was for (before 6.11).
 * Inserted at birth, deleted at promotion or end. Full: the promotion is noticed by the
 * timer or at the end only, and LOSS_CONNS counts it.
 */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 65536);
	__type(key, struct tuple);
	__type(value, __u64);
} parked_minis SEC(".maps");

struct connecting {
	__u64 cookie;
	__u8 left; /* the failure is left to the exit of the call */
};

/*
 * connecting: threads in the middle of connect(), by tid; only with --syscalls on.
 * Inserted: SYN_SENT. Deleted: the exit of the call. Full: a failure that has no error on
 * the socket is reported without errno, and LOSS_CONNS counts it.
 */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 16384);
	__type(key, __u32);
	__type(value, struct connecting);
} connecting SEC(".maps");

/*
 * events: facts for user space. No wakeups: the reader polls, since a wakeup costs
 * four times what the event does. Full: the event is dropped and LOSS_RING counts it.
 */
struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 8 << 20);
} events SEC(".maps");

/*
 * tallies: totals per network namespace, exact whatever the ring drops.
 * Inserted: first birth or end in the namespace. Never deleted; full: inode 0 takes
 * the rest, LOSS_NETNS counts them.
 */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_HASH);
	__uint(max_entries, 1024);
	__type(key, __u32);
	__type(value, struct tally);
} tallies SEC(".maps");

/* losses: one counter for each way to lose something, indexed by enum loss. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, LOSS_MAX);
	__type(key, __u32);
	__type(value, __u64);
} losses SEC(".maps");

#define SIGNED_SLOTS 64

/*
 * cpus: what this CPU is in the middle of.
 * pending: the mini-socket whose timer was taken off the wheel and of which it is not
 * yet known whether it is armed anew, has expired, or was killed; see timers.h.
 * verdict: what a segment or an abort is about to do to a mini-socket; trampolines.h.
 * handled: transitions that one program on the tracepoint has handled and the next not
 * yet seen, by hash of the socket. See state.h.
 */
struct cpu_state {
	__u64 pending_tw;  /* address; 0: nothing pending */
	__u64 pending_key; /* in conns; 0: not there */
	struct event pending;
	__u64 pending_expires; /* of its timer, before */
	__u64 verdict_tw;      /* address */
	__u64 verdict_time;
	__u64 verdict_expires; /* its timer's, before the segment */
	__u8 verdict;          /* enum why */
	__u8 verdict_sent;     /* the reset was ours */
	__u64 handled[SIGNED_SLOTS];
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct cpu_state);
} cpus SEC(".maps");

/* Set once everything is attached, cleared first at the end: a pair of hooks counts whole. */
volatile bool enabled;

static __always_inline void count(__u32 what)
{
	__u64 *n = bpf_map_lookup_elem(&losses, &what);

	if (n)
		__sync_fetch_and_add(n, 1);
}

static __always_inline struct cpu_state *this_cpu(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&cpus, &zero);
}

static __always_inline struct tally *tally_of(__u32 netns)
{
	static const struct tally none;
	struct tally *t = bpf_map_lookup_elem(&tallies, &netns);

	if (t)
		return t;
	if (bpf_map_update_elem(&tallies, &netns, &none, BPF_NOEXIST) == -E2BIG) {
		count(LOSS_NETNS);
		netns = 0;
		bpf_map_update_elem(&tallies, &netns, &none, BPF_NOEXIST);
	}
	return bpf_map_lookup_elem(&tallies, &netns);
}

static __always_inline bool conn_put(__u64 key, const struct conn *c)
{
	if (!bpf_map_update_elem(&twtrace_conns, &key, c, BPF_ANY))
		return true;
	count(LOSS_CONNS);
	return false;
}

static __always_inline struct conn *conn_insert(__u64 key, const struct conn *c)
{
	return conn_put(key, c) ? bpf_map_lookup_elem(&twtrace_conns, &key) : NULL;
}

#endif
