package conn

import (
	"net/netip"
	"slices"

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
	opens     uint64
	exhausted uint64
	first     int64
	last      int64
}

// shift moves one socket from one phase to another; a nil d is no destination.
func (d *dest) shift(from, to phase) {
	if d == nil {
		return
	}
	if from > unborn && from < ended {
		d.alive[from]--
	}
	if to < ended {
		d.alive[to]++
	}
}

// destSet interns destinations as small numbers; 0 is none.
type destSet struct {
	ids  map[destKey]uint32
	all  []*dest
	free []uint32
}

func newDestSet() destSet {
	return destSet{ids: make(map[destKey]uint32), all: []*dest{nil}}
}

func (s *destSet) get(id uint32) *dest { return s.all[id] }

// destination returns the number of the destination e goes to, 0 if it goes to
// none or there is no room for it.
func (t *Table) destination(e *event.Event) uint32 {
	if !e.Remote.IsValid() || t.role(e) != event.Client {
		return 0
	}
	k := destKey{netns: e.NetNS, laddr: e.Local.Addr().As16(), raddr: e.Remote.Addr().As16(), rport: e.Remote.Port()}
	s := &t.dests
	if id, ok := s.ids[k]; ok {
		return id
	}
	if len(s.ids) >= t.opt.MaxDestinations {
		t.total.DestinationsRefused++
		return 0
	}
	d := &dest{key: k, first: e.Time, last: e.Time}
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

func (s *destSet) sweep(idle int64) {
	for id, d := range s.all {
		if d == nil || d.last > idle || d.alive != ([ended]uint32{}) {
			continue
		}
		delete(s.ids, d.key)
		s.all[id] = nil
		s.free = append(s.free, uint32(id))
	}
}

// Destination is the pressure of one destination: how many of the local ports
// that connect() may use towards it are in use, and by what. Sockets that were
// bound to a port outside the range count too, and connects that are still
// waiting for an answer do not.
type Destination struct {
	NetNS       uint32
	Local       netip.Addr
	Remote      netip.AddrPort
	TimeWait    int
	Parked      int
	Established int
	Opens       uint64 // connections opened; only grows
	Exhausted   uint64 // connects that failed with EADDRNOTAVAIL; only grows
	Low, High   uint16 // the ephemeral range, 0 if unknown
	Usable      int    // ports of it that connect() may use, 0 if unknown
	First, Last int64  // first and last activity, ns since the epoch
}

// Used is how many local ports are in use.
func (d *Destination) Used() int { return d.TimeWait + d.Parked + d.Established }

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
			Opens: d.opens, Exhausted: d.exhausted, First: d.first, Last: d.last,
		}
		if t.opt.Limits != nil {
			if low, high, usable, _, ok := t.opt.Limits(v.NetNS); ok {
				v.Low, v.High, v.Usable = low, high, usable
			}
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
