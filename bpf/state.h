/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0 */
/*
 * The full socket: who opens it, who closes it, how long it lives, and how it ends
 * when no mini-socket takes over.
 */
#ifndef TWTRACE_STATE_H
#define TWTRACE_STATE_H

#include "emit.h"
#include "owner.h"
#include "syscall.h"

/* Longer than from one transition to the next within the handling of one segment. */
#define AT_ONCE_NS 1000000ULL

/* One transition of one socket. */
struct change {
	__u64 now;
	__u64 cookie;
	int old, new;
	bool data_lost;
	__u64 gave_up; /* proc id of who closed it before an answer came */
};

/* The kernel makes it for the first who asks; from then on the socket has it. */
static __always_inline __u64 cookie_of_sock(struct sock *sk)
{
	return sk->__sk_common.skc_cookie.counter ?: bpf_get_socket_cookie(sk);
}

/*
 * connect() that finds no port goes back before it chooses a sequence number, and before
 * the socket counts as connecting. Without an error, and past that, it was the application
 * that gave up.
 */
static __always_inline bool found_no_port(struct sock *sk, const struct conn *c)
{
	return sk->sk_socket->state <= SS_UNCONNECTED &&
	       BPF_CORE_READ((struct tcp_sock *)sk, write_seq) == (c ? c->netns : 0);
}

/* For how many ticks of jiffies the connection has carried no data, in either direction. */
static __always_inline __u32 idle_now(struct sock *sk)
{
	__u32 now = bpf_jiffies64();
	__u32 sent = now - BPF_CORE_READ((struct tcp_sock *)sk, lsndtime);
	__u32 received = now - BPF_CORE_READ((struct inet_connection_sock *)sk, icsk_ack.lrcvtime);

	return sent < received ? sent : received;
}

/*
 * What was written and not acknowledged when a reset ends the connection, or what had come
 * and was not read when this side sends one. A FIN counts as a byte.
 */
static __always_inline bool data_lost(struct sock *sk, int old, __u8 why)
{
	struct tcp_sock *tp = (void *)sk;
	__u32 unacked, unread;

	if (why != WHY_RESET_SENT && why != WHY_RESET_RECEIVED)
		return false;
	unacked = BPF_CORE_READ(tp, write_seq) - BPF_CORE_READ(tp, snd_una);
	if (unacked > (old != TCP_ESTABLISHED && old != TCP_CLOSE_WAIT))
		return true;
	if (why != WHY_RESET_SENT)
		return false;
	unread = BPF_CORE_READ(tp, rcv_nxt) - BPF_CORE_READ(tp, copied_seq);
	return unread > (old == TCP_CLOSE_WAIT);
}

static __noinline void emit_change(struct sock *sk, const struct change *ch, const struct conn *c,
				   __u8 kind, __u8 why)
{
	struct event e = { .time = ch->now, .cookie = ch->cookie, .kind = kind, .why = why };

	tuple_of_sock(&e, &sk->__sk_common);
	if (c)
		fill_conn(&e, c);
	e.old = ch->old;
	e.new = ch->new;
	e.err = sk->sk_err;
	if (kind == KIND_FAIL) {
		e.call = CALL_CONNECT;
		if (!e.err && found_no_port(sk, c))
			e.err = EADDRNOTAVAIL;
		if (ch->gave_up) {
			e.flags |= EVENT_GAVE_UP;
			if (!e.origin) /* it connected before the trace */
				e.origin = ch->gave_up;
		}
	}
	if (ch->data_lost)
		e.flags |= EVENT_DATA_LOST;
	emit(&e);
}

/* The conn of a cookie, made if this is the first that is seen of it. */
static __always_inline struct conn *conn_of(__u64 cookie, struct sock *sk)
{
	struct conn *c = conn_get(cookie);
	struct conn fresh = {};

	if (c)
		return c;
	fresh.lport = sk->__sk_common.skc_num;
	fresh.netns = sk->__sk_common.skc_net.net->ns.inum;
	return conn_add(cookie, &fresh);
}

