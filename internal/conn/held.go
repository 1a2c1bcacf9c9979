package conn

import "github.com/twtrace/twtrace/internal/event"

// Held returns the state in which the table holds the connection of e, as
// Socket.State has it, and whether a Snapshot event put it into that state. It is
// StateNone if the table holds no such connection, or one that has ended.
func (t *Table) Held(e *event.Event) (state event.State, snapshot bool) {
	s := t.sockets.get(t.key(e))
	if s == nil || !s.alive() {
		return event.StateNone, false
	}
	return states[s.phase], s.phase == timeWait && s.seen&sawSnapshot != 0
}

// StateOf is Held by a cookie alone, and sees only what was known by it from the
// start. It costs a map lookup.
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
