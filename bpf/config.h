/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0 */
/*
 * What user space sets before it loads the programs: configure() in
 * internal/tracer/load.go does. These are constants to the verifier, which takes out what
 * is switched off, so a knob costs nothing where it is not used. The defaults here are
 * what holds where user space says nothing.
 */
#ifndef TWTRACE_CONFIG_H
#define TWTRACE_CONFIG_H

/* Numbers that user space needs too. bpf2go gives them to Go, so they are nowhere else. */
enum shared {
	DEFAULT_MAX_CONNS = 360448,    /* connections known at once: of --max-conns */
	DEFAULT_RING_BYTES = 8 << 20,  /* of --buffer */
	PROCS_MAX = 65536,             /* entries of twtrace_procs, see maps.h */
	PROC_TGID_SHIFT = 42,          /* where in a proc id the tgid is, see event.h */
	SLOT_CHOICES = 4,              /* places for a conn in twtrace_conns, see conns.h */
	NS_PER_TICK = 1000000000 / 100 /* of /proc; USER_HZ is 100 everywhere */
};

#define FILTER_NETNS 8
#define FILTER_PORTS 16
#define FILTER_NETS 4
#define FILTER_PIDS 16
#define FILTER_UIDS 8
#define FILTER_ENDS 8

struct port_range {
	__u16 low, high;
};

/* An IPv6 prefix; IPv4 ones are below ::ffff:0:0/96. */
struct prefix {
	__u8 addr[16];
	__u8 mask[16];
};

/* An address and a port of one end of a connection. */
struct end {
	struct prefix net;
	struct port_range ports;
};

struct filter_rules {
	__u32 family; /* 4, 6, or 0 for both */
	__u32 netns_len, lports_len, rports_len, laddrs_len, raddrs_len;
	__u32 netns[FILTER_NETNS];
	struct port_range lports[FILTER_PORTS];
	struct port_range rports[FILTER_PORTS];
	struct prefix laddrs[FILTER_NETS];
	struct prefix raddrs[FILTER_NETS];
	__u32 pids_len, uids_len;
	__u32 pids[FILTER_PIDS];
	__u32 uids[FILTER_UIDS];
	__u32 follow; /* only processes that are followed */
	__u32 ends_len;
	struct end ends[FILTER_ENDS]; /* of either side */
};

/*
 * filter: the user's filter, as far as the kernel can apply it; see filter.h. It saves
 * the ring what user space would throw away.
 * all_states: report every transition (--states all), not only what matters to TIME_WAIT.
 * nr_connect: the number of the connect() system call where its exit is hooked
 * (--syscalls on), else 0. Numbers differ by architecture, and are not in BTF.
 * slot_mask: the size of twtrace_conns less one. The size comes from --max-conns, and a
 * program cannot ask a map for it.
 * catch_again: more than one program stands in for `state`, because this kernel preempts
 * tracing programs (7.0 and later); see chain.h.
 * sees_refusals: the hook set in use sees the allocation of a mini-socket fail, so that
 * nothing has to be concluded from the last transition of the full socket.
 * find_parked_by_tuple: kfree_skb does not say which socket a segment was for (before
 * 6.11), so keep a map from tuples to parked mini-sockets.
 * tw_timer_handler, reqsk_timer_handler: addresses of the functions by which the timer
 * hooks know the timers of mini-sockets and of request sockets from all others. They are
 * in /proc/kallsyms and nowhere else. 0: no timer matches.
 */
const volatile struct filter_rules filter = {};
const volatile bool all_states = false;
const volatile __s64 nr_connect = 0;
const volatile __u32 slot_mask = 0;
const volatile bool catch_again = false;
const volatile bool sees_refusals = false;
const volatile bool find_parked_by_tuple = false;
const volatile __u64 tw_timer_handler = 0;
const volatile __u64 reqsk_timer_handler = 0;

/*
 * The one knob that moves while the programs run: set once everything is attached, and
 * cleared first at the end, so that a pair of hooks counts whole.
 */
volatile bool enabled;

#endif