static __always_inline void on_syn_sent(struct sock *sk, const struct change *ch)
{
	struct conn c = { .role = ROLE_CLIENT, .state = TCP_SYN_SENT, .since = ch->now };
	struct conn *old = conn_get(ch->cookie);

	if (old) /* its close was skipped */
		conn_delete(old, ch->cookie);
	c.origin = current_proc();
	c.lport = sk->__sk_common.skc_num;
	if (c.lport) /* connect() has not chosen one yet */
		c.flags = CONN_BOUND;
	c.netns = BPF_CORE_READ((struct tcp_sock *)sk, write_seq); /* not 0 if used before */
	conn_add(ch->cookie, &c);
	if (in_connect()) {
		__u32 tid = bpf_get_current_pid_tgid();
		struct connecting call = { .cookie = ch->cookie };

		if (bpf_map_update_elem(&connecting, &tid, &call, BPF_ANY))
			count(LOSS_CONNS);
	}
}

/* A connect() that fails within, for another reason than ports, gets its errno at its exit. */
static __always_inline bool left_to_exit(struct sock *sk, const struct change *ch,
					 const struct conn *c)
{
	__u32 tid = bpf_get_current_pid_tgid();
	struct connecting *call;

	if (!nr_connect || sk->sk_err || sk->sk_socket->state > SS_UNCONNECTED ||
	    found_no_port(sk, c))
		return false;
	call = bpf_map_lookup_elem(&connecting, &tid);
	if (!call || call->cookie != ch->cookie)
		return false;
	call->left = 1;
	return true;
}

/*
 * A listener is making a socket. With a transparent proxy, or a BPF program that assigns
 * sockets, it listens elsewhere than the new socket's address says. The copy has the
 * listener's address until it gets its own; where that comes first (6.18), the timer of its
 * request says whose it was: see taken_in(). The handshake ends with the same segment, so
 * this CPU remembers until then; with TCP Fast Open it does not.
 */
static __always_inline bool on_cloned(struct cpu_state *cpu, struct sock *sk)
{
	struct event e = {};
	__u64 *at = (__u64 *)e.laddr;

	tuple_of_sock(&e, &sk->__sk_common);
	if (cpu->clone == (__u64)sk && cpu->clone_port == e.lport && cpu->clone_at[0] == at[0] &&
	    cpu->clone_at[1] == at[1])
		return false; /* the program before this one has done it */
	cpu->clone = (__u64)sk;
	cpu->clone_at[0] = at[0];
	cpu->clone_at[1] = at[1];
	cpu->clone_port = e.lport;
	cpu->clone_exact = 0;
	return true;
}

/* Is the address of the copy another one than the socket's in the end? */
static __always_inline bool moved(const struct cpu_state *cpu, struct sock *sk)
{
	struct event e = {};
	__u64 *at = (__u64 *)e.laddr;

	tuple_of_sock(&e, &sk->__sk_common);
	return cpu->clone_port != e.lport || cpu->clone_at[0] != at[0] || cpu->clone_at[1] != at[1];
}

/*
 * Say where the listener is, for the event alone. Of one that takes in what was sent
 * elsewhere (IP_TRANSPARENT) and is not known, that it is nowhere.
 */
static __always_inline bool set_listener(struct conn *c, struct sock *sk)
{
	struct cpu_state *cpu = this_cpu();
	bool cloned = cpu && cpu->clone == (__u64)sk;

	if (cloned)
		cpu->clone = 0;
	if (cloned && (cpu->clone_exact || moved(cpu, sk))) {
		c->closed = cpu->clone_at[0];
		c->since = cpu->clone_at[1];
		c->rearms = cpu->clone_port;
	} else if (!is_transparent(sk)) {
		return false;
	}
	c->flags |= CONN_TAKEN_IN;
	return true;
}

