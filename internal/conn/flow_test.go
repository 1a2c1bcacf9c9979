package conn

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/twtrace/twtrace/internal/event"
)

// A flow has the rates of the last seconds, the age of every TIME_WAIT, and who
// opens most.
func TestFlow(t *testing.T) {
	tab := New(Options{})
	var cookie uint64
	open := func(sec float64, n int, p event.Proc) (first uint64) {
		first = cookie + 1
		for range n {
			cookie++
			apply(tab, with(at(sec, event.Open), func(e *event.Event) { e.Cookie, e.Opener = cookie, p }))
		}
		return first
	}
	end := func(sec float64, first uint64, n int, k event.Kind, stamps event.Tri) {
		for c := first; c < first+uint64(n); c++ {
			apply(tab, with(at(sec, k), func(e *event.Event) { e.Cookie, e.Stamps = c, stamps }))
		}
	}
	big, small := event.Proc{PID: 7, Comm: "big"}, event.Proc{PID: 8, Comm: "small"}
	a := open(0, 100, big)
	end(0.5, a, 60, event.TimeWaitEnter, event.Yes)
	b := open(1, 20, small)
	end(2.5, a+60, 10, event.TimeWaitEnter, event.No)
	end(3, b, 20, event.Close, event.Unknown)
	end(4, a, 5, event.TimeWaitExit, event.Yes)
	tab.now = t0 + 4*second

	d := tab.Destinations(nil)
	if len(d) != 1 || d[0].Flow == nil {
		t.Fatalf("destinations %+v", d)
	}
	f := d[0].Flow
	if f.Known != 4*time.Second || f.Stamped[4] != 55 || f.Age[2] != 10 {
		t.Errorf("known for %v; 4 s old with timestamps %d, 2 s old without %d", f.Known, f.Stamped[4], f.Age[2])
	}
	if want := (PerSecond{Opens: 30, Enters: 17.5, Frees: 5, Exits: 1.25}); f.Long != want {
		t.Errorf("rates %+v, want %+v", f.Long, want)
	}
	if want := (PerSecond{Opens: 20.0 / 3, Enters: 10.0 / 3, Frees: 20.0 / 3, Exits: 5.0 / 3}); f.Short != want {
		t.Errorf("rates of 3 s %+v, want %+v", f.Short, want)
	}
	if h := d[0].Holders; len(h) != 1 || h[0] != (Holder{Process: big, PIDs: 1, N: 95}) {
		t.Errorf("holders %+v", h)
	}
	s := tab.Buckets(nil)
	if len(s) != 1 || s[0].TimeWait != 65 || s[0].OfClient != 65 || s[0].Flow.Stamped[4] != 55 {
		t.Errorf("spaces %+v", s)
	}

	// What is too old for the ring is forgotten, and not counted elsewhere.
	tab.now = t0 + 100*second
	f = tab.Destinations(nil)[0].Flow
	if f.Stamped != ([MaxAge]uint16{}) || f.Age != ([MaxAge]uint16{}) || f.Long != (PerSecond{}) {
		t.Errorf("after 100 s: %+v", f)
	}
	end(100, a+5, 55, event.TimeWaitExit, event.Yes)
}

// A destination that is slow at first has the rate that it has, and one that was there
// for long has none of before.
func TestFlowBegins(t *testing.T) {
	for _, every := range []float64{0.01, 0.25, 1, 4} {
		tab := New(Options{})
		n := 0
		for ; n < 2*busyPorts; n++ {
			apply(tab, with(at(float64(n)*every, event.Open), func(e *event.Event) { e.Cookie = uint64(n + 1) }))
		}
		tab.now = t0 + int64(float64(n)*every*float64(second))
		f := tab.Destinations(nil)[0].Flow
		got, want := f.Long.Opens, min(1/every, float64(n)) // over a second at least
		if one := 1 / LongWindow.Seconds(); f.Known == 0 || got < want*0.9-one || got > want*1.1+one {
			t.Errorf("one every %v s for %v s: %v per second, want %v", every, f.Known, got, want)
		}
	}
}

