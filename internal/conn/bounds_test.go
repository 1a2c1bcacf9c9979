package conn

import (
	"fmt"
	"net/netip"
	"runtime"
	"testing"

	"github.com/twtrace/twtrace/internal/event"
)

func TestDestinations(t *testing.T) {
	limits := func(ns uint32) (Limits, bool) {
		if ns == 2 {
			return Limits{PortLow: 40000, PortHigh: 40009, Usable: 10, MaxTW: 1000}, true
		}
		return Limits{PortLow: 32768, PortHigh: 60999, Usable: 28232, MaxTW: 262144}, ns == 1
	}
	tab := New(Options{Limits: limits})
	cookie := uint64(0)
	fill := func(ns uint32, remote string, n int, k event.Kind) {
		for i := range n {
			cookie++
			apply(tab, with(at(0, k), func(e *event.Event) {
				e.Cookie, e.NetNS, e.Remote = cookie, ns, netip.MustParseAddrPort(remote)
				e.Local = netip.AddrPortFrom(clientEnd.Addr(), uint16(40000+i))
			}))
		}
	}
	fill(1, "10.2.0.9:5432", 100, event.TimeWaitEnter)
	fill(1, "10.2.0.9:5433", 7, event.Open)
	fill(2, "10.2.0.9:5432", 4, event.TimeWaitEnter)
	fill(2, "10.2.0.9:5432", 1, event.Parked)
	fill(3, "10.2.0.9:5432", 200, event.Open) // limits unknown
	check(t, tab)
	var got string
	for _, d := range tab.Destinations(nil) {
		got += fmt.Sprintf("%d %v %v: %d+%d+%d of %d = %.4f\n", d.NetNS, d.Local, d.Remote, d.TimeWait, d.Parked, d.Established, d.Usable, d.Share())
	}
	want := "2 10.0.0.7 10.2.0.9:5432: 4+1+0 of 10 = 0.5000\n" +
		"1 10.0.0.7 10.2.0.9:5432: 100+0+0 of 28232 = 0.0035\n" +
		"1 10.0.0.7 10.2.0.9:5433: 0+0+7 of 28232 = 0.0002\n" +
		"3 10.0.0.7 10.2.0.9:5432: 0+0+200 of 0 = 0.0000\n"
	if got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
}

// A swarm of short-lived processes of one comm becomes one row, and the row goes
// on when the first processes' own rows are gone.
func TestSwarm(t *testing.T) {
	tab := New(Options{MaxPIDs: 4})
	conn := func(i int, sec float64, k event.Kind) {
		apply(tab, with(at(sec, k), func(e *event.Event) {
			e.Cookie, e.Opener = uint64(1+i), event.Proc{PID: uint32(1000 + i), Comm: "curl"}
		}))
	}
	for i := range 1000 {
		conn(i, 0, event.Open)
		conn(i, 0.001, event.TimeWaitEnter)
	}
	check(t, tab)
	if gs := tab.Groups(nil); len(gs) != 5 {
		t.Fatalf("%d groups, want 4 and that of many", len(gs))
	} else if c := gs[4]; c.Kind != GroupComm || c.Owner != (event.Proc{Comm: "curl"}) || c.TimeWait != 996 || c.PIDs != 1000 || c.About {
		t.Errorf("the group of many: kind %d %v, %d in TIME_WAIT, %d processes", c.Kind, c.Owner, c.TimeWait, c.PIDs)
	}
	for i := range 1000 {
		conn(i, 60, event.TimeWaitExit)
	}
	conn(1000, 150, event.Open)
	tab.Sweep(t0 + 181*second)
	check(t, tab)
	if g := one(t, tab); g.Kind != GroupComm || g.Opens != 997 {
		t.Errorf("after the swarm: %+v", g)
	}
	if v := tab.Totals(); v.GroupsIdle != 4 || v.Retired.Opens != 4 {
		t.Errorf("%d idle groups with %d opens", v.GroupsIdle, v.Retired.Opens)
	}
}