static __always_inline void on_established(struct sock *sk, const struct change *ch)
{
	struct conn fresh = { .role = ch->old == TCP_SYN_SENT ? ROLE_CLIENT : ROLE_SERVER };
	struct conn *c = conn_get(ch->cookie);
	bool known = c, taken_in;

	if (!known)
		c = &fresh;
	c->established = ch->now;
	c->lport = sk->__sk_common.skc_num; /* chosen after SYN_SENT */
	c->netns = sk->__sk_common.skc_net.net->ns.inum;
	taken_in = !known && fresh.role == ROLE_SERVER && set_listener(&fresh, sk);
	emit_change(sk, ch, c, KIND_OPEN, WHY_NONE);
	if (taken_in) {
		fresh.closed = 0;
		fresh.rearms = 0;
		fresh.flags = 0;
	}
	c->since = ch->now;
	c->state = TCP_ESTABLISHED;
	if (!known)
		conn_add(ch->cookie, &fresh);
}

/* A step on the way down, short of CLOSE. */
static __always_inline void on_closing(struct sock *sk, const struct change *ch)
{
	struct conn *c = conn_of(ch->cookie, sk);

	if (!c)
		return;
	if (ch->old == TCP_ESTABLISHED) {
		c->closed = ch->now;
		set_idle(c, idle_now(sk));
	}
	if (ch->new == TCP_FIN_WAIT1 || ch->new == TCP_LAST_ACK)
		c->closer = current_proc();
	if (ch->new == TCP_FIN_WAIT1)
		c->side = SIDE_LOCAL;
	else if (ch->new == TCP_CLOSE_WAIT)
		c->side = SIDE_REMOTE;
	else if (ch->new == TCP_CLOSING)
		c->side = SIDE_BOTH;
	c->since = ch->now;
	c->state = ch->new;
}

static __always_inline __u8 close_reason(struct sock *sk, int old)
{
	struct tcp_sock *tp = (struct tcp_sock *)sk;
	int err = sk->sk_err;

	if (BPF_CORE_READ_BITFIELD_PROBED(tp, repair)) /* closed without a segment */
		return WHY_NONE;
	if (err == ETIMEDOUT || err == EHOSTUNREACH)
		return WHY_TIMEOUT;
	if (err == ECONNABORTED) /* tcp_abort(): ss -K */
		return WHY_RESET_SENT;
	if (err)
		return WHY_RESET_RECEIVED;
	if (old == TCP_LAST_ACK)
		return WHY_PASSIVE;
	if (old == TCP_ESTABLISHED || old == TCP_CLOSE_WAIT)
		return WHY_RESET_SENT;
	return WHY_NONE;
}

/*
 * Data that came behind the ACK of our FIN, in the same segment, after close(): the kernel
 * goes on from FIN_WAIT1 at once, with no error and no mini-socket, and answers with a reset
 * (tcp_rcv_state_process). The FIN of the peer would have set SOCK_DONE.
 */
static __always_inline bool data_after_close(struct sock *sk, const struct change *ch,
					     const struct conn *c)
{
	return ch->old == TCP_FIN_WAIT2 && !sk->sk_err && ch->now - c->since < AT_ONCE_NS &&
	       !(sk->__sk_common.skc_flags & (1UL << SOCK_DONE));
}

/* Neither full socket nor mini-socket: the namespace is at its limit. */
static __always_inline bool refused(struct sock *sk, const struct change *ch)
{
	struct tally *t;

	if (sees_refusals)
		return false;
	if (ch->old != TCP_FIN_WAIT2 && ch->old != TCP_CLOSING)
		return false;
	if (sk->sk_err || !at_bucket_limit(sk))
		return false;
	t = tally_of(sk->__sk_common.skc_net.net->ns.inum);
	if (t)
		__sync_fetch_and_add(&t->refused, 1);
	return true;
}

/*
 * The full socket is gone. With a mini-socket the connection goes on there, and
 * mini.h has the rest of its life.
 */