// Processes of one name are one holder in one cgroup, and two in two, one by one or in a
// group of many; the sum is what is held, but for those whose owner is not known. Ports
// that are bound before connect() are held at their address.
func TestHolders(t *testing.T) {
	tab := New(Options{MaxPIDs: 4})
	cookie := uint64(0)
	open := func(p event.Proc, n int, k event.Kind, bound bool) {
		for range n {
			cookie++
			apply(tab, with(at(0, event.Open), func(e *event.Event) { e.Cookie, e.Opener, e.CloseProc, e.Bound = cookie, p, p, bound }))
			if k != event.Open {
				apply(tab, with(at(1, k), func(e *event.Event) { e.Cookie, e.Opener, e.CloseProc, e.Bound = cookie, p, p, bound }))
			}
		}
	}
	for pid := range uint32(30) {
		unit := uint64(1)
		if pid >= 20 {
			unit = 2
		}
		open(event.Proc{PID: 100 + pid, Comm: "python3", Who: &event.Who{CgroupID: unit}}, 2, event.TimeWaitEnter, false)
	}
	open(event.Proc{PID: 7, Comm: "api"}, 5, event.Open, false)
	open(event.Proc{PID: 7, Comm: "api"}, 9, event.Open, true)
	open(event.Proc{}, 10, event.TimeWaitEnter, false)
	apply(tab, with(at(2, event.Fail), func(e *event.Event) { // who fails holds nothing
		e.Opener, e.Call, e.Errno = event.Proc{PID: 9, Comm: "victim"}, event.Connect, event.EADDRNOTAVAIL
	}))
	check(t, tab)
	words := func(list []Holder) (out string) {
		for _, h := range list {
			out += fmt.Sprintf("%s/%d %dx %d ", h.Process.Comm, h.Process.Cgroup(), h.PIDs, h.N)
		}
		return out
	}
	for _, d := range tab.Destinations(nil) {
		want := "python3/1 20x 40 python3/2 10x 20 api/0 1x 5 "
		if !d.Remote.IsValid() {
			want = "api/0 1x 9 "
		}
		if got := words(d.Holders); got != want {
			t.Errorf("%v: %s, want %s", d.Remote, got, want)
		}
	}
	if got, want := words(tab.Buckets(nil)[0].Holders), "python3/1 20x 40 python3/2 10x 20 "; got != want {
		t.Errorf("buckets: %s, want %s", got, want)
	}
	wait := func(pid uint32, n uint64) Holder {
		return Holder{Process: event.Proc{PID: pid, Comm: "api"}, PIDs: 1, N: n}
	}
	tab.SetSynSent(t0, []SynSent{{NetNS: 4026531840, Local: clientEnd.Addr(), Remote: database, N: 80, By: []Holder{wait(7, 30), wait(8, 20)}}})
	for _, d := range tab.Destinations(nil) {
		if got, want := words(d.Holders), "api/0 2x 55 python3/1 20x 40 python3/2 10x 20 "; d.Remote.IsValid() && got != want {
			t.Errorf("with those that wait: %s, want %s", got, want)
		}
	}
}

// A scan of a million destinations takes the room of some thousand, and does not
// hide the one that clients try often.
func TestScan(t *testing.T) {
	if testing.Short() {
		t.Skip("takes seconds")
	}
	tab := New(Options{})
	var cookie uint64
	conn := func(i int, sec float64, remote netip.AddrPort, comm string) {
		cookie++
		for _, k := range []event.Kind{event.Open, event.TimeWaitEnter} {
			apply(tab, with(at(sec, k), func(e *event.Event) {
				e.Cookie, e.Remote, e.Opener.Comm = cookie, remote, comm
			}))
		}
	}
	victim := netip.MustParseAddrPort("10.9.9.9:5432")
	const scanned = 1_000_000
	for i := range scanned {
		sec := float64(i) / 20000
		var a [4]byte
		binary.BigEndian.PutUint32(a[:], 0x0b000000+uint32(i/65536))
		conn(i, sec, netip.AddrPortFrom(netip.AddrFrom4(a), uint16(i)), "scanner")
		if i%50 == 0 && i > scanned/2 {
			conn(i, sec, victim, "checkout")
		}
	}
	v := tab.Totals()
	if v.Destinations > DefaultMaxDestinations || v.DestinationsRefused < scanned-DefaultMaxDestinations {
		t.Errorf("%d destinations held, %d connections without one", v.Destinations, v.DestinationsRefused)
	}
	for _, d := range tab.Destinations(nil) {
		if d.Remote != victim {
			continue
		}
		if n := scanned / 2 / 50; d.TimeWait < n-2*enough || d.Holders[0].Process.Comm != "checkout" {
			t.Errorf("%d of %d held, by %+v", d.TimeWait, n, d.Holders)
		}
		return
	}
	t.Error("the destination that clients try often is not held")
}

// Connects that get no answer come from a dump of the sockets.
func TestSynSent(t *testing.T) {
	tab := New(Options{})
	s := SynSent{NetNS: 1, Local: clientEnd.Addr(), Remote: database, N: 12}
	tab.SetSynSent(t0, []SynSent{s})
	if d := tab.Destinations(nil); len(d) != 1 || d[0].SynSent != 12 || d[0].Used() != 12 {
		t.Errorf("%+v", d)
	}
	tab.Sweep(t0 + 1000*second)
	if len(tab.Destinations(nil)) != 1 {
		t.Error("dropped while sockets are in SYN_SENT")
	}
	tab.SetSynSent(t0, nil)
	tab.Sweep(t0 + 1000*second)
	if d := tab.Destinations(nil); len(d) != 0 {
		t.Errorf("still there: %+v", d)
	}
}

// Ports that clients bind before they connect are in use for every destination, and
// are no pressure on the one they go to.
func TestBound(t *testing.T) {
	tab := New(Options{})
	for c := range uint64(20) {
		apply(tab, with(at(0, event.Open), func(e *event.Event) {
			e.Cookie, e.Bound = c+1, true
			e.Remote = netip.AddrPortFrom(database.Addr(), uint16(80+c))
		}))
	}
	for _, local := range []string{clientEnd.Addr().String() + ":0", "0.0.0.0:0", "0.0.0.0:8080"} {
		apply(tab, with(at(1, event.Fail), func(e *event.Event) {
			e.Local, e.Remote = netip.MustParseAddrPort(local), netip.AddrPort{}
			e.Call, e.Errno = event.Bind, event.EADDRINUSE
		}))
	}
	check(t, tab)
	d := tab.Destinations(nil)
	if len(d) != 1 || d[0].Remote.IsValid() || d[0].Local != clientEnd.Addr() || d[0].Established != 20 ||
		d[0].Fails.Of(event.Bind, event.EADDRINUSE) != 2 {
		t.Errorf("%+v", d)
	}
}
