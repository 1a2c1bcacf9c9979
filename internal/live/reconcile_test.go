package live

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/twtrace/twtrace/internal/conn"
	"github.com/twtrace/twtrace/internal/event"
	"github.com/twtrace/twtrace/internal/kernel"
)

const testNetNS = 4026531840

// idleTrace is a trace with a table and no tracer.
func idleTrace() *Trace {
	return &Trace{table: conn.New(conn.Options{}), wanted: func(*event.Event) bool { return true },
		began: time.Unix(900, 0), adopted: make(map[uint64]struct{}),
		reconcile: reconciler{known: map[uint32]bool{testNetNS: true}, ended: newIdentities()}}
}

// testAddr gives each cookie ports of its own.
func testAddr(cookie uint64) netip.AddrPort {
	var a [4]byte
	binary.BigEndian.PutUint32(a[:], 10<<24|uint32(cookie>>14))
	return netip.AddrPortFrom(netip.AddrFrom4(a), 32768+uint16(cookie&(1<<14-1)))
}

var testServer = netip.MustParseAddrPort("10.9.9.9:443")

func (t *Trace) apply(kind event.Kind, cookie uint64, at time.Time) {
	e := event.Event{Time: at.UnixNano(), Kind: kind, Cookie: cookie, NetNS: testNetNS,
		Local: testAddr(cookie), Remote: testServer}
	t.witness(&e)
	t.table.Apply(&e)
}

// shown is a socket in a dump; full sockets have no timer.
func shown(cookie uint64, state event.State, timer uint8) sighting {
	return sighting{testNetNS, kernel.Socket{State: state, Timer: timer, Cookie: cookie,
		Local: testAddr(cookie), Remote: testServer, Expires: 30 * time.Second}}
}

func dumpAt(begin time.Time, sockets ...sighting) *dump {
	d := &dump{begin: begin, end: begin.Add(time.Millisecond), sockets: sockets,
		listed: map[uint32]string{testNetNS: ""}, whole: map[uint32]bool{testNetNS: true}}
	d.shown = d.identities()
	return d
}

