package diagnose

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twtrace/twtrace/internal/advice"
	"github.com/twtrace/twtrace/internal/event"
	"github.com/twtrace/twtrace/internal/pressure"
)

// TestDestinations: the states, the flow, and who connects.
func TestDestinations(t *testing.T) {
	b := newBench(t, 1000, Options{})
	first := b.open(checkout, postgres, 40)
	b.at = 2 * time.Second
	for i, stamps := range []event.Tri{event.Yes, event.No} {
		for c := range uint64(10) {
			e := b.event(checkout, postgres, first+uint64(i)*10+c, event.TimeWaitEnter)
			e.Stamps, e.Life, e.Closer = stamps, int64(2*time.Second), event.LocalSide
			b.apply(e)
		}
	}
	b.end(checkout, postgres, first+20, 3, event.Parked, 2*time.Second)
	server := b.event(nginx, postgres, 999, event.Open) // another direction, the same ends
	server.Role, server.Accepter, server.Opener = event.Server, nginx, event.Proc{}
	b.apply(server)
	f := b.facts()
	if len(f.Destinations) != 1 {
		t.Fatalf("%+v", f.Destinations)
	}
	to := &f.Destinations[0]
	if to.Local != laddr || to.Remote != postgres || to.States.Of(event.TimeWait) != 20 || to.States.Of(event.Established) != 17 || to.States.Parked != 3 || to.Failed != 0 {
		t.Errorf("%+v", to)
	}
	if to.Opens != 40 || to.Ends != 23 || to.Closer[event.LocalSide] != 23 || to.LifeP50 < time.Second || to.LifeP50 > 3*time.Second || to.Short != 0 {
		t.Errorf("flow %+v", to.Flow)
	}
	if to.Stamped != 10 || to.Begun != 20 || to.Expiry.Total() != 20 || to.Gauge == nil || to.Gauge.Established != 17 {
		t.Errorf("%d stamped of %d, %d by age, gauge %+v", to.Stamped, to.Begun, to.Expiry.Total(), to.Gauge)
	}
	if got := sharesOf(to); got != "opens 40: checkout 1x 40; holds 40: checkout 1x 40" {
		t.Error(got)
	}
	if c := f.Traffic.Closers; f.TimeWait.Total() != 20 || c.Total != 20 || c.Most().Process.Comm != "checkout" || f.Traffic.TimeWaitHolders.Total != 23 {
		t.Errorf("%d in TIME_WAIT, closed by %+v, held by %+v", f.TimeWait.Total(), c, f.Traffic.TimeWaitHolders)
	}

	// Others connect now, and the ports are still of the ones before.
	for range 11 {
		b.at += time.Second
		b.facts()
	}
	b.open(event.Proc{PID: 1, Comm: "curl"}, postgres, 5)
	b.open(event.Proc{PID: 2, Comm: "curl"}, postgres, 7)
	b.open(checkout, postgres, 1)
	to = &b.facts().Destinations[0]
	if got := sharesOf(to); got != "opens 13: curl 2x 12, checkout 1x 1; holds 53: checkout 1x 41, curl 2x 12" || to.Openers.List[0].Process.PID != 2 {
		t.Errorf("%s; %+v", got, to.Openers.List[0])
	}
}

// sharesOf is who uses a destination: programs, processes, counts.
func sharesOf(to *advice.Destination) string {
	var out []string
	for _, role := range []struct {
		name string
		of   *advice.Contributors
	}{{"opens", &to.Openers}, {"fails", &to.Failers}, {"holds", &to.Holders}} {
		if role.of.Total == 0 {
			continue
		}
		var parts []string
		for _, o := range role.of.List {
			parts = append(parts, fmt.Sprintf("%s %dx %d", o.Process.Comm, o.PIDs, o.N))
		}
		out = append(out, fmt.Sprintf("%s %d: %s", role.name, role.of.Total, strings.Join(parts, ", ")))
	}
	return strings.Join(out, "; ")
}

