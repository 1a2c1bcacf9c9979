package conn

import (
	"net/netip"
	"strings"

	"github.com/twtrace/twtrace/internal/event"
)

// maxListeners bounds what is remembered of listen() calls.
const maxListeners = 16384

type listenKey struct {
	netns uint32
	local netip.AddrPort
}

// listeners tells who called listen() on an address. A later call on the same
// address replaces the earlier one; nothing tells when a listener is closed, and
// a connection it accepted may outlive it.
type listeners map[listenKey]event.Proc

func (l listeners) add(e *event.Event) bool {
	if !e.Process.Known() || e.Local.Port() == 0 {
		return true
	}
	k := listenKey{e.NetNS, unmap(e.Local)}
	if _, ok := l[k]; !ok && len(l) >= maxListeners {
		return false
	}
	l[k] = kept(e.Process)
	return true
}

// kept is a process for longer than its event. A name is short, and what it is cut
// from need not be.
func kept(p event.Proc) event.Proc {
	p.Comm = strings.Clone(p.Comm)
	return p
}

// find looks for the listener of a local end: on the address itself, then on
// the wildcards. A socket on :: takes IPv4 connections too.
func (l listeners) find(netns uint32, local netip.AddrPort) (event.Proc, bool) {
	if len(l) == 0 {
		return event.Proc{}, false
	}
	local = unmap(local)
	if p, ok := l[listenKey{netns, local}]; ok {
		return p, true
	}
	if local.Addr().Is4() {
		if p, ok := l[listenKey{netns, netip.AddrPortFrom(netip.IPv4Unspecified(), local.Port())}]; ok {
			return p, true
		}
	}
	p, ok := l[listenKey{netns, netip.AddrPortFrom(netip.IPv6Unspecified(), local.Port())}]
	return p, ok
}

func unmap(a netip.AddrPort) netip.AddrPort {
	return netip.AddrPortFrom(a.Addr().Unmap(), a.Port())
}

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

// complete sets the owner of e, and how long TIME_WAIT lasted if it ends one
// whose begin the table saw. s is what is held of the connection.
func (t *Table) complete(e *event.Event, s *socket) {
	e.Process, e.Owner = e.KnownOwner()
	if rank(e.Owner) < rank(event.ByListen) && t.role(e) == event.Server {
		if p, ok := t.listeners.find(e.NetNS, e.Local); ok {
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

// role is the role of the socket: what the event says or, for a socket from
// before the trace, what its ports imply. A local port that somebody listens on,
// or one outside the ephemeral range, is a server's; a local port in the range
// towards a remote one outside it is a client's.
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
