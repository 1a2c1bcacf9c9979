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
	key       destKey
	alive     [ended]uint32 // by phase
	closeWait uint32        // of alive[live], those in CLOSE_WAIT; see SetCloseWait
	synSent   uint32        // at the last dump, see SetSynSent
	synSentBy []Holder
	resent    uint32 // of synSent, those that have sent their SYN again
	opens     uint64
	fails     Fails
	noPort    uint64      // connects that found no port
	noneAt    int64       // the last call that found none, ns since the epoch
	failer    *event.Proc // who made the last connect that found none
	first     int64
	last      int64
	flow      *flow // nil as long as it never had busyPorts sockets
}

// busyPorts is how many sockets a destination must have to get a flow: a scan has
// a million destinations, with one socket each.
const busyPorts = 8

// shift counts a step of one socket; a nil d is no destination.
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
		d.flow = d.startFlow(before, s.now)
	}
	if d.flow == nil {
		return
	}
	d.flow.shift(s)
	if e != nil && s.from == unborn && s.to < ended {
		d.flow.owners.credit(e.Process)
	}
}

// startFlow starts a flow. If the destination is not much older, what was opened
// before counts as opened evenly since its first activity: a slow destination then
// has a rate as soon as a fast one.
func (d *dest) startFlow(before uint64, now int64) *flow {
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

// used is how many ports are known to be in use.
func (d *dest) used() uint32 { return d.alive[live] + d.alive[parked] + d.alive[timeWait] }

func (d *dest) empty() bool { return d.alive == ([ended]uint32{}) && d.synSent == 0 }

// destSet interns destinations as small numbers; 0 is none.
type destSet struct {
	numbered[dest]
	ids      map[destKey]uint32
	attempts *attempts
	toward   map[remoteKey]uint32 // the last destination at a remote end
	bound    map[uint32]uint32    // by namespace, the last destination of a bound port
	cleared  int64                // when empty ones were last dropped to make room
	most     int                  // that ids had, see shrunk
}

func newDestSet() destSet {
	return destSet{numbered: numbered[dest]{all: []*dest{nil}}, ids: make(map[destKey]uint32),
		toward: make(map[remoteKey]uint32), bound: make(map[uint32]uint32)}
}

// remoteKey is a remote end, from any local address.
type remoteKey struct {
	raddr [16]byte
	netns uint32
	rport uint16
	_     uint16
}

func (k *destKey) remote() remoteKey {
	return remoteKey{raddr: k.raddr, netns: k.netns, rport: k.rport}
}

// of is the destination of e, 0 if the table holds none. A failed call may have no local
// address, since the kernel takes that back: then it is the one to the same remote end.
func (s *destSet) of(e *event.Event) uint32 {
	k := keyOf(e)
	if id := s.ids[k]; id != 0 || !nowhere(e) {
		return id
	}
	return s.toward[k.remote()]
}

// nowhere reports whether e has no local address.
func nowhere(e *event.Event) bool {
	a := e.Local.Addr()
	return !a.IsValid() || a.IsUnspecified()
}

// keyOf is the destination of e. A port that was bound before connect() is in use
// for all of them: it counts as used at the local address, with no remote end.
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
			return 0 // connect() never chooses that port
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
	id := s.keep(d)
	s.ids[k] = id
	if k.rport != 0 {
		s.toward[k.remote()] = id
	}
	return id
}

// failPort sets the cause of a failed call, and counts the call at its destination. A call
// that found no free port makes the destination if need be; for any other failure the table
// must hold it already: a scan has a million destinations that never open.
func (t *Table) failPort(e *event.Event) {
	id := t.dests.of(e)
	e.Cause = t.causeOf(e, t.dests.get(id))
	switch {
	case e.Cause == event.TupleTaken:
		t.failTuple(e)
		return // the program asked for that one port
	case e.Call == event.Bind && (e.Errno != event.EADDRINUSE || e.Local.Port() != 0):
		return // the program asked for that one port
	case e.Call == event.Bind && id == 0:
		if id = t.boundAt(e); id == 0 {
			id = t.destinationOf(keyOf(e), e.Time)
		}
	case e.Call != event.Bind && e.Call != event.Connect:
		return
	case id == 0 && e.Cause == event.NoPort && e.Remote.IsValid():
		id = t.destinationOf(keyOf(e), e.Time)
	}
	if d := t.dests.get(id); d != nil {
		d.last = max(d.last, e.Time)
		d.fails.add(e.Call, e.Errno, e.Cause)
		if e.Cause == event.NoPort {
			d.noPort++
			if e.Process.Known() && (d.failer == nil || !d.failer.Is(e.Process)) {
				p := cloneName(e.Process)
				d.failer = &p
			}
		}
		if e.Cause == event.NoPort || e.Call == event.Bind {
			d.refuse(e.Time, t.now)
		}
	}
}

