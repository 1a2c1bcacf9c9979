package monitor

import (
	"context"
	"errors"
	"io"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/twtrace/twtrace/internal/conn"
	"github.com/twtrace/twtrace/internal/conn/conntest"
	"github.com/twtrace/twtrace/internal/diagnose"
	"github.com/twtrace/twtrace/internal/event"
	"github.com/twtrace/twtrace/internal/filter"
	"github.com/twtrace/twtrace/internal/kernel"
	"github.com/twtrace/twtrace/internal/session"
	"github.com/twtrace/twtrace/internal/session/sessiontest"
)

const testNetNS = 4026531840

var start = conntest.Start

// client opens connections at a rate for a time, and returns the events.
func client(rate float64, length time.Duration) []event.Event {
	var events []event.Event
	w := conntest.World{Table: conn.New(conn.Options{}), Ports: 28000, NetNS: testNetNS, OnEvent: func(e *event.Event) { events = append(events, *e) },
		Clients: []*conntest.Client{{Process: event.Proc{PID: 4242, Comm: "checkout"}, Local: netip.MustParseAddr("10.0.0.7"),
			Remote: netip.MustParseAddrPort("10.2.0.9:5432"), Rate: conntest.Steadily(rate), Life: 20 * time.Millisecond}}}
	w.Run(length, nil)
	return events
}

// source plays events, in a namespace with so many ports.
func source(ports int, events ...event.Event) *sessiontest.Source {
	return &sessiontest.Source{From: start, Events: events, ByNetNS: map[uint32]kernel.Limits{testNetNS: sessiontest.Limits(ports)}}
}