func TestCaps(t *testing.T) {
	tab := New(Options{MaxSockets: 50, MaxGroups: 10, MaxDestinations: 8, MaxPIDs: 1000})
	conn := func(i int, sec float64, k event.Kind) {
		apply(tab, with(at(sec, k), func(e *event.Event) {
			e.Cookie = uint64(1 + i)
			e.Remote = netip.AddrPortFrom(database.Addr(), uint16(i+1))
		}))
		check(t, tab)
	}
	for i := range 60 {
		conn(i, 0, event.Open)
	}
	v := tab.Totals()
	if v.Established != 50 || v.Untracked != 10 || v.Groups != 10 || v.Destinations != 6 || v.GroupsRefused != 50 || v.DestinationsRefused != 54 {
		t.Errorf("full: %+v", v)
	}
	if gs := tab.Groups(nil); len(gs) != 11 || gs[0].Kind != GroupOther || gs[0].Established != 40 || gs[0].Opens != 50 {
		t.Errorf("the rest: %+v", gs[0])
	}
	for i := range 60 {
		conn(i, 1, event.Close)
	}
	tab.Sweep(t0 + 200*second)
	check(t, tab)
	if v := tab.Totals(); v.Alive() != 0 || v.Groups != 0 || v.Destinations != 0 || v.Closes != 60 {
		t.Errorf("empty: %+v", v)
	}
	for i := range maxListeners + 5 {
		apply(tab, event.Event{Kind: event.Listen, NetNS: uint32(i), Local: webEnd, Process: nginx})
	}
	if v := tab.Totals(); v.ListenersRefused != 5 {
		t.Errorf("%d listeners refused, want 5", v.ListenersRefused)
	}
}

// storm calls f for n sockets of a few owners; each event is whole, as from the tracer.
func storm(n int, f func(i int, e *event.Event)) {
	var e event.Event
	for i := range n {
		e = event.Event{
			NetNS: 4026531840, Cookie: uint64(i) + 1, Role: event.Client, Opener: checkout, Time: t0 + int64(i),
			Local:  netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 0, byte(i >> 15)}), uint16(32768+i%28000)),
			Remote: database,
		}
		f(i, &e)
	}
}

func TestMemory(t *testing.T) {
	heap := func() uint64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before := heap()
	tab := New(Options{})
	storm(362_144, func(i int, e *event.Event) {
		e.Kind = event.Open
		tab.Apply(e)
		if i < 262_144 {
			e.Kind, e.Life = event.TimeWaitEnter, second/1000
			tab.Apply(e)
		}
	})
	full := heap() - before
	t.Logf("262,144 in TIME_WAIT and 100,000 live: %.1f MiB, %d bytes a socket", float64(full)/(1<<20), full/362_144)
	if full > 48<<20 {
		t.Errorf("%d bytes, want well under 64 MiB", full)
	}
	// Churn at the same size must not grow it.
	storm(1_500_000, func(i int, e *event.Event) {
		e.Cookie += 1_000_000
		e.Kind = event.Open
		tab.Apply(e)
		e.Kind = event.TimeWaitExit
		e.Cookie = uint64(i) + 1 // the oldest goes
		if i >= 262_144 {
			e.Kind = event.Close
			e.Cookie = uint64(i-262_144) + 1_000_001
		}
		tab.Apply(e)
	})
	churned := heap() - before
	t.Logf("after 1,500,000 more: %.1f MiB, %d alive", float64(churned)/(1<<20), tab.total.Alive())
	if churned > 48<<20 {
		t.Errorf("%d bytes after churn, want well under 64 MiB", churned)
	}
	check(t, tab)
	runtime.KeepAlive(tab)
}

func TestSteadyStateDoesNotAllocate(t *testing.T) {
	tab := New(Options{})
	i := 0
	round := func() {
		i++
		e := at(float64(i)/1000, event.Open)
		e.Cookie = uint64(i)
		for _, k := range []event.Kind{event.Open, event.Parked, event.TimeWaitEnter, event.TimeWaitExit} {
			e.Kind = k
			tab.Apply(&e)
		}
	}
	for range 10_000 {
		round()
	}
	if n := testing.AllocsPerRun(20_000, round); n != 0 {
		t.Errorf("%v allocations for 4 events, want 0", n)
	}
}