// refuse counts a call that found no free port as demand.
func (d *dest) refuse(at, now int64) {
	d.noneAt = max(d.noneAt, at)
	if d.flow == nil {
		d.flow = d.startFlow(d.opens, max(now, at))
	}
	d.flow.refuse(at, max(now, at))
}

// boundAt is the destination of bound ports in the namespace of e, a bind() to any
// address, which has no address of its own before it connects; 0 if there is none.
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
		if k := d.key.remote(); s.toward[k] == uint32(id) {
			delete(s.toward, k)
		}
		s.release(uint32(id))
	}
	most := s.most
	s.ids, s.toward = shrunk(s.ids, &s.most), shrunk(s.toward, &most)
}

// Destination says which local ports are in use towards one destination, and in
// which state; or, if Remote is not valid, which ports clients bound at one local
// address before they connected, whatever the destination.
type Destination struct {
	NetNS       uint32
	Local       netip.Addr
	Remote      netip.AddrPort
	TimeWait    int
	Parked      int
	Established int        // open, or closing without a mini-socket yet; not CloseWait
	CloseWait   int        // at the last poll, see Totals.CloseWaitAt
	SynSent     int        // no answer yet, at the last dump (see SetSynSent)
	SynSentBy   []Holder   // whose these are, as far as that is known; never changed
	Resent      int        // of SynSent, those that have sent their SYN again
	Holders     []Holder   // whose the sockets are, as far as that is known, the most first; of one with a Flow
	Opens       uint64     // connections opened; only grows
	Fails       Fails      // calls that failed; only grows
	Exhausted   uint64     // connects that found no free port (event.NoPort); only grows
	LastNone    int64      // the last call that found no free port, ns since the epoch; 0 if there was none
	Failer      event.Proc // who made the last of the connects that found none; the zero Proc if there is none
	Low, High   uint16     // the ephemeral range, 0 if unknown
	Usable      int        // ports of it that connect() may use, 0 if unknown or if all are reserved
	Limited     bool       // Usable is known
	Taken       int        // of Usable, those that connect() skips for every destination, since a program has bound them
	First, Last int64      // first and last activity, ns since the epoch
	Flow        *Flow      // nil if it never had more than a few sockets
}

// Used is how many local ports are in use.
func (d *Destination) Used() int {
	return d.TimeWait + d.Parked + d.Established + d.CloseWait + d.SynSent
}

// Share is which share of the usable ports is in use, 0 if the limit is not known.
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
	start := len(list)
	for _, d := range t.dests.all {
		if d == nil {
			continue
		}
		v := Destination{
			NetNS: d.key.netns, Local: netip.AddrFrom16(d.key.laddr).Unmap(),
			Remote:   netip.AddrPortFrom(addrOf(d.key.raddr), d.key.rport),
			TimeWait: int(d.alive[timeWait]), Parked: int(d.alive[parked]), Established: int(d.alive[live] - d.closeWait), CloseWait: int(d.closeWait),
			SynSent: int(d.synSent), SynSentBy: d.synSentBy, Resent: int(d.resent), Opens: d.opens, Fails: d.fails, Exhausted: d.noPort, LastNone: d.noneAt,
			First: d.first, Last: d.last, Flow: d.flow.view(t.now),
		}
		if d.failer != nil {
			v.Failer = *d.failer
		}
		if l, ok := t.limits(v.NetNS); ok {
			v.Low, v.High, v.Usable, v.Limited = l.PortLow, l.PortHigh, l.Usable, true
			v.Taken = t.takenFor(v.NetNS, &l)
		}
		list = append(list, v)
	}
	slices.SortFunc(list[start:], compareDestinations)
	t.hold(list[start:])
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
