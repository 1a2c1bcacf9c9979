package conn

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/twtrace/twtrace/internal/event"
)

const (
	second = int64(time.Second)
	t0     = int64(1_800_000_000) * second
)

var (
	nginx    = event.Proc{PID: 990, Comm: "nginx"}
	worker   = event.Proc{PID: 991, Comm: "nginx"}
	checkout = event.Proc{PID: 4242, Comm: "checkout"}
	cron     = event.Proc{PID: 7, Comm: "cron"}

	clientEnd = netip.MustParseAddrPort("10.0.0.7:40001")
	database  = netip.MustParseAddrPort("10.2.0.9:5432")
	webEnd    = netip.MustParseAddrPort("10.0.0.7:443")
	visitor   = netip.MustParseAddrPort("192.0.2.5:51000")
)

// at is an event of a connection of checkout to its database.
func at(sec float64, k event.Kind) event.Event {
	e := event.Event{
		Time: t0 + int64(sec*float64(second)), Kind: k, Cookie: 0x1001, NetNS: 4026531840,
		Role: event.Client, Local: clientEnd, Remote: database, Opener: checkout,
	}
	switch k {
	case event.TimeWaitEnter, event.Parked, event.Close, event.TimeWaitRefused, event.TimeWaitExit:
		e.Closer, e.CloseProc, e.Life = event.LocalSide, checkout, int64(3*time.Millisecond)
	}
	return e
}

// with returns e changed by f.
func with(e event.Event, f func(*event.Event)) event.Event {
	f(&e)
	return e
}

func apply(t *Table, events ...event.Event) {
	for i := range events {
		t.Apply(&events[i])
	}
}

// check fails unless every gauge is what the sockets themselves say, and the sum
// of the groups (and of the destinations) is the total.
func check(tb testing.TB, t *Table) {
	tb.Helper()
	var want Counters
	perGroup := map[uint32]Counters{}
	perDest, closing := map[uint32][ended]uint32{}, map[uint32]uint32{}
	for s := range t.sockets.all {
		if !s.alive() {
			continue
		}
		want.hold(s, 1)
		g := perGroup[s.group]
		g.hold(s, 1)
		perGroup[s.group] = g
		d := perDest[s.dest]
		d[s.phase]++
		if s.seen&closeWait != 0 {
			closing[s.dest]++
		}
		perDest[s.dest] = d
	}
	total := t.Totals()
	gauges := func(c *Counters) [6]uint64 {
		return [6]uint64{c.TimeWait, c.Parked, c.Established, c.CloseWait, c.Bound, c.Guessed}
	}
	if gauges(&want) != gauges(&total.Counters) {
		tb.Fatalf("totals %v, the sockets say %v", gauges(&total.Counters), gauges(&want))
	}
	for id, g := range t.groups.all {
		if g == nil {
			continue
		}
		if c := perGroup[uint32(id)]; gauges(&c) != gauges(&g.Counters) {
			tb.Fatalf("group %d %+v: %v, the sockets say %v", id, g.key, gauges(&g.Counters), gauges(&c))
		}
	}
	for id, d := range t.dests.all {
		if d != nil && (d.alive != perDest[uint32(id)] || d.closeWait != closing[uint32(id)]) {
			tb.Fatalf("destination %d: %v, %d in CLOSE_WAIT, the sockets say %v, %d", id, d.alive, d.closeWait, perDest[uint32(id)], closing[uint32(id)])
		}
	}
	sum := total.Retired
	for _, g := range t.Groups(nil) {
		sum.Add(&g.Counters)
	}
	if sum.Fails.Total() != total.Fails.Total() {
		tb.Fatalf("fails of groups %d, in total %d", sum.Fails.Total(), total.Fails.Total())
	}
	sum.Fails = total.Fails // kinds beyond the fourth fall together differently
	if sum != total.Counters {
		tb.Fatalf("groups and retired\n%+v, in total\n%+v", sum, total.Counters)
	}
	if !balanced(&total) {
		tb.Fatalf("not balanced: %+v", total)
	}
}

// balanced reports whether the starts and ends of TIME_WAIT account for what is alive.
func balanced(v *Totals) bool {
	in := v.Enters + v.Snapshots + v.Unmatched
	out := v.Exit() + v.TimeWait
	return in >= out && in-out <= v.Dropped+v.Untracked
}

func one(tb testing.TB, t *Table) Group {
	tb.Helper()
	gs := t.Groups(nil)
	if len(gs) != 1 {
		tb.Fatalf("%d groups, want 1: %+v", len(gs), gs)
	}
	return gs[0]
}

