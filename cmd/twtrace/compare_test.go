package main

import (
	"encoding/binary"
	"net/netip"
	"testing"
	"time"

	"github.com/twtrace/twtrace/internal/conn"
	"github.com/twtrace/twtrace/internal/event"
	"github.com/twtrace/twtrace/internal/kernel"
)

const testNetNS = 4026531840

// idleSession is a session with a table and no tracer.
func idleSession() *session {
	return &session{table: conn.New(conn.Options{}), wanted: func(*event.Event) bool { return true },
		adopted:   make(map[uint64]struct{}),
		reconcile: reconciler{known: map[uint32]bool{testNetNS: true}, ended: newIdentities()}}
}

// testAddr gives each cookie ports of its own.
func testAddr(cookie uint64) netip.AddrPort {
	var a [4]byte
	binary.BigEndian.PutUint32(a[:], 10<<24|uint32(cookie>>14))
	return netip.AddrPortFrom(netip.AddrFrom4(a), 32768+uint16(cookie&(1<<14-1)))
}

var testServer = netip.MustParseAddrPort("10.9.9.9:443")

func (s *session) tell(kind event.Kind, cookie uint64, at time.Time) {
	e := event.Event{Time: at.UnixNano(), Kind: kind, Cookie: cookie, NetNS: testNetNS,
		Local: testAddr(cookie), Remote: testServer}
	s.witness(&e)
	s.table.Apply(&e)
}

// shown is a socket in a dump; full sockets have no timer.
func shown(cookie uint64, state event.State, timer uint8) sighting {
	return sighting{testNetNS, kernel.Socket{State: state, Timer: timer, Cookie: cookie,
		Local: testAddr(cookie), Remote: testServer, Expires: 30 * time.Second}}
}

func lookAt(begin time.Time, sockets ...sighting) *look {
	return &look{begin: begin, end: begin.Add(time.Millisecond), sockets: sockets,
		listed: map[uint32]string{testNetNS: ""}, whole: map[uint32]bool{testNetNS: true}}
}

