package conn

import (
	"net/netip"
	"slices"
	"time"

	"github.com/twtrace/twtrace/internal/event"
)

type destKey struct {
	laddr, raddr [16]byte
	netns        uint32
	rport        uint16
	_            uint16
}

// dest counts the client sockets from one local address to one remote end. Each
// holds another local port, so their number is the number of ports in use.
type dest struct {
	key     destKey
	alive   [ended]uint32 // by phase
	waiting uint32        // in SYN_SENT, at the last look
	opens   uint64
	fails   Fails
	first   int64
	last    int64
	flow    *flow // nil as long as it never had busyPorts sockets
}

// busyPorts is how many sockets a destination must have for its flow to be
// followed: a scan has a million destinations, of one each.
const busyPorts = 8

// shift takes note of a step of one socket; a nil d is no destination.
func (d *dest) shift(s step, e *event.Event) {
	if d == nil {
		return
	}
	if s.from > unborn && s.from < ended {
		d.alive[s.from]--
	}
	if s.to < ended {
		d.alive[s.to]++
	}
	if d.flow == nil && d.used() >= busyPorts {
		before := d.opens
		if e != nil && e.Kind == event.Open {
			before--
		}
		d.flow = d.follow(before, s.now)
	}
	if d.flow == nil {
		return
	}
	d.flow.shift(s)
	if e != nil && s.from == unborn && s.to < ended {
		d.flow.who.credit(e.Process)
	}
}

// follow begins a flow. If the destination is not much older, what was opened before
// counts as opened evenly since its first: a slow one has its rate as soon as a fast one.
func (d *dest) follow(before uint64, now int64) *flow {
	since := now - d.first
	if since >= int64(LongWindow) {
		return newFlow(now, now)
	}
	f := newFlow(d.first, now)
	for i, n := int64(0), since/int64(time.Second)+1; i < n; i++ {
		opens := int64(before)*(i+1)/n - int64(before)*i/n
		f.tick(d.first + i*int64(time.Second)).opens += uint32(opens)
	}
	return f
}

// waits has p known as a holder if it is not yet: its connections may never open.
func (d *dest) waits(p event.Proc, now int64) {
	if d.flow == nil && d.waiting >= busyPorts {
		d.flow = d.follow(d.opens, now)
	}
	if d.flow != nil && !d.flow.who.has(p) {
		d.flow.who.credit(p)
	}
}

// used is how many ports are known to be in use.
func (d *dest) used() uint32 { return d.alive[live] + d.alive[parked] + d.alive[timeWait] }

func (d *dest) empty() bool { return d.alive == ([ended]uint32{}) && d.waiting == 0 }

// destSet interns destinations as small numbers; 0 is none.
type destSet struct {
	ids     map[destKey]uint32
	all     []*dest
	free    []uint32
	door    *doorman
	bound   map[uint32]uint32 // by namespace, the last one of a port that was bound
	cleared int64             // when empty ones were last dropped for want of room
}

func newDestSet() destSet {
	return destSet{ids: make(map[destKey]uint32), all: []*dest{nil}, bound: make(map[uint32]uint32)}
}

func (s *destSet) get(id uint32) *dest { return s.all[id] }

// keyOf is the destination of e. A port that was bound before is taken from all of
// them: it counts as used at the local address, with no remote end.
func keyOf(e *event.Event) destKey {
	if e.Bound || !e.Remote.IsValid() {
		return destKey{netns: e.NetNS, laddr: e.Local.Addr().As16()}
	}
	return destKey{netns: e.NetNS, laddr: e.Local.Addr().As16(), raddr: e.Remote.Addr().As16(), rport: e.Remote.Port()}
}

// destination returns the number of the destination e goes to, 0 if it goes to
// none or there is no room for it.
func (t *Table) destination(e *event.Event) uint32 {
	if !e.Remote.IsValid() || t.role(e) != event.Client {
		return 0
	}
	if e.Bound {
		if l, known := t.limits(e.NetNS); known && !l.Ephemeral(e.Local.Port()) {
			return 0 // nobody wants that port
		}
	}
	id := t.destinationOf(keyOf(e), e.Time)
	if e.Bound {
		t.dests.bound[e.NetNS] = id
	}
	return id
}

func (t *Table) destinationOf(k destKey, now int64) uint32 {
	s := &t.dests
	if id, ok := s.ids[k]; ok {
		return id
	}
	if !t.admits(k, now) {
		t.total.DestinationsRefused++
		return 0
	}
	d := &dest{key: k, first: now, last: now}
	id := uint32(len(s.all))
	if n := len(s.free); n > 0 {
		id, s.free = s.free[n-1], s.free[:n-1]
		s.all[id] = d
	} else {
		s.all = append(s.all, d)
	}
	s.ids[k] = id
	return id
}