func TestLife(t *testing.T) {
	expired := with(at(61, event.TimeWaitExit), func(e *event.Event) { e.Reason = event.Expired })
	tests := []struct {
		name   string
		events []event.Event
		want   string
	}{
		{"established", []event.Event{at(0, event.Open)}, "tw 0 parked 0 est 1; opens 1 closes 0 enters 0 exits 0"},
		{"time wait", []event.Event{at(0, event.Open), at(1, event.TimeWaitEnter)}, "tw 1 parked 0 est 0; opens 1 closes 0 enters 1 exits 0"},
		{"parked", []event.Event{at(0, event.Open), at(1, event.Parked)}, "tw 0 parked 1 est 0; opens 1 closes 0 enters 0 exits 0"},
		{"promoted", []event.Event{at(0, event.Open), at(1, event.Parked), at(1, event.TimeWaitEnter)}, "tw 1 parked 0 est 0; opens 1 closes 0 enters 1 exits 0"},
		{"expired", []event.Event{at(0, event.Open), at(1, event.TimeWaitEnter), expired}, "tw 0 parked 0 est 0; opens 1 closes 0 enters 1 exits 1"},
		{"parked, never promoted", []event.Event{at(0, event.Open), at(1, event.Parked), at(61, event.Close)}, "tw 0 parked 0 est 0; opens 1 closes 1 enters 0 exits 0"},
		{"passive close", []event.Event{at(0, event.Open), at(1, event.Close)}, "tw 0 parked 0 est 0; opens 1 closes 1 enters 0 exits 0"},
		{"refused", []event.Event{at(0, event.Open), at(1, event.TimeWaitRefused)}, "tw 0 parked 0 est 0; opens 1 closes 0 enters 0 exits 0"},
		{"open missed", []event.Event{at(1, event.TimeWaitEnter), expired}, "tw 0 parked 0 est 0; opens 0 closes 0 enters 1 exits 1"},
		{"start missed", []event.Event{at(0, event.Open), expired}, "tw 0 parked 0 est 0; opens 1 closes 0 enters 0 exits 1"},
		{"reported twice", []event.Event{at(0, event.Open), at(0, event.Open), at(1, event.TimeWaitEnter), at(1, event.TimeWaitEnter), expired, expired},
			"tw 0 parked 0 est 0; opens 1 closes 0 enters 1 exits 1"},
		{"end before its start", []event.Event{at(0, event.Open), expired, at(1, event.TimeWaitEnter)}, "tw 0 parked 0 est 0; opens 1 closes 0 enters 1 exits 1"},
		{"open after its close", []event.Event{at(1, event.Close), at(0, event.Open)}, "tw 0 parked 0 est 0; opens 1 closes 1 enters 0 exits 0"},
		{"promoted before it is parked", []event.Event{at(1, event.TimeWaitEnter), at(1, event.Parked), at(0, event.Open)}, "tw 1 parked 0 est 0; opens 1 closes 0 enters 1 exits 0"},
		{"snapshot", []event.Event{at(0, event.Snapshot)}, "tw 1 parked 0 est 0; opens 0 closes 0 enters 0 exits 0"},
		{"start that was on its way to a snapshot", []event.Event{at(0, event.Open), at(1, event.Parked), at(3, event.Snapshot), at(2, event.TimeWaitEnter), expired},
			"tw 0 parked 0 est 0; opens 1 closes 0 enters 1 exits 1"},
		{"snapshot of what was traced", []event.Event{at(0, event.TimeWaitEnter), at(1, event.Snapshot)}, "tw 1 parked 0 est 0; opens 0 closes 0 enters 1 exits 0"},
		{"snapshot of a parked one", []event.Event{with(at(0, event.Snapshot), func(e *event.Event) { e.New = event.FinWait2 }), at(2, event.TimeWaitEnter)},
			"tw 1 parked 0 est 0; opens 0 closes 0 enters 1 exits 0"},
		{"snapshot after the end", []event.Event{at(0, event.TimeWaitEnter), expired, at(61, event.Snapshot)}, "tw 0 parked 0 est 0; opens 0 closes 0 enters 1 exits 1"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tab := New(Options{})
			for i := range tt.events {
				tab.Apply(&tt.events[i])
				check(t, tab)
			}
			g := one(t, tab)
			got := fmt.Sprintf("tw %d parked %d est %d; opens %d closes %d enters %d exits %d",
				g.TimeWait, g.Parked, g.Established, g.Opens, g.Closes, g.Enters, g.Exit())
			if got != tt.want {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
		})
	}
}

