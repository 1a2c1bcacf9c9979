package conn

import (
	"time"

	"github.com/twtrace/twtrace/internal/event"
)

// phase is how far a connection has come. It never goes back.
type phase uint8

const (
	unborn phase = iota
	live
	parked
	timeWait
	ended
)

// What the table has counted for a connection already.
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
	unmatched // ended, and its start has not come yet
	stamped   // in TIME_WAIT, and its peer has timestamps
	bound     // its port was bound before connect()
	pinned    // its port is taken for all destinations, and counts so
	guessed   // its role is only what its ports imply
	takenIn   // the kernel has said by which listener
	closeWait // in CLOSE_WAIT at the last poll; see SetCloseWait

	sawStart = sawEnter | sawSnapshot
	sawEnd   = sawExit | sawClose
)

// socket is one connection as the table holds it. Its group has its local address
// and, for a client, its owner and remote end.
type socket struct {
	key   uint64   // see Table.key
	since int64    // when it entered its phase; after a snapshot, when it must have
	raddr [16]byte // remote address; IPv4 in its mapped form
	group uint32
	dest  uint32 // 0 if this is no client
	lport uint16
	rport uint16
	seen  uint16
	phase phase
	owner event.OwnerFrom
}

func (s *socket) alive() bool { return s.phase > unborn && s.phase < ended }

// transition is the phase that an event takes a connection to, and which fact it is.
func transition(e *event.Event) (to phase, fact uint16) {
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
	to, fact := transition(e)
	s := t.sockets.get(k)
	if s != nil && k&tupleKey != 0 && t.reborn(s, e, to) {
		t.sockets.remove(k)
		s = nil
	}
	known := s != nil
	if !known {
		s = new(socket) // on the stack
		if e.Role == event.RoleNone {
			s.seen = guessed
		}
	}
	t.complete(e, s)
	if s.counted(fact) && !(fact == sawEnter && t.takeBack(s)) {
		t.total.Duplicates++
		return
	}
	g := t.place(e, s)
	t.count(e, s, g, fact)
	t.settle(s, fact)
	s.seen |= fact
	if e.Listener.IsValid() {
		s.seen |= takenIn
	}
	if to <= s.phase { // late: it counts, and changes nothing
		return
	}
	if !known && to != ended && t.total.Alive() >= uint64(t.opt.MaxSockets) {
		t.total.Untracked++
		return
	}
	if !known {
		s.remember(e)
	}
	t.move(s, g, to, e)
	s.since = startOf(e)
	if !known {
		s.key = k
		t.sockets.put(*s)
	}
	if to == ended {
		t.forget(t.ended.push(k))
	}
}

// takeBack forgets the snapshot of a socket whose start has come after all: it was on
// its way when a dump showed the socket, and it is the start that counts. It reports
// whether there was a snapshot to forget: its group may be another one since.
func (t *Table) takeBack(s *socket) bool {
	if s.phase != timeWait || s.seen&sawStart != sawSnapshot {
		return false
	}
	g := t.groups.get(s.group)
	if g.Snapshots == 0 {
		return false
	}
	g.Snapshots--
	t.total.Snapshots--
	s.seen &^= sawSnapshot
	if s.seen&sawParked == 0 {
		s.seen &^= sawEnding
	}
	return true
}

// counted reports whether the table has counted the same fact before.
func (s *socket) counted(fact uint16) bool {
	for _, same := range [...]uint16{sawOpen, sawParked, sawStart, sawEnd} {
		if fact&same != 0 && s.seen&same != 0 {
			return true
		}
	}
	return false
}

// reborn reports whether e is about another connection than s, on the same tuple,
// and takes s out of the gauges if it is alive. A cookie is never used twice.
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

// startOf is when the phase started that e leads to.
func startOf(e *event.Event) int64 {
	if e.Kind == event.Snapshot && e.Remaining > 0 {
		return e.Time + min(e.Remaining-int64(event.TimeWaitLen), 0)
	}
	return e.Time
}

// forget deletes the socket of k if it ended.
func (t *Table) forget(k uint64) {
	if s := t.sockets.get(k); s != nil && s.phase == ended {
		t.sockets.remove(k)
	}
}

// move takes s to another phase in every gauge; e is the reason, nil if there is no
// event.
func (t *Table) move(s *socket, g *group, to phase, e *event.Event) {
	from := s.phase
	for _, c := range []*Counters{&g.Counters, &t.total.Counters} {
		s.phase = from
		c.hold(s, -1)
		s.phase = to
		c.hold(s, 1)
	}
	if from == live && to != live {
		t.leaveCloseWait(s)
	}
	at, snapshot := t.now, false
	if e != nil {
		at, snapshot = startOf(e), e.Kind == event.Snapshot
		if to == timeWait && e.Stamps == event.Yes {
			s.seen |= stamped
		}
	}
	was := step{from, to, s.since, at, t.now, s.seen&stamped != 0, snapshot}
	t.dests.get(s.dest).shift(was, e)
	t.netns.of(g.key, t.now).shift(was)
	if g.pool == nil && g.key.role == event.Client && g.Opens >= poolOpens {
		g.pool = newPool(g.Open(), t.now)
	} else if g.pool != nil {
		g.pool.shift(was, g.Open(), e)
	}
	t.pinSocket(s, g, from, to, e)
}

// drop takes a socket that is alive out of the gauges, without an end.
func (t *Table) drop(s *socket) {
	t.move(s, t.groups.get(s.group), ended, nil)
	t.total.Dropped++
}

// settle keeps the balance of starts and ends where they come in the wrong order,
// or contradict each other after a loss.
func (t *Table) settle(s *socket, fact uint16) {
	switch {
	case fact == sawExit && s.seen&sawStart == 0:
		s.seen |= unmatched
		t.total.Unmatched++
	case fact&sawStart != 0 && s.seen&unmatched != 0:
		s.seen &^= unmatched
		t.total.Unmatched--
	case fact == sawClose && s.phase == timeWait, fact&sawStart != 0 && s.phase == ended:
		t.total.Dropped++
	}
}

// count counts each fact that e reports about its connection, once.
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
			if time.Duration(e.Life) <= ShortLife {
				c.Short++
			}
		}
		if closer {
			c.Closer[e.Closer]++
		}
	}
	if over {
		g.close(e)
		t.countReset(e, g)
	}
	if life {
		g.life.Add(time.Duration(e.Life))
		t.timings.lived(e, g.key.role)
		s.seen |= sawLife
	}
	if closer {
		s.seen |= sawCloser
	}
	if ending || e.Kind == event.Snapshot && fact != sawOpen {
		s.seen |= sawEnding
	}
	if e.Kind == event.TimeWaitExit {
		t.timings.waited(e)
	}
	if e.Kind == event.TimeWaitRefused {
		t.netns.of(g.key, t.now).refuse(e)
	}
	if d := t.dests.get(s.dest); d != nil {
		d.last = max(d.last, e.Time)
		if e.Kind == event.Open {
			d.opens++
		}
	}
}
