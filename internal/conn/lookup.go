package conn

import "github.com/twtrace/twtrace/internal/event"

// Held returns the state in which the table holds the connection of e, as in
// Socket.State: StateNone if it holds no such connection, or one that has ended.
func (t *Table) Held(e *event.Event) event.State {
	s := t.sockets.get(t.key(e))
	if s == nil || !s.alive() {
		return event.StateNone
	}
	return states[s.phase]
}

// StateOf is Held by a cookie alone. It finds only connections that had the cookie
// in their first event, and costs one lookup in the index.
func (t *Table) StateOf(cookie uint64) event.State {
	s := t.sockets.get(cookie)
	if s == nil || !s.alive() {
		return event.StateNone
	}
	return states[s.phase]
}

// Lookup returns the connection that has the cookie, if it is held and alive.
func (t *Table) Lookup(cookie uint64) (Socket, bool) {
	s := t.sockets.get(cookie)
	if s == nil || !s.alive() {
		return Socket{}, false
	}
	return t.socket(s), true
}
