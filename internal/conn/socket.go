package conn

import (
	"time"

	"github.com/twtrace/twtrace/internal/event"
)

// timeWaitLen is TCP_TIMEWAIT_LEN, a constant of the kernel.
const timeWaitLen = int64(60 * time.Second)

// phase is how far a connection has come. It never goes back.
type phase uint8

const (
	unborn phase = iota
	live
	parked
	timeWait
	ended
)

// What was already counted of a connection.
const (
	sawOpen uint16 = 1 << iota
	sawParked
	sawEnter
	sawSnapshot
	sawExit
	sawClose
	sawLife
	sawCloser
	sawEnding
	unmatched // ended with its begin not seen yet
	stamped   // in TIME_WAIT, and its peer has timestamps

	sawBegin = sawEnter | sawSnapshot
	sawEnd   = sawExit | sawClose
)

// socket is what is held of one connection. Its local address and, of a client,
// its owner and remote end are those of its group.
type socket struct {
	key   uint64   // see Table.key
	since int64    // when it entered its phase; of a snapshot, when it must have
	raddr [16]byte // remote address; IPv4 in its mapped form
	group uint32
	dest  uint32 // 0 if it is no client's
	lport uint16
	rport uint16
	seen  uint16
	phase phase
	owner event.OwnerFrom
}

func (s *socket) alive() bool { return s.phase > unborn && s.phase < ended }

// leads says where an event takes a connection, and which fact it is.
func leads(e *event.Event) (to phase, fact uint16) {
	switch e.Kind {
	case event.Open:
		return live, sawOpen
	case event.Parked:
		return parked, sawParked
	case event.TimeWaitEnter:
		return timeWait, sawEnter
	case event.Snapshot:
		switch e.New {
		case event.FinWait2:
			return parked, sawParked
		case event.Established:
			return live, sawOpen
		}
		return timeWait, sawSnapshot
	case event.TimeWaitExit:
		return ended, sawExit
	}
	return ended, sawClose
}

// advance moves a connection by one event about it.
func (t *Table) advance(e *event.Event) {
	k := t.key(e)
	to, fact := leads(e)
	s := t.sockets.get(k)
	if s != nil && k&tupleKey != 0 && t.reborn(s, e, to) {
		t.sockets.remove(k)
		s = nil
	}
	known := s != nil
	if !known {
		s = new(socket) // on the stack
	}
	t.complete(e, s)
	if s.told(fact) {
		t.total.Duplicates++
		return
	}
	g := t.place(e, s)
	t.count(e, s, g, fact)
	t.settle(s, fact)
	s.seen |= fact
	if to <= s.phase { // late: it counts, and changes nothing
		return
	}
	if !known && to != ended && t.total.Alive() >= uint64(t.opt.MaxSockets) {
		t.total.Untracked++
		return
	}
	t.move(s, g, to, e)
	s.since = begin(e)
	if !known {
		s.remember(e)
		s.key = k
		t.sockets.put(*s)
	}
	if to == ended {
		t.forget(t.ended.push(k))
	}
}

// told tells whether the same was counted before.
func (s *socket) told(fact uint16) bool {
	for _, same := range [...]uint16{sawOpen, sawParked, sawBegin, sawEnd} {
		if fact&same != 0 && s.seen&same != 0 {
			return true
		}
	}
	return false
}

// reborn tells whether e is about another connection than s, on the same tuple,
// and takes s out of the table if so. A cookie is never used twice.
func (t *Table) reborn(s *socket, e *event.Event, to phase) bool {
	if e.Time <= s.since || e.Cookie != 0 {
		return false
	}
	switch {
	case s.phase == ended:
		return to != ended
	case s.phase > live && to == live:
		t.drop(s)
		return true
	}
	return false
}

func (s *socket) remember(e *event.Event) {
	s.raddr = e.Remote.Addr().As16()
	s.lport, s.rport = e.Local.Port(), e.Remote.Port()
}