// TestCompareWithDump has each way in which a table and a dump can differ: repaired
// only where no event that is still to come, or came during the dump, explains it.
func TestCompareWithDump(t *testing.T) {
	begin := time.Unix(1000, 0)
	before, during := begin.Add(-time.Second), begin.Add(time.Millisecond)
	tw := func(cookie uint64) sighting { return shown(cookie, event.TimeWait, kernel.TimerTimeWait) }
	tests := []struct {
		name           string
		before, during func(s *session)
		dump           []sighting
		added, removed int
		records        int
		state          event.State // of socket 1 in the end
	}{
		{name: "the same", before: func(s *session) { s.tell(event.TimeWaitEnter, 1, before) },
			dump: []sighting{tw(1)}, state: event.TimeWait},
		{name: "the end was lost", before: func(s *session) { s.tell(event.TimeWaitEnter, 1, before) },
			removed: 1},
		{name: "the begin was lost", dump: []sighting{tw(1)},
			added: 1, records: 1, state: event.TimeWait},
		{name: "born behind the dump", during: func(s *session) { s.tell(event.TimeWaitEnter, 1, during) },
			state: event.TimeWait},
		{name: "ended after it was shown", before: func(s *session) { s.tell(event.TimeWaitEnter, 1, before) },
			during: func(s *session) { s.tell(event.TimeWaitExit, 1, during) }, dump: []sighting{tw(1)}},
		{name: "born and ended meanwhile", during: func(s *session) {
			s.tell(event.TimeWaitEnter, 1, during)
			s.tell(event.TimeWaitExit, 1, during)
		}, dump: []sighting{tw(1)}},
		{name: "begin lost, end seen after it was shown", during: func(s *session) { s.tell(event.TimeWaitExit, 1, during) },
			dump: []sighting{tw(1)}},
		{name: "parking and promotion were lost", before: func(s *session) { s.tell(event.Open, 1, before) },
			dump: []sighting{tw(1)}, added: 1, records: 1, state: event.TimeWait},
		{name: "parking was lost", before: func(s *session) { s.tell(event.Open, 1, before) },
			dump:  []sighting{shown(1, event.FinWait2, kernel.TimerTimeWait)},
			added: 1, state: event.FinWait2},
		{name: "promoted after it was shown", before: func(s *session) { s.tell(event.Parked, 1, before) },
			during: func(s *session) { s.tell(event.TimeWaitEnter, 1, during) },
			dump:   []sighting{shown(1, event.FinWait2, kernel.TimerTimeWait)}, state: event.TimeWait},
		{name: "closing as a full socket", before: func(s *session) { s.tell(event.Open, 1, before) },
			dump: []sighting{shown(1, event.FinWait2, kernel.TimerNone)}, state: event.Established},
		{name: "the close was lost", before: func(s *session) { s.tell(event.Open, 1, before) }, removed: 1},
		{name: "the opening was lost", dump: []sighting{shown(1, event.Established, kernel.TimerNone)},
			added: 1, state: event.Established},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			s := idleSession()
			if test.before != nil {
				test.before(s)
			}
			s.reconcile.dumping = true
			if test.during != nil {
				test.during(s)
			}
			l := lookAt(begin, test.dump...)
			records := 0
			removed := s.removeGone(l, l.identities())
			added, err := s.addMissing(l, func(*event.Event) error { records++; return nil })
			if err != nil {
				t.Fatal(err)
			}
			if added != test.added || removed != test.removed || records != test.records {
				t.Errorf("%d added, %d removed, %d records; want %d, %d, %d",
					added, removed, records, test.added, test.removed, test.records)
			}
			one := shown(1, event.TimeWait, 0)
			e := one.event(during)
			if state, _ := s.table.Held(&e); state != test.state {
				t.Errorf("the socket is in %v, want %v", state, test.state)
			}
			// A second look at the same finds nothing.
			l = lookAt(begin.Add(time.Hour), test.dump...)
			removed = s.removeGone(l, l.identities())
			if test.state != event.StateNone && len(test.dump) > 0 && removed != 0 {
				t.Errorf("%d removed by a second look", removed)
			}
		})
	}
}

// TestCompareUnreadable leaves the sockets of a namespace alone that could not be
// read, and after losses takes out those of one that is gone.
func TestCompareUnreadable(t *testing.T) {
	begin := time.Unix(1000, 0)
	s := idleSession()
	s.tell(event.TimeWaitEnter, 1, begin.Add(-time.Second))
	unread := lookAt(begin)
	unread.whole[testNetNS] = false
	if n := s.removeGone(unread, unread.identities()); n != 0 {
		t.Errorf("%d removed from a namespace that was not read", n)
	}
	gone := &look{begin: begin, end: begin}
	for i := range 4 {
		if n := s.removeGone(gone, gone.identities()); n != 0 {
			t.Errorf("look %d: %d removed with nothing lost", i, n)
		}
	}
	s.reconcile.absent = nil
	s.reconcile.lostSome()
	for i, want := range []int{0, 0, 1, 0} {
		if n := s.removeGone(gone, gone.identities()); n != want {
			t.Errorf("look %d after a loss: %d removed, want %d", i, n, want)
		}
	}
}

// BenchmarkCompare is how long the consumer is kept from reading by a comparison of
// 131,072 sockets that are the same.
func BenchmarkCompare(b *testing.B) {
	const sockets = 131072
	begin := time.Unix(1000, 0)
	s := idleSession()
	l := lookAt(begin)
	for cookie := uint64(1); cookie <= sockets; cookie++ {
		s.tell(event.TimeWaitEnter, cookie, begin.Add(-time.Second))
		l.sockets = append(l.sockets, shown(cookie, event.TimeWait, kernel.TimerTimeWait))
	}
	ids := l.identities()
	b.ResetTimer()
	for range b.N {
		removed := s.removeGone(l, ids)
		added, err := s.addMissing(l, ignore)
		if removed != 0 || added != 0 || err != nil {
			b.Fatal(removed, added, err)
		}
	}
}
