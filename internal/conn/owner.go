package conn

import "github.com/twtrace/twtrace/internal/event"

// rank orders the ways to know an owner, best last.
func rank(o event.OwnerFrom) int {
	switch o {
	case event.ByConnect, event.ByAccept, event.ByCall:
		return 5
	case event.ByProc:
		return 4
	case event.ByClose:
		return 3
	case event.ByListen:
		return 2
	case event.Inferred:
		return 1
	}
	return 0
}

// complete sets the owner of e, and how long TIME_WAIT lasted if e ends one whose
// start the table saw. s is the connection as the table holds it.
func (t *Table) complete(e *event.Event, s *socket) {
	e.Process, e.Owner = e.KnownOwner()
	if rank(e.Owner) < rank(event.ByListen) && t.role(e) == event.Server {
		if p := t.listenerOf(e, s); p.Known() {
			e.Process, e.Owner = p, event.ByListen
		}
	}
	if s.alive() && rank(s.owner) > rank(e.Owner) {
		if g := t.groups.get(s.group); g.proc.Known() {
			e.Process, e.Owner = g.proc, s.owner
		}
	}
	if e.Kind == event.TimeWaitExit && e.InState == 0 && s.phase == timeWait &&
		s.seen&sawSnapshot == 0 && e.Time > s.since {
		e.InState = e.Time - s.since
	}
}

// listenerOf is the process that listens for the connection of e. Where that is the kernel
// says when the connection is established, and then nobody else counts: a transparent proxy
// listens elsewhere than at the local end. If the kernel has not said so, it is there.
func (t *Table) listenerOf(e *event.Event, s *socket) (p event.Proc) {
	switch {
	case e.Listener.IsValid():
		p, _ = t.listeners.on(e.NetNS, unmap(e.Listener))
	case s.seen&takenIn == 0:
		p, _ = t.listeners.find(e.NetNS, e.Local)
	}
	return p
}

// role is the role of the socket: what the event says or, for a socket from
// before the trace, what its ports imply. A local port with a listener, or one
// outside the ephemeral range, belongs to a server; a local port in the range
// towards a remote one outside it belongs to a client.
func (t *Table) role(e *event.Event) event.Role {
	if e.Role != event.RoleNone || !e.Remote.IsValid() {
		return e.Role
	}
	if e.Kind == event.Fail {
		return event.Client
	}
	if _, ok := t.listeners.find(e.NetNS, e.Local); ok {
		return event.Server
	}
	switch l, _ := t.limits(e.NetNS); {
	case !l.Ephemeral(e.Local.Port()):
		return event.Server
	case !l.Ephemeral(e.Remote.Port()):
		return event.Client
	}
	return event.RoleNone
}