// failPort counts a call that failed for want of a port, or otherwise, for the
// destination if that has any socket: a scan makes a million that never will.
func (t *Table) failPort(e *event.Event) {
	id := t.dests.ids[keyOf(e)]
	switch {
	case e.Call == event.Bind && (e.Errno != eaddrinuse || e.Local.Port() != 0):
		return // that port is taken, and no other would do
	case e.Call == event.Bind && id == 0:
		if id = t.boundAt(e); id == 0 {
			id = t.destinationOf(keyOf(e), e.Time)
		}
	case e.Call != event.Bind && e.Call != event.Connect:
		return
	case id == 0 && e.Errno == eaddrnotavail && e.Remote.IsValid():
		id = t.destinationOf(keyOf(e), e.Time)
	}
	if d := t.dests.get(id); d != nil {
		d.last = max(d.last, e.Time)
		d.fails.add(e.Call, e.Errno)
		if d.flow != nil {
			d.flow.who.credit(e.Process)
		}
	}
}

// boundAt is where ports are bound in the namespace of a bind() to any address,
// which has none of its own before it connects; 0 if that is not known.
func (t *Table) boundAt(e *event.Event) uint32 {
	id := t.dests.bound[e.NetNS]
	d := t.dests.get(id)
	if !e.Local.Addr().IsUnspecified() || d == nil || d.key.netns != e.NetNS || d.key.rport != 0 {
		return 0
	}
	return id
}

func (s *destSet) sweep(idle int64) {
	for id, d := range s.all {
		if d == nil || d.last > idle || !d.empty() {
			continue
		}
		if s.bound[d.key.netns] == uint32(id) {
			delete(s.bound, d.key.netns)
		}
		delete(s.ids, d.key)
		s.all[id] = nil
		s.free = append(s.free, uint32(id))
	}
}

// Destination is what is in use of the local ports that connect() may use towards
// one destination, and by what; or, if Remote is not valid, of those that clients
// have bound at one local address before they connected, wherever to.
type Destination struct {
	NetNS       uint32
	Local       netip.Addr
	Remote      netip.AddrPort
	TimeWait    int
	Parked      int
	Established int
	SynSent     int    // waiting for an answer, at the last look (see Waiting)
	Opens       uint64 // connections opened; only grows
	Fails       Fails  // calls that failed; only grows
	Exhausted   uint64 // of those, connects that failed with EADDRNOTAVAIL
	Low, High   uint16 // the ephemeral range, 0 if unknown
	Usable      int    // ports of it that connect() may use, 0 if unknown
	First, Last int64  // first and last activity, ns since the epoch
	Flow        *Flow  // nil of one that never had more than a few sockets
}

// Used is how many local ports are in use.
func (d *Destination) Used() int { return d.TimeWait + d.Parked + d.Established + d.SynSent }

// Share is how much of the usable ports is in use, 0 if the limit is not known.
// It may exceed 1 for a moment, or if sockets were bound outside the range.
func (d *Destination) Share() float64 {
	if d.Usable <= 0 {
		return 0
	}
	return float64(d.Used()) / float64(d.Usable)
}

// Destinations appends every destination to list, the worst first: by share of
// the usable ports, then by ports in use, then by address.
func (t *Table) Destinations(list []Destination) []Destination {
	begin := len(list)
	for _, d := range t.dests.all {
		if d == nil {
			continue
		}
		v := Destination{
			NetNS: d.key.netns, Local: addrOf(d.key.laddr),
			Remote:   netip.AddrPortFrom(addrOf(d.key.raddr), d.key.rport),
			TimeWait: int(d.alive[timeWait]), Parked: int(d.alive[parked]), Established: int(d.alive[live]),
			SynSent: int(d.waiting), Opens: d.opens, Fails: d.fails, Exhausted: d.fails.Of(event.Connect, eaddrnotavail),
			First: d.first, Last: d.last, Flow: d.flow.view(t.now),
		}
		if l, ok := t.limits(v.NetNS); ok {
			v.Low, v.High, v.Usable = l.PortLow, l.PortHigh, l.Usable
		}
		list = append(list, v)
	}
	slices.SortFunc(list[begin:], compareDestinations)
	return list
}

func compareDestinations(a, b Destination) int {
	switch sa, sb := a.Share(), b.Share(); {
	case sa > sb:
		return -1
	case sa < sb:
		return 1
	}
	if d := b.Used() - a.Used(); d != 0 {
		return d
	}
	if c := a.Remote.Compare(b.Remote); c != 0 {
		return c
	}
	if c := a.Local.Compare(b.Local); c != 0 {
		return c
	}
	return int(int64(a.NetNS) - int64(b.NetNS))
}
