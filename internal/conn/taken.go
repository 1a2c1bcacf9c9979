package conn

import (
	"strconv"
	"strings"

	"github.com/twtrace/twtrace/internal/event"
)

// takenPorts counts the ports of one network namespace that connect() skips for every
// destination, since a program has bound them (the bind bucket has fastreuse or
// fastreuseport set: __inet_hash_connect). It counts those of listeners, of what these
// have accepted, of clients that bound before they connected, and of sockets that did
// neither yet.
type takenPorts struct {
	sockets map[uint16]int32 // by port
	limits  portSet
	within  int // distinct ports of sockets that connect() could choose but for these
}

// portSet is the ports that connect() may choose.
type portSet struct {
	low, high uint16
	reserved  string // as in Limits
}

// has reports whether connect() may choose a port.
func (s *portSet) has(port uint16) bool {
	if port < s.low || port > s.high {
		return false
	}
	for part := range strings.SplitSeq(s.reserved, ",") {
		from, to, isRange := strings.Cut(part, "-")
		if !isRange {
			to = from
		}
		a, errA := strconv.ParseUint(from, 10, 16)
		b, errB := strconv.ParseUint(to, 10, 16)
		if errA == nil && errB == nil && uint64(port) >= a && uint64(port) <= b {
			return false
		}
	}
	return true
}

// add changes how many sockets a port has.
func (p *takenPorts) add(port uint16, n int32) {
	was := p.sockets[port]
	if is := was + n; is > 0 {
		p.sockets[port] = is
	} else {
		delete(p.sockets, port)
	}
	if is := was + n; (was > 0) != (is > 0) && p.limits.has(port) {
		if is > 0 {
			p.within++
		} else {
			p.within--
		}
	}
}

// under counts anew if the limits have changed.
func (p *takenPorts) under(l *Limits) {
	now := portSet{l.PortLow, l.PortHigh, l.ReservedPorts}
	if p.limits == now {
		return
	}
	p.limits, p.within = now, 0
	for port := range p.sockets {
		if now.has(port) {
			p.within++
		}
	}
}

// pin counts a socket that takes its port for all destinations, or its end if n is -1.
func (t *Table) pin(netns uint32, port uint16, n int32) {
	p := t.taken[netns]
	if p == nil {
		if n < 0 {
			return
		}
		p = &takenPorts{sockets: make(map[uint16]int32)}
		l, _ := t.limits(netns)
		p.under(&l)
		t.taken[netns] = p
	}
	p.add(port, n)
	if len(p.sockets) == 0 {
		delete(t.taken, netns)
	}
}

// pinSocket is pin for a connection that moves to another phase.
func (t *Table) pinSocket(s *socket, g *group, from, to phase, e *event.Event) {
	switch {
	case s.seen&pinned != 0 && to == ended:
		s.seen &^= pinned
		t.pin(g.key.netns, s.lport, -1)
	case e == nil || from != unborn || to == ended || g.key.kind == GroupOther:
	case g.key.role == event.Server, e.Bound:
		if l, _ := t.limits(e.NetNS); l.Ephemeral(s.lport) {
			s.seen |= pinned
			t.pin(g.key.netns, s.lport, 1)
		}
	}
}

// listening is one listener.
type listening struct {
	netns  uint32
	port   uint16
	cookie uint64
}

// pinListener is pin for a listener that starts or ends.
func (t *Table) pinListener(e *event.Event) {
	k := listening{e.NetNS, e.Local.Port(), e.Cookie}
	_, known := t.listening[k]
	switch ends := e.New == event.Closed; {
	case k.cookie == 0 || k.port == 0 || known != ends: // without a cookie its end is never seen
	case ends:
		delete(t.listening, k)
		t.pin(k.netns, k.port, -1)
	case len(t.listening) < maxListeners:
		t.listening[k] = struct{}{}
		t.pin(k.netns, k.port, 1)
	}
}

// BoundIdle is a socket that has bound a port and neither listens nor connects.
type BoundIdle struct {
	NetNS   uint32
	Port    uint16
	Process event.Proc // not known if nobody looked it up
}

// SetBoundIdle sets which sockets only hold a port, from a dump of the kernel's sockets:
// no event says it. It replaces what the dump before had.
func (t *Table) SetBoundIdle(list []BoundIdle) {
	for _, b := range t.boundIdle {
		t.pin(b.NetNS, b.Port, -1)
	}
	t.boundIdle = list
	for _, b := range list {
		t.pin(b.NetNS, b.Port, 1)
	}
}

// BoundIdle returns what SetBoundIdle has set.
func (t *Table) BoundIdle() []BoundIdle { return t.boundIdle }

// takenFor is how many of the usable ports connect() skips for every destination.
func (t *Table) takenFor(netns uint32, l *Limits) int {
	p := t.taken[netns]
	if p == nil {
		return 0
	}
	p.under(l)
	return p.within
}

// TakenPorts is how many ports connect() skips in a network namespace, for every
// destination, of those that it may choose.
func (t *Table) TakenPorts(netns uint32) int {
	l, _ := t.limits(netns)
	return t.takenFor(netns, &l)
}