// TestManyDestinations: of a scan the fullest, and where calls fail.
func TestManyDestinations(t *testing.T) {
	b := newBench(t, 1000, Options{})
	for i := range 30 {
		b.open(checkout, netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 3, 0, byte(i)}), 80), 1+i/20)
	}
	for i := range 20 { // each above nearShare
		b.open(checkout, netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 4, 0, byte(i)}), 80), 100)
	}
	failed := netip.MustParseAddrPort("10.3.0.1:80")
	b.open(checkout, failed, 1000) // no port is left
	b.at = time.Second
	b.fail(checkout, event.Connect, event.EADDRNOTAVAIL, netip.AddrPortFrom(laddr, 0), failed)
	f := b.facts()
	if len(f.Destinations) != 21 || f.Destinations[0].Remote != failed || f.Destinations[0].Failed != 1 {
		t.Errorf("%d destinations, the first one %+v", len(f.Destinations), f.Destinations[0])
	}
	b.d = New(b.session, b.host, Options{Spaces: func(*pressure.Reading) []uint32 { return []uint32{testNetNS} }, FromNow: true})
	if f = b.facts(); len(f.Destinations) != 21 || f.Destinations[0].Failed != 0 { // the failed call was before
		t.Errorf("%d destinations, the first one %+v", len(f.Destinations), f.Destinations[0])
	}
}

// TestBoundPorts: ports that clients bind before they connect, and those that any
// socket holds.
func TestBoundPorts(t *testing.T) {
	for _, tables := range []bool{false, true} {
		b := newBench(t, 100, Options{Whole: true, TablesOnly: tables})
		b.all() // of a table in which nothing is
		for range 60 {
			b.cookie++
			e := b.event(checkout, postgres, b.cookie, event.Open)
			e.Bound = true
			b.apply(e)
		}
		b.cookie += 9
		b.open(nginx, netip.MustParseAddrPort("10.2.0.8:80"), 15) // on ports of the range
		for c := b.cookie; c > b.cookie-5; c-- {
			b.apply(b.event(nginx, netip.MustParseAddrPort("10.2.0.8:81"), c+20000, event.Open)) // on the same ports
		}
		b.at = time.Second
		b.fail(checkout, event.Bind, event.EADDRINUSE, netip.AddrPortFrom(laddr, 0), netip.AddrPort{})
		f := b.facts()
		if len(f.Traffic.Bound) != 1 {
			t.Fatalf("%+v", f.Traffic.Bound)
		}
		want := 75
		if tables {
			want = 0
		}
		got := f.Traffic.Bound[0]
		if got.Local != laddr || got.Holders.Most().Process.PID != checkout.PID || got.Holders.Total != 60 || got.Failers.Part(checkout) != 1 || got.Failed != 1 || got.Taken != want || got.Gauge == nil || got.Gauge.What != pressure.LocalPorts {
			t.Errorf("tables only %v: %+v, want %d taken", tables, got, want)
		}
		if len(f.Destinations) != 2 || f.Destinations[0].Remote.Port() != 80 {
			t.Errorf("%+v", f.Destinations)
		}
	}
}

// TestSearches: connect() passes over all ports of the first parity, where they are
// taken.
func TestSearches(t *testing.T) {
	for _, taken := range []int{3000, 2990} { // of 3,000 even ports
		b := newBench(t, 6000, Options{Whole: true})
		b.host.Pids, b.host.system = map[uint32]bool{checkout.PID: true}, map[uint32]time.Duration{checkout.PID: 0}
		for i := range 3010 {
			b.cookie++
			e := b.event(checkout, postgres, b.cookie, event.Open)
			e.Local = netip.AddrPortFrom(laddr, uint16(40000+2*(i%3000)))
			if i >= taken {
				e.Local = netip.AddrPortFrom(laddr, uint16(40001+2*(i%3000)))
			}
			b.apply(e)
		}
		b.facts()
		b.at = 20 * time.Second
		b.host.system[checkout.PID] = 10 * time.Second
		f := b.facts()
		if o := f.Traffic.Owners[0]; o.System != 0.5 {
			t.Errorf("%d taken: %v CPUs in the kernel", taken, o.System)
		}
		want := 3000
		if taken < 3000 {
			want = 0
		}
		if got := f.Destinations[0].Passed; got != want {
			t.Errorf("%d taken: each call passes over %d, want %d (%v)", taken, got, want, f.Searches(&f.Destinations[0]))
		}
		b.d.opt.TablesOnly = true
		if f = b.facts(); f.Destinations[0].Passed != 0 {
			t.Errorf("passes over %d by the tables only", f.Destinations[0].Passed)
		}
	}
}

