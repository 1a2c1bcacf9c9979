package session_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twtrace/twtrace/internal/conn"
	"github.com/twtrace/twtrace/internal/conn/conntest"
	"github.com/twtrace/twtrace/internal/event"
	"github.com/twtrace/twtrace/internal/kernel"
	"github.com/twtrace/twtrace/internal/session"
	"github.com/twtrace/twtrace/internal/session/sessiontest"
)

const testNetNS = 4026531840

var start = conntest.Start

var (
	checkout = event.Proc{PID: 4242, Comm: "checkout"}
	curl     = event.Proc{PID: 4343, Comm: "curl"}
)

// of is an event of the connection with the cookie, d after the start.
func of(p event.Proc, cookie uint64, d time.Duration, k event.Kind) event.Event {
	return event.Event{Time: start.Add(d).UnixNano(), Kind: k, Cookie: cookie, NetNS: testNetNS, Role: event.Client, Opener: p,
		Local: netip.AddrPortFrom(netip.MustParseAddr("10.0.0.7"), uint16(40000+cookie%20000)), Remote: netip.MustParseAddrPort("10.2.0.9:5432")}
}

// opened are n connections of a process, all at the start.
func opened(p event.Proc, n int) (out []event.Event) {
	for i := range n {
		out = append(out, of(p, uint64(i+1), 0, event.Open))
	}
	return out
}

