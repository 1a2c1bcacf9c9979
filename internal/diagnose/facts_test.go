package diagnose

import (
	"errors"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/twtrace/twtrace/internal/advice"
	"github.com/twtrace/twtrace/internal/event"
	"github.com/twtrace/twtrace/internal/kernel"
	"github.com/twtrace/twtrace/internal/pressure"
	"github.com/twtrace/twtrace/internal/session"
	"github.com/twtrace/twtrace/internal/session/sessiontest"
)

// host is a Host that knows its processes, or fails.
type host struct {
	*sessiontest.Source
	system        map[uint32]time.Duration
	count, memory error
	asked         []uint32 // for descriptors
	watched       int
}

func (h *host) SystemTime(pid uint32) (time.Duration, error) {
	if used, ok := h.system[pid]; ok {
		return used, nil
	}
	return 0, errors.ErrUnsupported
}

func (h *host) Count(ns kernel.NetNS) (advice.Counted, error) {
	if h.count != nil {
		return advice.Counted{}, h.count
	}
	return h.Source.Count(ns)
}

func (h *host) MemAvailable() (uint64, error) { return 8 << 30, h.memory }
func (h *host) WatchLingering()               { h.watched++ }

func (h *host) Descriptors(pid uint32) (used, limit uint64, err error) {
	h.asked = append(h.asked, pid)
	if pid == 0 {
		return 900, 1000, nil
	}
	return uint64(pid), 1000, nil
}

// bench is a diagnosis of a table that a test fills.
type bench struct {
	tb      testing.TB
	host    *host
	session *session.Session
	d       *Diagnosis
	meter   *pressure.Meter
	cookie  uint64
	at      time.Duration // after start
}

func newBench(tb testing.TB, ports int, o Options) *bench {
	tb.Helper()
	src := &sessiontest.Source{From: start, ByNetNS: map[uint32]kernel.Limits{testNetNS: sessiontest.Limits(ports)}}
	s, err := session.New(src, session.Options{})
	if err != nil {
		tb.Fatal(err)
	}
	h := &host{Source: src}
	return &bench{tb: tb, host: h, session: s, d: New(s, h, o), meter: pressure.NewMeter(s.ConnLimits)}
}

var (
	checkout = event.Proc{PID: 4242, Comm: "checkout"}
	nginx    = event.Proc{PID: 990, Comm: "nginx"}
	laddr    = netip.MustParseAddr("10.0.0.7")
	postgres = netip.MustParseAddrPort("10.2.0.9:5432")
)

// event is one of a client's connection, now.
func (b *bench) event(p event.Proc, to netip.AddrPort, cookie uint64, k event.Kind) event.Event {
	return event.Event{Time: start.Add(b.at).UnixNano(), Kind: k, Cookie: cookie, NetNS: testNetNS, Role: event.Client,
		Local: netip.AddrPortFrom(laddr, uint16(40000+cookie%20000)), Remote: to, Opener: p}
}

func (b *bench) apply(events ...event.Event) {
	for _, e := range events {
		b.session.Table().Apply(&e)
	}
}

// open opens n connections of a client, and returns the first of their cookies.
func (b *bench) open(p event.Proc, to netip.AddrPort, n int) uint64 {
	first := b.cookie + 1
	for range n {
		b.cookie++
		b.apply(b.event(p, to, b.cookie, event.Open))
	}
	return first
}

// end ends n connections of a client from a cookie on, which lived for so long.
func (b *bench) end(p event.Proc, to netip.AddrPort, first uint64, n int, k event.Kind, life time.Duration) {
	for c := first; c < first+uint64(n); c++ {
		e := b.event(p, to, c, k)
		e.Life, e.Closer = int64(life), event.LocalSide
		b.apply(e)
	}
}

// fail is a call that failed.
func (b *bench) fail(p event.Proc, call event.Call, errno uint16, local, remote netip.AddrPort) {
	e := event.Event{Time: start.Add(b.at).UnixNano(), Kind: event.Fail, NetNS: testNetNS, Call: call, Errno: errno, Local: local, Remote: remote}
	if call == event.Connect {
		e.Role, e.Opener = event.Client, p
	} else {
		e.Process, e.Owner = p, event.ByCall
	}
	b.apply(e)
}

// all are the facts now.
func (b *bench) all() []advice.Facts {
	now := start.Add(b.at)
	r, snap := sampled(b.session, b.meter, now)
	return b.d.Facts(now, r, snap)
}

// facts are those of the only namespace.
func (b *bench) facts() *advice.Facts {
	b.tb.Helper()
	all := b.all()
	if len(all) != 1 || all[0].NetNS.Inum != testNetNS || !all[0].Traced || all[0].Limits.PortLow != 40000 {
		b.tb.Fatalf("facts of %d namespaces: %+v", len(all), all)
	}
	return &all[0]
}

// opens are how many connections the facts count.
func opens(f *advice.Facts) (n uint64) {
	for _, o := range f.Traffic.Owners {
		n += o.Opens
	}
	return n
}