// TestCompareWithDump has each way in which a table and a dump can differ: repaired
// only where no event that came during the dump explains it; at once after a loss, and
// else when the next dump shows the same.
func TestCompareWithDump(t *testing.T) {
	begin := time.Unix(1000, 0)
	before, during := begin.Add(-time.Second), begin.Add(time.Millisecond)
	tw := func(cookie uint64) sighting { return shown(cookie, event.TimeWait, kernel.TimerTimeWait) }
	tests := []struct {
		name           string
		before, during func(s *Trace)
		dump           []sighting
		added, removed int
		records        int
		state          event.State // of socket 1 in the end
	}{
		{name: "the same", before: func(s *Trace) { s.apply(event.TimeWaitEnter, 1, before) },
			dump: []sighting{tw(1)}, state: event.TimeWait},
		{name: "the end was lost", before: func(s *Trace) { s.apply(event.TimeWaitEnter, 1, before) },
			removed: 1},
		{name: "the start was lost", dump: []sighting{tw(1)},
			added: 1, records: 1, state: event.TimeWait},
		{name: "born behind the dump", during: func(s *Trace) { s.apply(event.TimeWaitEnter, 1, during) },
			state: event.TimeWait},
		{name: "ended after it was shown", before: func(s *Trace) { s.apply(event.TimeWaitEnter, 1, before) },
			during: func(s *Trace) { s.apply(event.TimeWaitExit, 1, during) }, dump: []sighting{tw(1)}},
		{name: "born and ended meanwhile", during: func(s *Trace) {
			s.apply(event.TimeWaitEnter, 1, during)
			s.apply(event.TimeWaitExit, 1, during)
		}, dump: []sighting{tw(1)}},
		{name: "start lost, end seen after it was shown", during: func(s *Trace) { s.apply(event.TimeWaitExit, 1, during) },
			dump: []sighting{tw(1)}},
		{name: "parking and promotion were lost", before: func(s *Trace) { s.apply(event.Open, 1, before) },
			dump: []sighting{tw(1)}, added: 1, records: 1, state: event.TimeWait},
		{name: "parking was lost", before: func(s *Trace) { s.apply(event.Open, 1, before) },
			dump:  []sighting{shown(1, event.FinWait2, kernel.TimerTimeWait)},
			added: 1, state: event.FinWait2},
		{name: "promoted after it was shown", before: func(s *Trace) { s.apply(event.Parked, 1, before) },
			during: func(s *Trace) { s.apply(event.TimeWaitEnter, 1, during) },
			dump:   []sighting{shown(1, event.FinWait2, kernel.TimerTimeWait)}, state: event.TimeWait},
		{name: "closing as a full socket", before: func(s *Trace) { s.apply(event.Open, 1, before) },
			dump: []sighting{shown(1, event.FinWait2, kernel.TimerNone)}, state: event.Established},
		{name: "the close was lost", before: func(s *Trace) { s.apply(event.Open, 1, before) }, removed: 1},
		{name: "the opening was lost", dump: []sighting{shown(1, event.Established, kernel.TimerNone)},
			added: 1, state: event.Established},
	}
	for _, test := range tests {
		for _, lost := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s, loss %v", test.name, lost), func(t *testing.T) {
				s := idleTrace()
				s.reconcile.explains = lost
				if test.before != nil {
					test.before(s)
				}
				s.reconcile.dumping = true
				if test.during != nil {
					test.during(s)
				}
				records := 0
				compare := func(l *dump) (removed, added int) {
					t.Helper()
					removed, added, err := s.repair(l, func(*event.Event) error { records++; return nil })
					must(t, err)
					return removed, added
				}
				removed, added := compare(dumpAt(begin, test.dump...))
				if doubt := test.added+test.removed > 0 && !lost; doubt {
					if added+removed+records != 0 || !s.reconcile.doubts.some() {
						t.Errorf("%d added, %d removed, %d records at the first sight", added, removed, records)
					}
					removed, added = compare(dumpAt(begin.Add(time.Second), test.dump...))
				}
				if added != test.added || removed != test.removed || records != test.records {
					t.Errorf("%d added, %d removed, %d records; want %d, %d, %d",
						added, removed, records, test.added, test.removed, test.records)
				}
				one := shown(1, event.TimeWait, 0)
				e := one.event(during)
				if state := s.table.Held(&e); state != test.state {
					t.Errorf("the socket is in %v, want %v", state, test.state)
				}
				// Another dump at the same finds nothing.
				removed, _ = compare(dumpAt(begin.Add(time.Hour), test.dump...))
				if test.state != event.StateNone && len(test.dump) > 0 && removed != 0 {
					t.Errorf("%d removed by another dump", removed)
				}
			})
		}
	}
}

// TestOnItsWay has the kernel show what happened before the event of it is read, as
// where a CPU stands still between the two: nothing is repaired, nothing is a record,
// and the event counts.
func TestOnItsWay(t *testing.T) {
	begin := time.Unix(1000, 0)
	before, after := begin.Add(-time.Second), begin.Add(-time.Microsecond)
	tw := shown(1, event.TimeWait, kernel.TimerTimeWait)
	for _, test := range []struct {
		name   string
		before event.Kind // that the table knows
		late   event.Kind // that is read after the comparison
		dump   []sighting
		want   conn.Counters
	}{
		{"a promotion", event.Parked, event.TimeWaitEnter, []sighting{tw}, conn.Counters{Parks: 1, Enters: 1, TimeWait: 1, Ends: 1}},
		{"a birth", event.Open, event.TimeWaitEnter, []sighting{tw}, conn.Counters{Opens: 1, Enters: 1, TimeWait: 1, Ends: 1}},
		{"an end", event.TimeWaitEnter, event.TimeWaitExit, nil, conn.Counters{Enters: 1, Ends: 1}},
		{"a close", event.Open, event.Close, nil, conn.Counters{Opens: 1, Closes: 1, Ends: 1}},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := idleTrace()
			s.apply(test.before, 1, before)
			found := func(e *event.Event) error { t.Errorf("a record: %+v", e); return nil }
			compare := func(d *dump) {
				t.Helper()
				if removed, added, err := s.repair(d, found); removed+added != 0 || err != nil {
					t.Errorf("%d removed, %d added, %v", removed, added, err)
				}
			}
			compare(dumpAt(begin, test.dump...))
			if !s.reconcile.doubts.some() {
				t.Error("there is no doubt")
			}
			s.apply(test.late, 1, after)
			compare(dumpAt(begin.Add(repairEvery), test.dump...))
			if s.reconcile.doubts.some() {
				t.Errorf("it is still in doubt: %+v", s.reconcile.doubts)
			}
			got := s.table.Totals().Counters
			got.Ways, got.Exits = test.want.Ways, test.want.Exits
			if got != test.want || s.table.Totals().Dropped != 0 {
				t.Errorf("the table has %+v, want %+v", got, test.want)
			}
		})
	}
}