func newMonitor(t *testing.T, src *sessiontest.Source, o Options) *Monitor {
	t.Helper()
	s, err := session.New(src, session.Options{})
	if err != nil {
		t.Fatal(err)
	}
	m, err := New(t.Context(), s, src, o)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// times are when samples were taken, after the start.
func times(t *testing.T, m *Monitor, n int) (out []time.Duration) {
	t.Helper()
	for range n {
		s, err := m.Next(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, s.Now.Sub(start))
	}
	return out
}

// TestIntervals: a sample an interval, with all events before it, and io.EOF.
func TestIntervals(t *testing.T) {
	events := client(100, 5*time.Second)
	src := source(28000, events...)
	src.Until = start.Add(5500 * time.Millisecond)
	m := newMonitor(t, src, Options{Interval: time.Second})
	truth, next := conn.New(conn.Options{}), 0
	for i := 1; i <= 5; i++ {
		if due := m.Due(); !due.Equal(start.Add(time.Duration(i) * time.Second)) {
			t.Fatalf("sample %d is due at %v", i, due)
		}
		s, err := m.Next(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for ; next < len(events) && time.Unix(0, events[next].Time).Before(s.Now); next++ {
			e := events[next]
			truth.Apply(&e)
		}
		want := truth.Totals()
		if got := s.Table.Totals; !s.Now.Equal(start.Add(time.Duration(i)*time.Second)) || got.Opens != want.Opens || got.TimeWait != want.TimeWait || got.Opens == 0 {
			t.Errorf("sample %d at %v has %d opens, %d in TIME_WAIT; want %d, %d", i, s.Now, got.Opens, got.TimeWait, want.Opens, want.TimeWait)
		}
		if len(s.Table.Groups) != 1 || len(s.Pressure.Gauges) == 0 || s.Pressure.At != s.Now.UnixNano() {
			t.Errorf("sample %d has %d groups, and gauges %+v of %d", i, len(s.Table.Groups), s.Pressure.Gauges, s.Pressure.At)
		}
	}
	for range 2 {
		if s, err := m.Next(t.Context()); err != io.EOF || s != nil {
			t.Errorf("at the end %v, %v", s, err)
		}
	}
}

// TestPartial: a trace that ends within an interval has a last, shorter one.
func TestPartial(t *testing.T) {
	for name, tt := range map[string]struct {
		partial bool
		until   time.Duration
		want    []time.Duration
	}{
		"within":        {true, 2500 * time.Millisecond, []time.Duration{time.Second, 2 * time.Second, 2500 * time.Millisecond}},
		"at its end":    {true, 2 * time.Second, []time.Duration{time.Second, 2 * time.Second}},
		"short":         {true, 100 * time.Millisecond, []time.Duration{100 * time.Millisecond}},
		"not asked for": {false, 2500 * time.Millisecond, []time.Duration{time.Second, 2 * time.Second}},
	} {
		src := source(28000)
		src.Until = start.Add(tt.until)
		m := newMonitor(t, src, Options{Interval: time.Second, Partial: tt.partial})
		if got := times(t, m, len(tt.want)); !slices.Equal(got, tt.want) {
			t.Errorf("%s: samples at %v, want %v", name, got, tt.want)
		}
		if s, err := m.Next(t.Context()); err != io.EOF {
			t.Errorf("%s: one more at %v, %v", name, s, err)
		}
	}
}

func TestSetInterval(t *testing.T) {
	src := source(28000)
	src.Until = start.Add(time.Hour)
	m := newMonitor(t, src, Options{Interval: time.Second})
	got := times(t, m, 1)
	m.SetInterval(5 * time.Second)
	if m.Interval() != 5*time.Second {
		t.Errorf("the interval is %v", m.Interval())
	}
	got = append(got, times(t, m, 3)...) // the one that has started already is as it was
	if want := []time.Duration{time.Second, 2 * time.Second, 7 * time.Second, 12 * time.Second}; !slices.Equal(got, want) {
		t.Errorf("samples at %v, want %v", got, want)
	}
	s, err := m.Until(t.Context(), start.Add(12500*time.Millisecond))
	if err != nil || s.Now.Sub(start) != 12500*time.Millisecond || s.Status.Interval != 5*time.Second {
		t.Errorf("%+v, %v", s, err)
	}
	if due := m.Due().Sub(start); due != 17500*time.Millisecond {
		t.Errorf("the next one is due after %v", due)
	}
}

// TestReset: what is over is forgotten, once.
func TestReset(t *testing.T) {
	m := newMonitor(t, source(28000, client(100, 4*time.Second)...), Options{Interval: time.Second})
	lives := func() (uint64, bool) {
		s, err := m.Next(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return s.Table.Totals.Lives, s.Status.Reset
	}
	before, reset := lives()
	if before == 0 || reset {
		t.Fatalf("%d lifetimes, reset %v", before, reset)
	}
	m.Reset()
	if n, reset := lives(); n != 0 || !reset {
		t.Errorf("%d lifetimes after Reset, reset %v", n, reset)
	}
	if n, reset := lives(); n == 0 || n >= 2*before || reset {
		t.Errorf("%d lifetimes a second later, reset %v; there were %d", n, reset, before)
	}
}

// TestContext: an interval that is over has its sample all the same.
func TestContext(t *testing.T) {
	src := source(28000)
	src.Until = start.Add(time.Hour)
	m := newMonitor(t, src, Options{Interval: sessiontest.Step})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if s, err := m.Next(ctx); err != nil || s.Now.Sub(start) != sessiontest.Step {
		t.Errorf("%v, %v", s, err)
	}
	m.SetInterval(time.Second)
	if _, err := m.Next(t.Context()); err != nil {
		t.Fatal(err)
	}
	if s, err := m.Next(ctx); err != context.Canceled || s != nil {
		t.Errorf("%v, %v", s, err)
	}
}

// TestCalls: each event is seen, what is from before it in New, and Idle is called
// between events.
func TestCalls(t *testing.T) {
	events := client(10, 2*time.Second)
	src := source(28000, events...)
	src.Queued = 4
	var seen []uint64
	idles := 0
	m := newMonitor(t, src, Options{Interval: time.Second, Partial: true, Idle: func() { idles++ }, Each: func(e *event.Event) { seen = append(seen, e.Cookie) }})
	if len(seen) != 4 || idles != 0 {
		t.Errorf("%d events and %d idle calls in New", len(seen), idles)
	}
	for {
		if _, err := m.Next(t.Context()); err == io.EOF {
			break
		} else if err != nil {
			t.Fatal(err)
		}
	}
	if len(seen) != len(events) || idles < 30 {
		t.Errorf("%d of %d events, %d idle calls", len(seen), len(events), idles)
	}
	for i := range seen {
		if seen[i] != events[i].Cookie {
			t.Fatalf("event %d is of %d, want %d", i, seen[i], events[i].Cookie)
		}
	}

	fault := errors.New("the source is broken")
	src = &sessiontest.Source{Queued: 1, Fail: fault}
	s, err := session.New(src, session.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := New(t.Context(), s, src, Options{Interval: time.Second}); err != fault {
		t.Errorf("New: %v, want %v", err, fault)
	}
	src.Queued = 0
	if m, err = New(t.Context(), s, src, Options{Interval: time.Second}); err != nil {
		t.Fatal(err)
	}
	if _, err := m.Next(t.Context()); err != fault {
		t.Errorf("Next: %v, want %v", err, fault)
	}
}

// TestSampleOfStorm: ports run out, and the sample has who takes them, and the facts of
// that.
func TestSampleOfStorm(t *testing.T) {
	src := source(1000, client(100, 8*time.Second)...)
	m := newMonitor(t, src, Options{Interval: 4 * time.Second, Diagnose: diagnose.Options{Whole: true}})
	s, err := m.Next(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if len(s.Findings) == 0 || s.Findings[0].ID != "TW101" || s.Findings[0].Scope.Comm != "checkout" {
		t.Errorf("found %+v, want TW101 of checkout", s.Findings)
	}
	facts := m.Facts()
	if len(facts) != 1 || facts[0].NetNS.Inum != testNetNS || !facts[0].Time.Equal(s.Now) || len(facts[0].Destinations) != 1 {
		t.Fatalf("facts %+v", facts)
	}
	before := facts[0].Destinations[0].Opens
	if _, err = m.Next(t.Context()); err != nil {
		t.Fatal(err)
	}
	if after := m.Facts()[0].Destinations[0].Opens; before < 390 || after < before+390 {
		t.Errorf("%d opens after 4 s, %d after 8 s", before, after)
	}
}

// TestStatus: how the trace itself is doing.
func TestStatus(t *testing.T) {
	src := source(28000)
	src.Until, src.Says = start.Add(time.Second), []string{"reconciled"}
	comms, err := filter.ParseComms("checkout")
	if err != nil {
		t.Fatal(err)
	}
	f := &filter.Filter{Comms: comms}
	s, err := session.New(src, session.Options{Filter: f})
	if err != nil {
		t.Fatal(err)
	}
	m, err := New(t.Context(), s, src, Options{Interval: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	if st := m.Sample(); st.Status.Mode != "" || st.Findings != nil || !st.Now.Equal(start) {
		t.Errorf("the sample at the start is %+v", st)
	}
	burn()
	sample, err := m.Next(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	st := sample.Status
	if st.Mode != "TEST" || st.Interval != time.Second || st.Filter != f.String() || st.Filter == "" || !slices.Equal(st.Remarks, src.Says) || st.Reset {
		t.Errorf("%+v", st)
	}
	if st.CPU <= 0 || st.Memory < 1<<20 {
		t.Errorf("used %v CPUs and %d bytes", st.CPU, st.Memory)
	}
}

// burn uses processor time, until the kernel has counted some.
func burn() {
	for before := ownCPU(); ownCPU() == before; {
	}
}

// TestUsage: what was used since the call before, and not since the start.
func TestUsage(t *testing.T) {
	for ownCPU() < 50*time.Millisecond {
	}
	var u usage
	if first := u.since(); first < 0 || first > 0.01 { // since the year 1
		t.Errorf("%v at first", first)
	}
	burn()
	first := u
	if got, most := u.since(), float64(u.cpu)/float64(u.at.Sub(first.at)); got <= 0 || got >= most {
		t.Errorf("used %v, and %v with what was before", got, most)
	}
	if u.at.Before(first.at) || u.cpu <= first.cpu || u.cpu > ownCPU() {
		t.Errorf("%+v after %+v", u, first)
	}
}
