package conn

import (
	"net/netip"
	"slices"
	"strings"

	"github.com/twtrace/twtrace/internal/event"
)

// maxListeners bounds what is remembered of listen() calls.
const maxListeners = 16384

type listenKey struct {
	netns uint32
	local netip.AddrPort
}

// listener is a socket that listens, or did: a connection it accepted may outlive it.
type listener struct {
	cookie uint64
	proc   event.Proc
	since  int64 // as Listener.Since
	closed bool
}

// listeners tells who called listen() on an address. There is more than one at a
// time with SO_REUSEPORT.
type listeners struct {
	at map[listenKey][]listener
	n  int
}

// note takes a listen() into account, or the end of a listener. It reports false
// if there is no room.
func (l *listeners) note(e *event.Event) bool {
	k := listenKey{e.NetNS, unmap(e.Local)}
	if e.New == event.Closed {
		l.close(k, e.Cookie)
		return true
	}
	if !e.Process.Known() || e.Local.Port() == 0 {
		return true
	}
	since := e.Time
	if e.Owner == event.ByProc {
		since = 0
	}
	all := l.at[k]
	l.n -= len(all)
	if i := slices.IndexFunc(all, func(o listener) bool { return o.cookie == e.Cookie && o.cookie != 0 }); i >= 0 {
		since = all[i].since
	}
	// Of a listener without a cookie no end is seen, so the next one takes its place.
	all = slices.DeleteFunc(all, func(o listener) bool { return o.closed || o.cookie == 0 || o.cookie == e.Cookie })
	room := l.n+len(all) < maxListeners
	if room {
		all = append(all, listener{cookie: e.Cookie, proc: kept(e.Process), since: since})
		l.at[k] = all
	}
	l.n += len(all)
	return room
}

// close forgets a listener, but for the last one on its address.
func (l *listeners) close(k listenKey, cookie uint64) {
	all := l.at[k]
	i := slices.IndexFunc(all, func(o listener) bool { return o.cookie == cookie })
	switch {
	case i < 0:
	case len(all) == 1:
		all[0].closed = true
	default:
		l.at[k] = slices.Delete(all, i, i+1)
		l.n--
	}
}

// kept is a process for longer than its event. A name is short, and what it is cut
// from need not be.
func kept(p event.Proc) event.Proc {
	p.Comm = strings.Clone(p.Comm)
	return p
}

// find looks for the listener of a local end: on the address itself, then on the
// wildcards. A socket on :: takes IPv4 connections too. It reports whether there is one;
// if processes share the address, it is not known which.
func (l *listeners) find(netns uint32, local netip.AddrPort) (event.Proc, bool) {
	if len(l.at) == 0 {
		return event.Proc{}, false
	}
	local = unmap(local)
	if p, ok := l.on(netns, local); ok {
		return p, true
	}
	if local.Addr().Is4() {
		if p, ok := l.on(netns, netip.AddrPortFrom(netip.IPv4Unspecified(), local.Port())); ok {
			return p, true
		}
	}
	return l.on(netns, netip.AddrPortFrom(netip.IPv6Unspecified(), local.Port()))
}

// Listener is a socket that listens.
type Listener struct {
	Local   netip.AddrPort
	Process event.Proc
	Since   int64 // when it began to, ns since the epoch; 0 if that was before the trace
}

// Listeners are those of a namespace whose process is known, in no order.
func (t *Table) Listeners(netns uint32) []Listener {
	var out []Listener
	for k, all := range t.listeners.at {
		for _, l := range all {
			if k.netns == netns && !l.closed {
				out = append(out, Listener{k.local, l.proc, l.since})
			}
		}
	}
	return out
}

// Listening reports whether somebody listens where a bind() to local would be in the
// way, and who, if that is known.
func (t *Table) Listening(netns uint32, local netip.AddrPort) (by event.Proc, ok bool) {
	local = unmap(local)
	for k, all := range t.listeners.at {
		if k.netns != netns || k.local.Port() != local.Port() {
			continue
		}
		if a, b := k.local.Addr(), local.Addr(); a != b && !a.IsUnspecified() && !b.IsUnspecified() {
			continue
		}
		for _, l := range all {
			if !l.closed {
				by, ok = l.proc, true
			}
		}
	}
	return by, ok
}

func (l *listeners) on(netns uint32, local netip.AddrPort) (event.Proc, bool) {
	all := l.at[listenKey{netns, local}]
	if len(all) == 0 {
		return event.Proc{}, false
	}
	for _, o := range all[1:] {
		if !o.proc.Is(all[0].proc) {
			return event.Proc{}, true
		}
	}
	return all[0].proc, true
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
		if p, _ := t.listeners.find(e.NetNS, e.Local); p.Known() {
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