// TestListeners: who listens, and what they have accepted, the most connections first.
func TestListeners(t *testing.T) {
	at := netip.MustParseAddrPort
	for _, tables := range []bool{false, true} {
		b := newBench(t, 1000, Options{Whole: true, TablesOnly: tables, Spaces: func(*pressure.Reading) []uint32 { return []uint32{testNetNS} }})
		b.all() // of a table in which nothing is
		accept := func(p event.Proc, local netip.AddrPort, n int, life time.Duration) {
			for i := range n {
				b.cookie++
				e := event.Event{Time: start.UnixNano(), Kind: event.Open, Cookie: b.cookie, NetNS: testNetNS, Role: event.Server, Local: local,
					Remote: netip.AddrPortFrom(netip.MustParseAddr("10.9.0.1"), uint16(20000+b.cookie)), Accepter: p}
				b.apply(e)
				if i%2 == 0 {
					e.Kind, e.Life, e.Closer = event.TimeWaitEnter, int64(life), event.LocalSide
					b.apply(e)
				}
			}
		}
		accept(nginx, at("10.2.0.9:80"), 10, 10*time.Millisecond)
		worker := event.Proc{PID: 991, Comm: "nginx"}
		accept(worker, at("10.2.0.9:80"), 20, 10*time.Second)
		accept(event.Proc{PID: 7, Comm: "sshd"}, at("10.2.0.9:22"), 4, time.Hour)
		for _, e := range []event.Event{
			{Kind: event.Listen, Cookie: 1 << 40, NetNS: testNetNS, Local: at("10.2.0.9:80"), Process: nginx},
			{Kind: event.Listen, Cookie: 2 << 40, NetNS: testNetNS, Local: at("0.0.0.0:111"), Process: event.Proc{PID: 5, Comm: "rpcbind"}},
			{Kind: event.Listen, Cookie: 3 << 40, NetNS: 8, Local: at("0.0.0.0:112"), Process: nginx},
		} {
			e.Time = start.UnixNano()
			b.apply(e)
		}
		r, snap := sampled(b.session, b.meter, start)
		f := &b.d.Facts(start, r, snap)[0]
		var got []string
		for _, l := range f.Listeners {
			got = append(got, fmt.Sprint(l.Local, " ", l.Owner.PID, " ", l.States.Of(event.Established), "+", l.States.Of(event.TimeWait), " of ", l.Opens))
		}
		want := []string{"10.2.0.9:80 991 15+15 of 30", "10.2.0.9:22 7 2+2 of 4", "0.0.0.0:111 5 0+0 of 0"}
		if tables {
			want = want[:2]
		}
		if !slices.Equal(got, want) {
			t.Errorf("tables only %v: %q, want %q", tables, got, want)
		}
		if l := f.Listeners[0]; l.Short < 0.2 || l.Short > 0.5 || l.LifeP50 < 5*time.Second {
			t.Errorf("short %v, median %v", l.Short, l.LifeP50)
		}
		for _, g := range snap.Groups { // which others read too
			if want := map[uint32]float64{nginx.PID: 1}[g.Owner.PID]; g.Life.Share(advice.ShortLived) != want {
				t.Errorf("the group of %v has changed: %v are short, want %v", g.Owner, g.Life.Share(advice.ShortLived), want)
			}
		}
	}
}