// TestWindow: what is counted came in the last five to ten seconds, or since the first
// call.
func TestWindow(t *testing.T) {
	for name, tt := range map[string]struct {
		o      Options
		want   []uint64 // connections counted each second, of ten a second
		window time.Duration
	}{
		"last seconds": {Options{}, []uint64{20, 30, 40, 50, 60, 70, 80, 90, 100, 110, 60}, 6 * time.Second},
		"whole":        {Options{Whole: true}, []uint64{20, 30, 40, 50, 60, 70, 80, 90, 100, 110, 120}, 11 * time.Second},
		"from now":     {Options{FromNow: true, Whole: true}, []uint64{0, 10, 20, 30, 40, 50, 60, 70, 80, 90, 100}, 10 * time.Second},
		"tables only":  {Options{TablesOnly: true}, []uint64{0, 10, 20, 30, 40, 50, 60, 70, 80, 90, 100, 60}, 6 * time.Second},
	} {
		b := newBench(t, 10000, tt.o)
		b.open(checkout, postgres, 10)
		var got []uint64
		var f *advice.Facts
		for range len(tt.want) {
			b.at += time.Second
			b.open(checkout, postgres, 10)
			f = b.facts()
			got = append(got, opens(f))
		}
		if !slices.Equal(got, tt.want) || f.Window != tt.window {
			t.Errorf("%s: counts %v in %v, want %v in %v", name, got, f.Window, tt.want, tt.window)
		}
		if to := f.Destinations[0]; to.Opens != tt.want[len(tt.want)-1] || to.Openers.Part(checkout) != to.Opens {
			t.Errorf("%s: %d opens to the destination, by %+v", name, to.Opens, to.Openers)
		}
		if watched := b.host.watched > 0; watched == tt.o.TablesOnly || (f.Traffic.Seen != 0) == tt.o.TablesOnly {
			t.Errorf("%s: watches what lingers: %v, seen for %v", name, watched, f.Traffic.Seen)
		}
	}
}

// TestCounters: the kernel's counters, from the first time that they could be read.
func TestCounters(t *testing.T) {
	b := newBench(t, 10000, Options{Whole: true})
	count := func(n uint64) {
		b.host.Counts = map[uint32]advice.Counted{testNetNS: {Counters: kernel.Counters{TWOverflow: n}}}
	}
	b.open(checkout, postgres, 10)
	b.at = time.Second
	count(5)
	f := b.facts()
	if f.Before.TWOverflow != 5 || f.After.TWOverflow != 5 || f.Window != 0 || f.MemAvailable != 8<<30 {
		t.Errorf("%+v", f)
	}
	b.at = 3 * time.Second
	if err := b.session.Run(t.Context(), nil, nil); err != nil { // for the clock of the source
		t.Fatal(err)
	}
	count(12)
	if f = b.facts(); f.Before.TWOverflow != 5 || f.After.TWOverflow != 12 || f.Traffic.Window != f.Time.Sub(start) {
		t.Errorf("%d, %d, %v", f.Before.TWOverflow, f.After.TWOverflow, f.Traffic.Window)
	}
	fault := errors.New("gone")
	b.host.memory = fault
	if all := b.all(); len(all) != 0 {
		t.Errorf("no memory known, and facts %+v", all)
	}
	b.host.memory, b.host.count = nil, fault
	if all := b.all(); len(all) != 0 {
		t.Errorf("no counters known, and facts %+v", all)
	}
}

// TestCountersOfRecording: the table counts what the kernel cannot be asked about.
func TestCountersOfRecording(t *testing.T) {
	b := newBench(t, 10000, Options{})
	first := b.open(checkout, postgres, 30)
	b.end(checkout, postgres, first, 10, event.TimeWaitEnter, time.Second)
	b.end(checkout, postgres, first+10, 5, event.Parked, time.Second)
	b.end(checkout, postgres, first+15, 4, event.TimeWaitRefused, time.Second)
	f := b.facts()
	if f.After.TimeWait != 15 || f.After.TWOverflow != 4 || f.Before.TWOverflow != 0 || f.MemAvailable != 0 || f.Enter != "" {
		t.Errorf("%+v", f)
	}
	for range 10 { // until the marks are younger
		b.at += time.Second
		b.facts()
	}
	b.end(checkout, postgres, first+19, 3, event.TimeWaitRefused, time.Second)
	if f = b.facts(); f.After.TWOverflow != 7 || f.Before.TWOverflow != 4 || f.Window != 5*time.Second {
		t.Errorf("%d before, %d after, in %v", f.Before.TWOverflow, f.After.TWOverflow, f.Window)
	}
}

// TestSpaces: the fullest namespaces, at most four, of those whose limits are known; or
// those that are asked for. The first has what went away with its namespace.
func TestSpaces(t *testing.T) {
	b := newBench(t, 10000, Options{})
	for i := range uint32(6) {
		netns := uint32(100 + i)
		if i != 4 {
			b.host.ByNetNS[netns] = sessiontest.Limits(1000)
		}
		for c := range int(i+1) * 20 {
			b.cookie++
			e := b.event(checkout, postgres, b.cookie, event.Open)
			e.NetNS = netns
			b.apply(e)
			if i == 0 && c < 3 {
				e.Kind = event.TimeWaitEnter
				b.apply(e)
				e.Kind, e.Reason = event.TimeWaitExit, event.NetnsExit
				b.apply(e)
			}
		}
	}
	b.at = time.Second
	inums := func() (out []uint32) {
		for _, f := range b.all() {
			out = append(out, f.NetNS.Inum)
		}
		return out
	}
	if got, want := inums(), []uint32{105, 103, 102, 101}; !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	all := b.all()
	if x := &all[0].Traffic; x.NetnsExits != 3 || x.NetnsGone != 1 || all[1].Traffic.NetnsExits != 0 {
		t.Errorf("%d sockets gone with %d namespaces", x.NetnsExits, x.NetnsGone)
	}
	if n := len(all[0].Destinations); n != 1 || all[0].Destinations[0].States.Of(event.Established) != 120 {
		t.Errorf("%+v", all[0].Destinations)
	}
	b.d = New(b.session, b.host, Options{Spaces: func(r *pressure.Reading) []uint32 { return []uint32{100, 104, uint32(len(r.Gauges))} }})
	if got, want := inums(), []uint32{100}; !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}
