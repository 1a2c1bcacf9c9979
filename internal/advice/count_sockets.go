package advice

import (
	"cmp"
	"net/netip"
	"slices"

	"github.com/twtrace/twtrace/internal/event"
	"github.com/twtrace/twtrace/internal/kernel"
	"github.com/twtrace/twtrace/internal/pressure"
)

// census sorts sockets into those of listeners and those of destinations. It
// must get the listeners first.
type census struct {
	limits       kernel.Limits
	listeners    map[uint16][]*Listener // by port
	destinations map[destKey]*Destination
	timeWait     pressure.Expiry
	taken        map[uint16]struct{} // ports that connect() skips for every destination
}

type destKey struct {
	local  netip.Addr
	remote netip.AddrPort
}

func newCensus(l kernel.Limits) *census {
	return &census{limits: l, listeners: map[uint16][]*Listener{}, destinations: map[destKey]*Destination{}, taken: map[uint16]struct{}{}}
}

func (c *census) add(s kernel.Socket) error {
	port := s.Local.Port()
	if s.Remote.Port() == 0 && c.limits.Ephemeral(port) {
		c.taken[port] = struct{}{}
	}
	if s.State == event.Listening {
		c.listeners[port] = append(c.listeners[port], &Listener{Local: s.Local, Waiting: s.RQueue, Backlog: s.WQueue})
		return nil
	}
	if s.State == event.TimeWait {
		c.timeWait.Add(1, s.Expires)
	}
	if l := c.listener(s.Local); l != nil {
		l.States.add(s)
		return nil
	}
	if s.Remote.Port() == 0 {
		return nil // bound, but neither connected nor listening
	}
	key := destKey{s.Local.Addr(), s.Remote}
	d := c.destinations[key]
	if d == nil {
		d = &Destination{Local: key.local, Remote: key.remote}
		c.destinations[key] = d
	}
	if !c.limits.Ephemeral(port) {
		d.Bound++
		return nil
	}
	d.States.add(s)
	if s.State == event.SynSent && s.Retrans > 0 {
		d.Resent++
	}
	if s.State == event.TimeWait {
		d.Expiry.Add(1, s.Expires)
	}
	return nil
}

// listener returns the listener that owns the local end of a connection: one on
// that very address, else one on all addresses. connect() never chooses a port
// that somebody has bound, so the port alone tells which side it is.
func (c *census) listener(local netip.AddrPort) *Listener {
	var wild *Listener
	for _, l := range c.listeners[local.Port()] {
		switch a := l.Local.Addr(); {
		case a == local.Addr():
			return l
		case a.IsUnspecified() && (a.Is6() || local.Addr().Is4()):
			wild = l
		}
	}
	return wild
}

func (c *census) result() ([]Destination, []Listener, pressure.Expiry) {
	dests := make([]Destination, 0, len(c.destinations))
	for _, d := range c.destinations {
		dests = append(dests, *d)
	}
	slices.SortFunc(dests, func(a, b Destination) int {
		return cmp.Or(cmp.Compare(b.States.All(), a.States.All()), a.Remote.Compare(b.Remote), a.Local.Compare(b.Local))
	})
	var listeners []Listener
	for _, at := range c.listeners {
		for _, l := range at {
			listeners = append(listeners, *l)
		}
	}
	slices.SortFunc(listeners, func(a, b Listener) int {
		return cmp.Or(cmp.Compare(b.States.All(), a.States.All()), a.Local.Compare(b.Local))
	})
	return dests, listeners, c.timeWait
}