// begin is when the phase began that e leads to.
func begin(e *event.Event) int64 {
	if e.Kind == event.Snapshot && e.Remaining > 0 {
		return e.Time + min(e.Remaining-timeWaitLen, 0)
	}
	return e.Time
}

// forget deletes the socket of k if it ended.
func (t *Table) forget(k uint64) {
	if s := t.sockets.get(k); s != nil && s.phase == ended {
		t.sockets.remove(k)
	}
}

// move takes s to another phase in every gauge, by e, or by nothing that was seen.
func (t *Table) move(s *socket, g *group, to phase, e *event.Event) {
	for _, c := range []*Counters{&g.Counters, &t.total.Counters} {
		if n := c.alive(s.phase); n != nil {
			*n--
		}
		if n := c.alive(to); n != nil {
			*n++
		}
	}
	at, snapshot := t.now, false
	if e != nil {
		at, snapshot = begin(e), e.Kind == event.Snapshot
		if to == timeWait && e.Stamps == event.Yes {
			s.seen |= stamped
		}
	}
	was := step{s.phase, to, s.since, at, t.now, s.seen&stamped != 0, snapshot}
	t.dests.get(s.dest).shift(was, e)
	t.spaces.of(g.key, t.now).shift(was, e)
	s.phase = to
}

// drop takes a socket that is alive out of the gauges, without an end.
func (t *Table) drop(s *socket) {
	t.move(s, t.groups.get(s.group), ended, nil)
	t.total.Dropped++
}

// settle keeps the balance of begins and ends where they come in the wrong
// order, or contradict each other after a loss.
func (t *Table) settle(s *socket, fact uint16) {
	switch {
	case fact == sawExit && s.seen&sawBegin == 0:
		s.seen |= unmatched
		t.total.Unmatched++
	case fact&sawBegin != 0 && s.seen&unmatched != 0:
		s.seen &^= unmatched
		t.total.Unmatched--
	case fact == sawClose && s.phase == timeWait, fact&sawBegin != 0 && s.phase == ended:
		t.total.Dropped++
	}
}

// count adds what e tells of its connection, once each.
func (t *Table) count(e *event.Event, s *socket, g *group, fact uint16) {
	life := e.Life > 0 && s.seen&sawLife == 0
	closer := e.Closer != event.SideNone && e.Closer <= event.BothSides && s.seen&sawCloser == 0
	ending := fact&(sawOpen|sawSnapshot|sawExit) == 0 && e.Kind != event.Snapshot && s.seen&sawEnding == 0
	over := e.Kind == event.TimeWaitEnter || e.Kind == event.TimeWaitRefused || e.Kind == event.Close
	for _, c := range []*Counters{&g.Counters, &t.total.Counters} {
		switch e.Kind {
		case event.Open:
			c.Opens++
		case event.Parked:
			c.Parks++
		case event.TimeWaitEnter:
			c.Enters++
		case event.Snapshot:
			if fact == sawSnapshot {
				c.Snapshots++
			}
		case event.TimeWaitExit:
			c.Exits[exitSlot(e.Reason)]++
			c.Long.add(e)
		case event.TimeWaitRefused:
			c.Refused++
		case event.Close:
			c.Closes++
		}
		if over {
			c.Ways[min(e.Reason, event.FinWait2Timeout)]++
		}
		if ending {
			c.Ends++
		}
		if life {
			c.Lives++
		}
		if closer {
			c.Closer[e.Closer]++
		}
	}
	if over {
		g.close(e)
	}
	if life {
		g.life.Add(time.Duration(e.Life))
		s.seen |= sawLife
	}
	if closer {
		s.seen |= sawCloser
	}
	if ending || e.Kind == event.Snapshot && fact != sawOpen {
		s.seen |= sawEnding
	}
	if e.Kind == event.TimeWaitRefused {
		t.spaces.of(g.key, t.now).refuse(e)
	}
	if d := t.dests.get(s.dest); d != nil {
		d.last = max(d.last, e.Time)
		if e.Kind == event.Open {
			d.opens++
		}
	}
}