func TestGroupOfOneConnection(t *testing.T) {
	tab := New(Options{})
	exit := with(at(61.5, event.TimeWaitExit), func(e *event.Event) { e.Reason = event.Expired })
	events := []event.Event{at(0, event.Open), at(0.5, event.Parked), at(1, event.TimeWaitEnter), exit}
	for i := range events {
		tab.Apply(&events[i])
	}
	if got := events[3].InState; got != 60*second+second/2 {
		t.Errorf("length of TIME_WAIT %d ns, want 60.5 s", got)
	}
	if e := events[3]; e.Process != checkout || e.Owner != event.ByConnect {
		t.Errorf("owner %v by %v", e.Process, e.Owner)
	}
	g := one(t, tab)
	if g.Lives != 1 || g.Closer[event.LocalSide] != 1 || g.Exited(event.Expired) != 1 {
		t.Errorf("lives %d, closed here %d, expired %d, want 1 each", g.Lives, g.Closer[event.LocalSide], g.Exited(event.Expired))
	}
	if g.Local != netip.AddrPortFrom(clientEnd.Addr(), 0) || g.Remote != database || g.Role != event.Client {
		t.Errorf("%v %v -> %v", g.Role, g.Local, g.Remote)
	}
	if g.First != t0 || g.Last != exit.Time {
		t.Errorf("seen from %d to %d", g.First-t0, g.Last-t0)
	}
}

func TestNoCookie(t *testing.T) {
	bare := func(sec float64, k event.Kind) event.Event {
		return with(at(sec, k), func(e *event.Event) { e.Cookie = 0 })
	}
	tab := New(Options{})
	apply(tab, bare(0, event.Snapshot))
	check(t, tab)
	// ss -e gave it a cookie in the meantime
	apply(tab, with(at(20, event.TimeWaitExit), func(e *event.Event) { e.Reason = event.Expired }))
	check(t, tab)
	if v := tab.Totals(); v.TimeWait != 0 || v.Unmatched != 0 {
		t.Fatalf("the end was not matched: %+v", v)
	}
	// another connection on the same tuple, twice, the first one's end not seen
	apply(tab, bare(30, event.Open), bare(31, event.TimeWaitEnter), bare(95, event.Open))
	check(t, tab)
	if v := tab.Totals(); v.Established != 1 || v.TimeWait != 0 || v.Dropped != 1 || v.Opens != 2 {
		t.Fatalf("superseded: %+v", v)
	}
	for s := range tab.Sockets() {
		if s.Cookie != 0 || s.Local != clientEnd || s.Remote != database || s.State != event.Established {
			t.Errorf("socket %+v", s)
		}
	}
}

func TestReconcile(t *testing.T) {
	tab := New(Options{})
	for i := range 10 {
		apply(tab, with(at(float64(i), event.TimeWaitEnter), func(e *event.Event) { e.Cookie = uint64(100 + i) }))
	}
	n := tab.Reconcile(time.Unix(0, t0+8*second), func(s Socket) bool { return s.Cookie%2 == 0 })
	if n != 4 { // 101, 103, 105, 107; 109 started after the dump
		t.Errorf("dropped %d, want 4", n)
	}
	check(t, tab)
	if v := tab.Totals(); v.TimeWait != 6 || v.Dropped != 4 {
		t.Errorf("TIME_WAIT %d, dropped %d", v.TimeWait, v.Dropped)
	}
}

func TestLost(t *testing.T) {
	tab := New(Options{})
	apply(tab, event.Event{Kind: event.Lost, Stage: event.StageRing, Count: 5},
		event.Event{Kind: event.Lost, Stage: event.StageRing, Count: 2},
		event.Event{Kind: event.Lost, Stage: 200, Count: 1}) // of a newer version
	if v := tab.Totals(); v.Lost[event.StageRing] != 7 || v.Lost[event.StageNone] != 1 {
		t.Errorf("lost %v", v.Lost)
	}
}

func TestFails(t *testing.T) {
	tab := New(Options{Limits: func(uint32) (Limits, bool) { return Limits{PortLow: 40000, PortHigh: 40000, Usable: 1}, true }})
	apply(tab, with(at(0, event.Open), func(e *event.Event) { e.Cookie = 77 })) // the only port
	fail := func(call event.Call, errno uint16) event.Event {
		return with(at(0, event.Fail), func(e *event.Event) {
			e.Call, e.Errno = call, errno
			e.Local = netip.AddrPortFrom(clientEnd.Addr(), 0)
		})
	}
	apply(tab, fail(event.Connect, 99), fail(event.Connect, 99), fail(event.Connect, 111))
	check(t, tab)
	g := one(t, tab)
	if g.Owner != checkout || g.Fails.Total() != 3 || g.Fails.By[0] != (FailCount{event.Connect, event.NoPort, 99, 2}) {
		t.Errorf("%+v", g)
	}
	d := tab.Destinations(nil)
	if len(d) != 1 || d[0].Exhausted != 2 || d[0].Used() != 1 {
		t.Errorf("destinations %+v", d)
	}
	for errno := range uint16(6) {
		apply(tab, fail(event.Bind, errno))
	}
	check(t, tab)
	if f := one(t, tab).Fails; f.Total() != 9 || f.Other != 4 {
		t.Errorf("%+v", f)
	}
	apply(tab, event.Event{Kind: event.Fail, Time: t0, Call: event.Socket, Errno: 24, Process: cron})
	check(t, tab)
}