static __always_inline void on_close(struct sock *sk, struct change *ch)
{
	struct conn *c = conn_get(ch->cookie);
	__u8 kind = KIND_CLOSE, why = close_reason(sk, ch->old);

	if (ch->old == TCP_LISTEN) {
		emit_change(sk, ch, NULL, KIND_LISTEN, WHY_NONE);
		return;
	}
	if (c)
		c->flags |= CONN_CLOSED;
	if (c && mini_of_conn(c)) {
		if (mini_of_conn(c) == MINI_REFUSED)
			conn_delete(c, ch->cookie);
		return;
	}
	if (ch->old == TCP_SYN_SENT || (ch->old == TCP_SYN_RECV && c && c->role == ROLE_CLIENT)) {
		kind = KIND_FAIL; /* SYN_RECV: both called connect() at once */
		why = WHY_NONE;
		/* Not in emit_change(): older kernels give all frames of a call 512 bytes. */
		if (!sk->sk_err && sk->sk_socket->state > SS_UNCONNECTED)
			ch->gave_up = current_proc();
	} else if (refused(sk, ch)) {
		kind = KIND_REFUSED;
		why = WHY_BUCKETS;
	} else if (c && data_after_close(sk, ch, c)) {
		why = WHY_RESET_SENT;
	}
	if (c && c->established && !c->closed) {
		c->closed = ch->now;
		set_idle(c, idle_now(sk));
	}
	/* With the socket locked by its user, the task that resets it is current. */
	if (c && why == WHY_RESET_SENT && !c->closer && sk->sk_lock.owned)
		c->closer = current_proc();
	ch->data_lost = data_lost(sk, ch->old, why);
	if (kind != KIND_FAIL || !left_to_exit(sk, ch, c))
		emit_change(sk, ch, c, kind, why);
	if (c)
		conn_delete(c, ch->cookie);
}

static __always_inline void on_listen(struct sock *sk, const struct change *ch)
{
	struct conn c = {};

	c.origin = current_proc();
	emit_change(sk, ch, &c, KIND_LISTEN, WHY_NONE);
}

/*
 * Who accepted. There is no transition at that time; whoever ran when the handshake ended
 * was only passing by. The conn is there: accept() locks the new socket once, so the
 * softirq that was taking it to ESTABLISHED is done with it.
 */
static __always_inline bool set_accepter(struct sock *sk)
{
	/* Made when it was established, so it can be read where it cannot be asked for. */
	__u64 cookie = BPF_CORE_READ(sk, __sk_common.skc_cookie.counter);
	struct conn *c = conn_get(cookie);

	if (!c || c->role != ROLE_SERVER || c->origin)
		return false;
	c->origin = current_proc();
	return true;
}

/* --states all: the transitions that have no record of their own. */
static __always_inline void on_any(struct sock *sk, const struct change *ch)
{
	if (ch->new == TCP_ESTABLISHED || (ch->new == TCP_CLOSE && ch->old != TCP_LISTEN))
		return;
	emit_change(sk, ch, conn_get(ch->cookie), KIND_STATE, WHY_NONE);
}

/* The clone of a listener (SYN_RECV) has no cookie yet: see on_cloned(). */
static __always_inline bool of_interest(struct sock *sk, const struct change *ch)
{
	return ch->old != ch->new && ch->new != TCP_SYN_RECV && sk->sk_protocol == IPPROTO_TCP;
}

static __always_inline void handle(struct sock *sk, struct change *ch)
{
	if (all_states)
		on_any(sk, ch);
	if (ch->new == TCP_SYN_SENT)
		on_syn_sent(sk, ch);
	else if (ch->new == TCP_ESTABLISHED)
		on_established(sk, ch);
	else if (ch->new == TCP_CLOSE)
		on_close(sk, ch);
	else if (ch->new == TCP_LISTEN)
		on_listen(sk, ch);
	else
		on_closing(sk, ch);
}

#endif