// TestDoubtsAreNotTheSame: a socket that is missed in one state and then in another one
// is on its way still.
func TestDoubtsAreNotTheSame(t *testing.T) {
	begin := time.Unix(1000, 0)
	s := idleTrace()
	for i, state := range []event.State{event.FinWait2, event.TimeWait} {
		_, added, err := s.repair(dumpAt(begin.Add(time.Duration(i)*repairEvery), shown(1, state, kernel.TimerTimeWait)), ignore)
		if added != 0 || err != nil {
			t.Errorf("in %v: %d added, %v", state, added, err)
		}
	}
	if _, added, _ := s.repair(dumpAt(begin.Add(time.Minute), shown(1, event.TimeWait, kernel.TimerTimeWait)), ignore); added != 1 {
		t.Errorf("%d added at last", added)
	}
}

// TestDoubtIsDueSoon has the next dump after a doubt come before its turn.
func TestDoubtIsDueSoon(t *testing.T) {
	now := time.Now()
	s := idleTrace()
	r := &s.reconcile
	r.begun, r.due = now, now.Add(reconcileEvery)
	_, _, err := s.repair(dumpAt(now), ignore)
	if must(t, err); !r.due.Equal(now.Add(reconcileEvery)) {
		t.Errorf("without a doubt, due in %v", r.due.Sub(now))
	}
	_, _, err = s.repair(dumpAt(now, shown(1, event.TimeWait, kernel.TimerTimeWait)), ignore)
	if must(t, err); !r.due.Equal(now.Add(repairEvery)) {
		t.Errorf("with a doubt, due in %v", r.due.Sub(now))
	}
}

// TestCompareUnreadable leaves the sockets of a namespace alone that could not be
// read, and after losses takes out those of one that is gone.
func TestCompareUnreadable(t *testing.T) {
	begin := time.Unix(1000, 0)
	s := idleTrace()
	s.apply(event.TimeWaitEnter, 1, begin.Add(-time.Second))
	unread := dumpAt(begin)
	unread.whole[testNetNS] = false
	if n := s.removeGone(unread, &doubts{}); n != 0 {
		t.Errorf("%d removed from a namespace that was not read", n)
	}
	gone := &dump{begin: begin, end: begin}
	for i := range 4 {
		if n := s.removeGone(gone, &doubts{}); n != 0 {
			t.Errorf("dump %d: %d removed with nothing lost", i, n)
		}
	}
	s.reconcile.absent = nil
	s.reconcile.lostSome()
	for i, want := range []int{0, 0, 1, 0} {
		if n := s.removeGone(gone, &doubts{}); n != want {
			t.Errorf("dump %d after a loss: %d removed, want %d", i, n, want)
		}
	}
}

// BenchmarkCompare is how long the consumer is kept from reading by a comparison of
// 131,072 sockets that are the same.
func BenchmarkCompare(b *testing.B) {
	const sockets = 131072
	begin := time.Unix(1000, 0)
	s := idleTrace()
	l := dumpAt(begin)
	for cookie := uint64(1); cookie <= sockets; cookie++ {
		s.apply(event.TimeWaitEnter, cookie, begin.Add(-time.Second))
		l.sockets = append(l.sockets, shown(cookie, event.TimeWait, kernel.TimerTimeWait))
	}
	l.shown = l.identities()
	b.ResetTimer()
	for range b.N {
		removed, added, err := s.repair(l, ignore)
		if removed != 0 || added != 0 || err != nil {
			b.Fatal(removed, added, err)
		}
	}
}
