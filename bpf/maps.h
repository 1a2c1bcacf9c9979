/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0 */
#ifndef TWTRACE_MAPS_H
#define TWTRACE_MAPS_H

#include "compat.h"
#include "config.h"
#include "event.h"

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
	__uint(max_entries, PROCS_MAX);
	__type(key, __u64);
	__type(value, struct proc);
} twtrace_procs SEC(".maps");

/*
 * A struct that goes into a map has no gaps: nothing would ever be written there, and
 * older kernels refuse a program that hands over what it has not written (see compat.h).
 * Hence each pad; TestNoGaps finds those that are missing.
 */
struct tuple {
	__u64 laddr[2]; /* IPv4 mapped */
	__u64 raddr[2];
	__u32 netns;
	__u16 lport;
	__u16 rport;
};

/*
 * parked_minis: keys (conns.h) of the mini-sockets parked in FIN_WAIT2, by tuple; only
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
	__u8 pad[7];
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
	__uint(max_entries, DEFAULT_RING_BYTES);
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
#define KNOWN_PROCS 64

/*
 * cpus: what this CPU is in the middle of.
 * pending: a mini-socket whose timer was taken off the wheel. Whether it is armed anew, has
 * expired, or was killed is not known yet; see timers.h.
 * verdict: what a segment or an abort is about to do to a mini-socket; see trampolines.h.
 * handled: transitions that one program on the tracepoint has handled and the next has not
 * seen yet, by hash of the socket; see chain.h.
 * clone: the socket that a listener is making, and where that listens; see on_cloned().
 * known: proc ids that are in twtrace_procs, by hash; lookups: how often it was asked; see
 * owner.h.
 */
struct cpu_state {
	__u64 pending_tw;  /* address; 0: nothing pending */
	__u64 pending_key; /* of its conn; 0: it has no conn */
	struct event pending;
	__u64 pending_expires; /* of its timer, before */
	__u64 verdict_tw;      /* address */
	__u64 verdict_time;
	__u64 verdict_expires; /* its timer's, before the segment */
	__u8 verdict;          /* enum why */
	__u8 verdict_sent;     /* the reset was ours */
	__u64 clone;           /* address */
	__u64 clone_at[2];
	__u16 clone_port;
	__u8 clone_exact; /* from the listener itself */
	__u8 pad2[5];
	__u64 handled[SIGNED_SLOTS];
	__u64 known[KNOWN_PROCS];
	__u64 lookups;
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct cpu_state);
} cpus SEC(".maps");

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

#endif