func newSession(t *testing.T, src session.Source, o session.Options) *session.Session {
	t.Helper()
	s, err := session.New(src, o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// seen is what a session passes on.
type seen struct {
	events []event.Event
	idles  int
}

func (s *seen) each(e *event.Event) error { s.events = append(s.events, *e); return nil }
func (s *seen) idle() error               { s.idles++; return nil }

func (s *seen) kinds() (out []event.Kind) {
	for _, e := range s.events {
		out = append(out, e.Kind)
	}
	return out
}

// run reads a session to its end.
func run(t *testing.T, s *session.Session) *seen {
	t.Helper()
	var got seen
	if err := s.Run(t.Context(), got.each, got.idle); err != nil {
		t.Fatal(err)
	}
	return &got
}

// TestRun: the events come in order, completed by the table, and the session is idle
// between them.
func TestRun(t *testing.T) {
	src := &sessiontest.Source{From: start, Events: []event.Event{
		of(checkout, 1, 100*time.Millisecond, event.Open), of(event.Proc{}, 1, time.Second, event.TimeWaitEnter), of(event.Proc{}, 1, 61*time.Second, event.TimeWaitExit)}}
	s := newSession(t, src, session.Options{})
	got := run(t, s)
	if want := []event.Kind{event.Open, event.TimeWaitEnter, event.TimeWaitExit}; !slices.Equal(got.kinds(), want) {
		t.Fatalf("%v, want %v", got.kinds(), want)
	}
	last := got.events[2]
	if last.Process != checkout || last.Owner != event.ByConnect || last.InState != int64(60*time.Second) {
		t.Errorf("the last one is %+v", last)
	}
	if want := int(61 * time.Second / sessiontest.Step); got.idles < want-2 || got.idles > want {
		t.Errorf("idle %d times, want about %d", got.idles, want)
	}
	if !s.Now().Equal(start.Add(61 * time.Second)) {
		t.Errorf("it is %v", s.Now())
	}
	for i, idle := range src.Tended {
		if idle != (i < len(src.Tended)-1) { // the last call is at the end
			t.Errorf("Tend call %d of %d: idle is %v", i, len(src.Tended), idle)
		}
	}
}

// TestRunAgain: an error of either function ends Run, and the next call goes on with
// the next event.
func TestRunAgain(t *testing.T) {
	stop := errors.New("enough")
	events := opened(checkout, 5)
	events[4].Time += int64(time.Second)
	s := newSession(t, &sessiontest.Source{Events: events}, session.Options{})
	var got seen
	each := func(e *event.Event) error {
		got.events = append(got.events, *e)
		if len(got.events) == 2 {
			return stop
		}
		return nil
	}
	if err := s.Run(t.Context(), each, got.idle); err != stop || len(got.events) != 2 {
		t.Fatalf("%v after %d events, want %v after 2", err, len(got.events), stop)
	}
	idle := func() error { got.idles++; return stop }
	if err := s.Run(t.Context(), each, idle); err != stop || len(got.events) != 4 || got.idles != 1 {
		t.Fatalf("%v after %d events and %d idle calls, want %v after 4 and 1", err, len(got.events), got.idles, stop)
	}
	if err := s.Run(t.Context(), each, got.idle); err != nil || len(got.events) != 5 {
		t.Fatalf("%v after %d events, want 5", err, len(got.events))
	}
	for i, e := range got.events {
		if e.Cookie != uint64(i+1) {
			t.Errorf("event %d is of connection %d", i, e.Cookie)
		}
	}
}

// TestBusyRing: of a ring that never gets empty, idle is called now and then, and the
// source tended, over the calls of Run that each end at the first idle call too.
func TestBusyRing(t *testing.T) {
	const n = 2 << 14
	events, ignore := opened(checkout, n), func(*event.Event) error { return nil }
	src, idles := &sessiontest.Source{Events: events}, 0
	if err := newSession(t, src, session.Options{}).Run(t.Context(), ignore, func() error { idles++; return nil }); err != nil {
		t.Fatal(err)
	}
	if idles != n>>10 || len(src.Tended) != n>>14+1 || slices.Contains(src.Tended, true) {
		t.Errorf("idle %d times, want %d; tended %v, want %d times", idles, n>>10, src.Tended, n>>14+1)
	}

	src = &sessiontest.Source{Events: events}
	s, due, runs := newSession(t, src, session.Options{}), errors.New("due"), 1
	for {
		err := s.Run(t.Context(), ignore, func() error { return due })
		if err == nil {
			break
		}
		if err != due {
			t.Fatal(err)
		}
		runs++
	}
	if runs != n>>10+1 || len(src.Tended) != n>>14+1 {
		t.Errorf("tended %d times in %d runs, want %d in %d", len(src.Tended), runs, n>>14+1, n>>10+1)
	}
}

// TestFound: what the source finds beside its events is passed on and seen by the
// witness once, and losses are counted once, the last of them after the last event.
func TestFound(t *testing.T) {
	lost := func(d time.Duration, stage event.Stage, n uint64) event.Event {
		return event.Event{Time: start.Add(d).UnixNano(), Kind: event.Lost, Stage: stage, Count: n}
	}
	found := of(curl, 9, 0, event.Snapshot)
	source := func() *sessiontest.Source {
		return &sessiontest.Source{From: start,
			Events: []event.Event{of(checkout, 1, time.Second, event.Open), lost(time.Second, event.StageDecode, 2)},
			Found:  []event.Event{found, lost(0, event.StageRing, 3), lost(0, event.StageRing, 4)},
			AtEnd:  []event.Event{lost(time.Second, event.StageMap, 5), lost(time.Second, event.StageRing, 6)}}
	}
	want := map[event.Stage]uint64{event.StageDecode: 2, event.StageRing: 13, event.StageMap: 5}
	kinds := []event.Kind{event.Snapshot, event.Lost, event.Lost, event.Open, event.Lost, event.Lost, event.Lost}

	var witness seen
	s := newSession(t, source(), session.Options{Witness: func(e *event.Event) { _ = witness.each(e) }})
	got := run(t, s)
	if !slices.Equal(got.kinds(), kinds) || !slices.Equal(witness.kinds(), kinds) {
		t.Errorf("passed on %v, witnessed %v, want %v", got.kinds(), witness.kinds(), kinds)
	}
	if !maps.Equal(s.Lost(), want) || s.LostTotal() != 20 {
		t.Errorf("lost %v, %d in total, want %v", s.Lost(), s.LostTotal(), want)
	}
	s.Lost()[event.StageRing] = 99
	if s.LostTotal() != 20 {
		t.Error("a caller can change the counts")
	}
	if total := s.Table().Totals(); total.Lost[event.StageRing] != 13 || total.TimeWait != 1 {
		t.Errorf("the table has %+v", total)
	}

	s = newSession(t, source(), session.Options{})
	if err := s.Drain(t.Context()); err != nil {
		t.Fatal(err)
	}
	if want := (map[event.Stage]uint64{event.StageRing: 6, event.StageMap: 5}); !maps.Equal(s.Lost(), want) {
		t.Errorf("drained at once, lost %v, want %v", s.Lost(), want) // what the source still has is not read
	}
}

// faulty is a source some of whose methods fail.
type faulty struct {
	*sessiontest.Source
	begin, tend, start, end error
	limit                   int // so many events after Finish, and session.ErrIdle before each
	idle                    bool
	finished                int // calls of Finish
}

func (f *faulty) Begin(t *conn.Table, wanted func(*event.Event) bool) error {
	return errors.Join(f.begin, f.Source.Begin(t, wanted))
}

func (f *faulty) Tend(idle bool, found func(*event.Event) error) error {
	if f.tend != nil {
		return f.tend
	}
	return f.Source.Tend(idle, found)
}

func (f *faulty) Start() (event.Event, error) {
	e, _ := f.Source.Start()
	return e, f.start
}

func (f *faulty) End(why string) (event.Event, error) {
	e, _ := f.Source.End(why)
	return e, f.end
}

func (f *faulty) Finish() { f.finished++ }

// Next returns the rest of the events after Finish, with pauses.
func (f *faulty) Next(ctx context.Context, e *event.Event) error {
	if f.finished == 0 || f.limit == 0 {
		if f.finished > 0 {
			f.Source.Finish()
		}
		return f.Source.Next(ctx, e)
	}
	if f.idle = !f.idle; f.idle {
		return session.ErrIdle
	}
	f.limit--
	return f.Source.Next(ctx, e)
}

func TestSourceFails(t *testing.T) {
	fault := errors.New("the source is broken")
	src := &sessiontest.Source{}
	if _, err := session.New(&faulty{Source: src, begin: fault}, session.Options{}); !errors.Is(err, fault) || !src.Closed {
		t.Errorf("New: %v, closed %v", err, src.Closed)
	}
	nothing := func(*event.Event) error { return nil }
	for name, src := range map[string]session.Source{
		"Next":        &sessiontest.Source{Events: opened(checkout, 1), Fail: fault},
		"Tend":        &faulty{Source: &sessiontest.Source{From: start, Until: start.Add(time.Second)}, tend: fault},
		"Tend, busy":  &faulty{Source: &sessiontest.Source{Events: opened(checkout, 1<<14)}, tend: fault},
		"Tend at end": &faulty{Source: &sessiontest.Source{}, tend: fault},
	} {
		s := newSession(t, src, session.Options{})
		if err := s.Run(t.Context(), nothing, func() error { return nil }); err != fault {
			t.Errorf("%s: Run returns %v", name, err)
		}
	}
	for name, src := range map[string]session.Source{
		"Next":        &sessiontest.Source{Fail: fault},
		"Tend at end": &faulty{Source: &sessiontest.Source{}, tend: fault},
	} {
		if err := newSession(t, src, session.Options{}).Drain(t.Context()); err != fault {
			t.Errorf("%s: Drain returns %v", name, err)
		}
	}
	src = &sessiontest.Source{Queued: 2, Events: opened(checkout, 1), Fail: fault}
	if err := newSession(t, src, session.Options{}).CatchUp(t.Context(), nothing); err != fault {
		t.Errorf("CatchUp returns %v", err)
	}
}

// TestDrain reads what comes after the source was asked to finish, and counts it.
func TestDrain(t *testing.T) {
	events := opened(checkout, 3)
	events[1] = event.Event{Time: start.UnixNano(), Kind: event.Lost, Stage: event.StageRing, Count: 7}
	src := &faulty{Source: &sessiontest.Source{Events: events, Last: &event.EndInfo{}}, limit: 2}
	s := newSession(t, src, session.Options{})
	if err := s.Drain(t.Context()); err != nil || s.LostTotal() != 7 || src.limit != 0 || src.finished != 1 {
		t.Errorf("%v, lost %v, %d events left, finished %d times", err, s.Lost(), src.limit, src.finished)
	}
	if end, err := s.EndRecord(); err != nil || end.End.Why != "done" {
		t.Errorf("the end is %+v, %v", end.End, err)
	}
}

// TestStartAfterSnapshot: a promotion that a dump saw before the event came is a start
// all the same, in the records and in the table.
func TestStartAfterSnapshot(t *testing.T) {
	parked, held := of(checkout, 1, 0, event.Parked), of(checkout, 1, 0, event.Snapshot)
	held.New = event.TimeWait
	early := of(checkout, 2, 0, event.Snapshot)
	early.New = event.FinWait2
	src := &sessiontest.Source{Events: []event.Event{parked, held, of(checkout, 1, 0, event.TimeWaitEnter),
		early, of(checkout, 2, 0, event.TimeWaitEnter), of(checkout, 1, time.Minute, event.TimeWaitExit)}}
	witnessed := 0
	s := newSession(t, src, session.Options{Witness: func(*event.Event) { witnessed++ }})
	got := run(t, s)
	if want := []event.Kind{event.Parked, event.Snapshot, event.TimeWaitEnter, event.Snapshot, event.TimeWaitEnter, event.TimeWaitExit}; !slices.Equal(got.kinds(), want) {
		t.Errorf("%v, want %v", got.kinds(), want)
	}
	if witnessed != 6 {
		t.Errorf("%d events witnessed", witnessed)
	}
	if total := s.Table().Totals(); total.TimeWait != 1 || total.Enters != 2 || total.Snapshots != 0 || total.Duplicates != 0 {
		t.Errorf("the table has %+v", total)
	}
}

// TestPart: what the user did not ask for is in the table all the same.
func TestPart(t *testing.T) {
	src := &sessiontest.Source{From: start, Part: start.Add(time.Second), Events: []event.Event{
		of(checkout, 1, 0, event.Open), of(checkout, 2, 999*time.Millisecond, event.Open), of(checkout, 3, time.Second, event.Open)}}
	s := newSession(t, src, session.Options{})
	got := run(t, s)
	if len(got.events) != 1 || got.events[0].Cookie != 3 || s.Table().Totals().Established != 3 {
		t.Errorf("passed on %v; %d are established", got.kinds(), s.Table().Totals().Established)
	}
}

// TestCatchUp passes on what is from before, and nothing else.
func TestCatchUp(t *testing.T) {
	events := opened(checkout, 4)
	for i := range events {
		events[i].Time += int64(i) * int64(time.Second)
	}
	s := newSession(t, &sessiontest.Source{Events: events, Queued: 3}, session.Options{})
	var got seen
	if err := s.CatchUp(t.Context(), got.each); err != nil || len(got.events) != 3 || s.Table().Totals().Established != 3 {
		t.Fatalf("%v after %d events", err, len(got.events))
	}
	if rest := run(t, s); len(rest.events) != 1 || rest.events[0].Cookie != 4 {
		t.Errorf("then %v", rest.events)
	}
	s = newSession(t, &sessiontest.Source{Events: opened(checkout, 2), Queued: 9}, session.Options{})
	if err := s.CatchUp(t.Context(), got.each); err != nil || len(got.events) != 5 {
		t.Errorf("%v after %d events, want the end after 5", err, len(got.events))
	}
	stop := errors.New("enough")
	s = newSession(t, &sessiontest.Source{Events: opened(checkout, 2), Queued: 2}, session.Options{})
	if err := s.CatchUp(t.Context(), func(*event.Event) error { return stop }); err != stop {
		t.Errorf("%v, want %v", err, stop)
	}
}

func TestConnLimits(t *testing.T) {
	k := sessiontest.Limits(1000)
	got := session.ConnLimits(&k)
	if got.PortLow != 40000 || got.PortHigh != 40999 || got.Usable != 1000 || got.MaxTW != 65536 || got.TWReuse != 2 || !got.Timestamps || got.ReuseDelay != time.Second {
		t.Errorf("%+v", got)
	}
	k.TWReuseDelayMS, k.Timestamps = 250, 0
	if got = session.ConnLimits(&k); got.ReuseDelay != 250*time.Millisecond || got.Timestamps {
		t.Errorf("%+v", got)
	}
	k.TWReuseDelayMS = -1 // before 6.14
	if got = session.ConnLimits(&k); got.ReuseDelay != time.Second {
		t.Errorf("%+v", got)
	}
	s := newSession(t, &sessiontest.Source{ByNetNS: map[uint32]kernel.Limits{7: k}}, session.Options{})
	if got, ok := s.ConnLimits(7); !ok || got.Usable != 1000 {
		t.Errorf("%+v, %v", got, ok)
	}
	if _, ok := s.ConnLimits(8); ok {
		t.Error("limits of an unknown namespace")
	}
}

func TestTalk(t *testing.T) {
	newSession(t, &sessiontest.Source{}, session.Options{}).Talk("nobody reads %d", 1)
	var b strings.Builder
	newSession(t, &sessiontest.Source{}, session.Options{Talk: func(f string, a ...any) { fmt.Fprintf(&b, f, a...) }}).Talk("%d lines", 2)
	if b.String() != "2 lines" {
		t.Errorf("%q", b.String())
	}
}
