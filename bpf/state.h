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

const volatile bool all_states = false;

/* The programs behind state_caught are attached too. */
const volatile bool catch_again = false;

/* One transition of one socket. */
struct change {
	__u64 now;
	__u64 cookie;
	int old, new;
};

/* Made for the first who asks; from then on it stands in the socket. */
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
	       BPF_CORE_READ((struct tcp_sock *)sk, write_seq) == (c ? c->seq : 0);
}

static __noinline void emit_change(struct sock *sk, const struct change *ch, const struct conn *c,
				   __u8 kind, __u8 why)
{
	struct event e = { .time = ch->now, .cookie = ch->cookie, .kind = kind, .why = why };

	if (!wanted_kind(kind))
		return;
	tuple_of_sock(&e, &sk->__sk_common);
	if (c)
		fill_conn(&e, c);
	else
		e.flags = EVENT_NOT_SEEN;
	e.old = ch->old;
	e.new = ch->new;
	e.err = sk->sk_err;
	if (kind == KIND_FAIL) {
		e.call = CALL_CONNECT;
		if (!e.err && found_no_port(sk, c))
			e.err = EADDRNOTAVAIL;
	}
	emit(&e);
}

/* The conn of a cookie, made if this is the first that is seen of it. */
static __always_inline struct conn *conn_of(__u64 cookie, struct sock *sk, __u8 role)
{
	struct conn *c = conn_get(cookie);
	struct conn fresh = { .role = role };

	if (c)
		return c;
	fresh.lport = sk->__sk_common.skc_num;
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
	if (c.lport) /* connect() has chosen none yet */
		c.flags = CONN_BOUND;
	c.seq = BPF_CORE_READ((struct tcp_sock *)sk, write_seq); /* not 0 if used before */
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

static __always_inline void on_established(struct sock *sk, const struct change *ch)
{
	struct conn fresh = { .role = ch->old == TCP_SYN_SENT ? ROLE_CLIENT : ROLE_SERVER };
	struct conn *c = conn_get(ch->cookie);
	bool known = c;

	if (!known)
		c = &fresh;
	c->established = ch->now;
	c->lport = sk->__sk_common.skc_num; /* chosen after SYN_SENT */
	emit_change(sk, ch, c, KIND_OPEN, WHY_NONE);
	c->since = ch->now;
	c->state = TCP_ESTABLISHED;
	if (!known)
		conn_add(ch->cookie, &fresh);
}

/* A step on the way down, short of CLOSE. */
static __always_inline void on_closing(struct sock *sk, const struct change *ch)
{
	struct conn *c = conn_of(ch->cookie, sk, ROLE_UNKNOWN);

	if (!c)
		return;
	if (ch->old == TCP_ESTABLISHED)
		c->closed = ch->now;
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

static __always_inline __u8 close_reason(int err, int old)
{
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

/* Trampolines see the allocation of the mini-socket fail; see trampolines.h. */
const volatile bool sees_refusals = false;

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
static __always_inline void on_close(struct sock *sk, const struct change *ch)
{
	struct conn *c = conn_get(ch->cookie);
	__u8 kind = KIND_CLOSE, why = close_reason(sk->sk_err, ch->old);

	if (ch->old == TCP_LISTEN) {
		emit_change(sk, ch, NULL, KIND_LISTEN, WHY_NONE);
		return;
	}
	if (c)
		c->flags |= CONN_CLOSED;
	if (c && c->mini) {
		if (c->mini == MINI_REFUSED)
			conn_delete(c, ch->cookie);
		return;
	}
	if (ch->old == TCP_SYN_SENT || (ch->old == TCP_SYN_RECV && c && c->role == ROLE_CLIENT)) {
		kind = KIND_FAIL; /* SYN_RECV: both called connect() at once */
		why = WHY_NONE;
	} else if (refused(sk, ch)) {
		kind = KIND_REFUSED;
		why = WHY_BUCKETS;
	}
	if (c && c->established && !c->closed)
		c->closed = ch->now;
	/* With the socket locked by its user, the task that resets it is current. */
	if (c && why == WHY_RESET_SENT && !c->closer && sk->sk_lock.owned)
		c->closer = current_proc();
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
static __always_inline void set_accepter(struct sock *sk)
{
	/* Made when it was established, so it can be read where it cannot be asked for. */
	__u64 cookie = BPF_CORE_READ(sk, __sk_common.skc_cookie.counter);
	struct conn *c = conn_get(cookie);

	if (c && c->role == ROLE_SERVER)
		c->origin = current_proc();
}

/* --states all: the transitions that have no record of their own. */
static __always_inline void on_any(struct sock *sk, const struct change *ch)
{
	if (ch->new == TCP_ESTABLISHED || (ch->new == TCP_CLOSE && ch->old != TCP_LISTEN))
		return;
	emit_change(sk, ch, conn_get(ch->cookie), KIND_STATE, WHY_NONE);
}

/* The clone of a listener (SYN_RECV) may still show the listener's cookie. */
static __always_inline bool of_interest(struct sock *sk, const struct change *ch)
{
	return ch->old != ch->new && ch->new != TCP_SYN_RECV && sk->sk_protocol == IPPROTO_TCP;
}

static __always_inline void handle(struct sock *sk, const struct change *ch)
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

/*
 * The programs on one tracepoint run one after the other, and each leaves its signature for
 * the next. One that interrupts may overwrite it; see already_handled().
 */
static __always_inline __u64 *signature_slot(struct cpu_state *cpu, const struct change *ch)
{
	return &cpu->handled[ch->cookie % SIGNED_SLOTS];
}

static __always_inline __u64 signature(const struct change *ch)
{
	return ch->cookie << 4 | ch->new;
}

/* Did the program before this one sign? The last one takes the signature back. */
static __always_inline bool was_signed(struct cpu_state *cpu, const struct change *ch, bool last)
{
	__u64 *slot = signature_slot(cpu, ch);

	if (*slot != signature(ch))
		return false;
	if (last)
		*slot = 0;
	return true;
}

/*
 * Without a signature: was it skipped, or was the signature overwritten, or left on
 * another CPU? A close without a conn counts as handled, since handling it deletes the conn.
 */
static __always_inline bool already_handled(const struct change *ch)
{
	struct conn *c = conn_get(ch->cookie);

	if (ch->new == TCP_CLOSE)
		return !c || c->flags & CONN_CLOSED;
	return c && c->state == ch->new;
}

static __always_inline int on_state(struct sock *sk, int old, int new)
{
	struct change ch = { .old = old, .new = new };
	struct cpu_state *cpu = this_cpu();

	if (!cpu || !enabled)
		return 0;
	ch.cookie = cookie_of_sock(sk);
	if (of_interest(sk, &ch)) {
		ch.now = bpf_ktime_get_ns();
		handle(sk, &ch);
	}
	*signature_slot(cpu, &ch) = signature(&ch);
	return 0;
}

static __always_inline int on_state_unsigned(struct sock *sk, int old, int new, bool last)
{
	struct change ch = { .old = old, .new = new };
	struct cpu_state *cpu = this_cpu();

	if (!cpu || !enabled)
		return 0;
	ch.cookie = cookie_of_sock(sk);
	if (was_signed(cpu, &ch, last))
		return 0;
	if (of_interest(sk, &ch)) {
		if (already_handled(&ch))
			return 0;
		ch.now = bpf_ktime_get_ns();
		handle(sk, &ch);
	}
	count(LOSS_CAUGHT); /* or skipped, and nothing to do */
	if (!last)
		*signature_slot(cpu, &ch) = signature(&ch);
	return 0;
}

#endif
