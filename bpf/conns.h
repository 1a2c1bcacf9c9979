/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0 */
/*
 * What is known of the connections. The key is the socket cookie, which the mini-socket
 * inherits; for a mini-socket without one, its address: cookies are small numbers, or
 * next to -1, and kernel addresses are neither.
 */
#ifndef TWTRACE_CONNS_H
#define TWTRACE_CONNS_H

#include "maps.h"

enum conn_flags {
	CONN_ABORTED = 1,  /* tcp_abort() was called on the mini-socket */
	CONN_BOUND = 2,    /* the client has bound its port before it connected */
	CONN_CLOSED = 4,   /* the full socket is gone */
	CONN_TAKEN_IN = 8, /* see set_listener() */
};

/* Is there a mini-socket, and where is it. */
enum mini_state { MINI_NONE, MINI_PARKED, MINI_TIME_WAIT, MINI_REFUSED };

/*
 * What is known of a connection. It is small because a busy host has hundreds
 * of thousands; addresses are read from the socket when they are needed.
 */
struct conn {
	__u64 key; /* 0: free, or in twtrace_spill; SLOT_TAKEN */
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
	__u32 mini; /* enum mini_state, which changes by compare and swap; above it, see idle_of() */
	__u32 netns; /* inode number; in SYN_SENT, write_seq before connect() has chosen one */
};

/* The bits of mini that are enum mini_state. */
#define MINI_BITS 2
#define MINI_MASK ((1U << MINI_BITS) - 1)

static __always_inline __u32 mini_of_conn(const struct conn *c)
{
	return c->mini & MINI_MASK;
}

static __always_inline void set_mini(struct conn *c, __u32 mini)
{
	c->mini = (c->mini & ~MINI_MASK) | mini;
}

/* The same, and seen by others before whatever comes next here. */
static __always_inline void swap_mini(struct conn *c, __u32 mini)
{
	__sync_lock_test_and_set(&c->mini, (c->mini & ~MINI_MASK) | mini);
}

/* Ticks of jiffies without data, when it left ESTABLISHED. */
static __always_inline __u32 idle_of(const struct conn *c)
{
	return c->mini >> MINI_BITS;
}

/* There is no mini-socket yet. */
static __always_inline void set_idle(struct conn *c, __u32 ticks)
{
	__u32 most = ~0U >> MINI_BITS;

	c->mini = (ticks < most ? ticks : most) << MINI_BITS;
}

_Static_assert(sizeof(struct conn) == 64, "a cache line, which no other shares");

/* Somebody is filling this slot. Neither a cookie nor an address. */
#define SLOT_TAKEN (1ULL << 63)

/*
 * twtrace_conns: the owner table. The kernel counts cookies up, so that connections which
 * come one after the other lie side by side here, at key modulo size: there is neither hash
 * nor lock, and the cache has fetched the next one already. Where an older connection has
 * that place, a quarter of the table further, and so on; where all of these are taken, in
 * twtrace_spill.
 * Inserted: SYN_SENT, ESTABLISHED, and where first seen later (FIN_WAIT1, LAST_ACK,
 * the birth of a mini-socket). Deleted: CLOSE with no mini-socket, or the end of
 * the mini-socket; by user space, where a dump shows that the end was not seen. Never
 * LRU: an evicted owner would be a wrong answer.
 * Read by `twtrace list` of another process, hence its name.
 */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE); /* for its alignment */
	__uint(max_entries, 1);            /* user space: max-conns, up to a power of two */
	__type(key, __u32);
	__type(value, struct conn);
} twtrace_conns SEC(".maps");

/*
 * twtrace_spill: connections that found no free place above. Full: the connection goes on
 * without owner and lifetime, LOSS_CONNS counts it.
 */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1); /* user space: an eighth of max-conns */
	__type(key, __u64);
	__type(value, struct conn);
} twtrace_spill SEC(".maps");

/* Is, or was, any conn elsewhere than at its first choice; and in twtrace_spill. */
volatile bool displaced, spilled;

#define SLOT_NONE (~0U)
#define SLOT_SPILL (~0U - 1)

static __always_inline __u32 slot_of(__u64 key, __u32 choice)
{
	return (key + choice * ((slot_mask + 1) / SLOT_CHOICES)) & slot_mask;
}

/*
 * Where a conn is that is not at its first choice. The verifier checks a global function
 * once, others once for each call, and that is what starting spends most of its time on.
 * A global function can return a number only.
 */
__noinline __u32 displaced_slot(__u64 key)
{
	for (int i = 1; i < SLOT_CHOICES; i++) {
		__u32 at = slot_of(key, i);
		struct conn *c = bpf_map_lookup_elem(&twtrace_conns, &at);

		if (c && c->key == key)
			return at;
	}
	return spilled ? SLOT_SPILL : SLOT_NONE;
}

static __noinline struct conn *conn_get(__u64 key)
{
	__u32 at = slot_of(key, 0);
	struct conn *c;

	if (!key)
		return NULL;
	c = bpf_map_lookup_elem(&twtrace_conns, &at);
	if (c && c->key == key)
		return c;
	if (!displaced)
		return NULL;
	at = displaced_slot(key);
	if (at == SLOT_SPILL)
		return bpf_map_lookup_elem(&twtrace_spill, &key);
	return bpf_map_lookup_elem(&twtrace_conns, &at);
}

/* A free slot, which is taken from now on. */
__noinline __u32 free_slot(__u64 key)
{
	for (int i = 0; i < SLOT_CHOICES; i++) {
		__u32 at = slot_of(key, i);
		struct conn *c = bpf_map_lookup_elem(&twtrace_conns, &at);

		if (c && !c->key && __sync_bool_compare_and_swap(&c->key, 0, SLOT_TAKEN))
			return at;
		if (!displaced) /* else all CPUs would wait for this line */
			displaced = true;
	}
	return SLOT_NONE;
}

/* A conn that is not there yet. NULL, and counted, if there is no room. */
static __noinline struct conn *conn_add(__u64 key, const struct conn *from)
{
	__u32 at = free_slot(key);
	struct conn *c = bpf_map_lookup_elem(&twtrace_conns, &at);

	if (c) {
		__builtin_memcpy(&c->established, &from->established, sizeof(*c) - sizeof(c->key));
		__sync_lock_test_and_set(&c->key, key); /* filled, for other CPUs too */
		return c;
	}
	if (!spilled)
		spilled = true;
	if (!bpf_map_update_elem(&twtrace_spill, &key, from, BPF_ANY))
		return bpf_map_lookup_elem(&twtrace_spill, &key);
	count(LOSS_CONNS);
	return NULL;
}

static __always_inline void conn_delete(struct conn *c, __u64 key)
{
	if (c->key == key)
		__sync_lock_test_and_set(&c->key, 0);
	else
		bpf_map_delete_elem(&twtrace_spill, &key);
}

#endif
