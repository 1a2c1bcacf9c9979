package conn

import (
	"net/netip"
	"slices"
	"strings"

	"github.com/twtrace/twtrace/internal/event"
)

// maxListeners limits how many listeners a table remembers, and maxClosed how many of these
// are closed: the last ones. Where programs listen on other ports all the time, those that
// are gone take no room from the others.
const (
	maxListeners = 16384
	maxClosed    = 1024
)

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

// listeners knows who called listen() on an address. With SO_REUSEPORT an address
// has more than one at a time.
type listeners struct {
	at     map[listenKey][]listener
	n      int
	closed [maxClosed]closedListener // a ring
	next   int                       // in closed
}

// closedListener is one that was the last on its address when it closed.
type closedListener struct {
	listenKey
	cookie uint64
}

// note takes a listen() into account, or the end of a listener. It returns false
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
	// The end of a listener without a cookie is never seen, so the next one replaces it.
	all = slices.DeleteFunc(all, func(o listener) bool { return o.closed || o.cookie == 0 || o.cookie == e.Cookie })
	room := l.n+len(all) < maxListeners
	if room {
		all = append(all, listener{cookie: e.Cookie, proc: cloneName(e.Process), since: since})
		l.at[k] = all
	}
	l.n += len(all)
	return room
}

// close forgets a listener, unless it is the last one on its address.
func (l *listeners) close(k listenKey, cookie uint64) {
	all := l.at[k]
	i := slices.IndexFunc(all, func(o listener) bool { return o.cookie == cookie })
	switch {
	case i < 0:
	case len(all) == 1 && all[0].closed:
	case len(all) == 1:
		all[0].closed = true
		l.forget(l.closed[l.next])
		l.closed[l.next] = closedListener{k, cookie}
		l.next = (l.next + 1) % maxClosed
	default:
		l.at[k] = slices.Delete(all, i, i+1)
		l.n--
	}
}

// forget drops a closed listener, unless another one listens there since.
func (l *listeners) forget(c closedListener) {
	if all := l.at[c.listenKey]; len(all) == 1 && all[0].closed && all[0].cookie == c.cookie {
		delete(l.at, c.listenKey)
		l.n--
	}
}

// cloneName returns p for longer than its event: its name is short, and may be part
// of a long string.
func cloneName(p event.Proc) event.Proc {
	p.Comm = strings.Clone(p.Comm)
	return p
}

// find returns the process that listens at a local end, and whether there is one: on
// the address itself, or else on a wildcard. A socket on :: takes IPv4 connections too.
// If processes share the address, the process is not known.
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
	NetNS   uint32
	Local   netip.AddrPort
	Process event.Proc
	Since   int64 // when listen() was called, ns since the epoch; 0 if that was before the trace
}

// Listeners returns those of a namespace whose process is known, in no order.
func (t *Table) Listeners(netns uint32) []Listener {
	return t.appendListeners(nil, func(n uint32) bool { return n == netns })
}

// appendListeners appends those of the namespaces that in accepts.
func (t *Table) appendListeners(list []Listener, in func(netns uint32) bool) []Listener {
	for k, all := range t.listeners.at {
		if !in(k.netns) {
			continue
		}
		for _, l := range all {
			if !l.closed {
				list = append(list, Listener{k.netns, k.local, l.proc, l.since})
			}
		}
	}
	return list
}

// anywhere is the wildcard that takes the connections at local, if a listener is there and
// none is at local itself.
func (l *listeners) anywhere(netns uint32, local netip.AddrPort) netip.AddrPort {
	local = unmap(local)
	if len(l.at) == 0 || len(l.at[listenKey{netns, local}]) > 0 {
		return netip.AddrPort{}
	}
	any := []netip.Addr{netip.IPv4Unspecified(), netip.IPv6Unspecified()}
	if !local.Addr().Is4() {
		any = any[1:]
	}
	for _, a := range any {
		if at := netip.AddrPortFrom(a, local.Port()); len(l.at[listenKey{netns, at}]) > 0 {
			return at
		}
	}
	return netip.AddrPort{}
}

// Listening reports whether a bind() to local would collide with a listener, and whose
// that is, if that is known.
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
