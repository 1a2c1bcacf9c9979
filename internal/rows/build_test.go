package rows

import (
	"math"
	"net/netip"
	"testing"
	"time"

	"github.com/twtrace/twtrace/internal/conn"
	"github.com/twtrace/twtrace/internal/event"
	"github.com/twtrace/twtrace/internal/pressure"
)

func addr(s string) netip.AddrPort { return netip.MustParseAddrPort(s) }

// script feeds a table with connections of one client to one destination, and builds
// rows of it.
type script struct {
	tab     *conn.Table
	meter   *pressure.Meter
	builder Builder
	snap    conn.Snapshot
}

func newScript(limits conn.LimitsFunc) *script {
	return &script{tab: conn.New(conn.Options{Limits: limits}), meter: pressure.NewMeter(limits)}
}

func (s *script) apply(sec int64, k event.Kind, cookie uint64, f func(*event.Event)) {
	e := event.Event{
		Time: sec * int64(time.Second), Kind: k, Cookie: cookie, NetNS: 1, Role: event.Client,
		Local: netip.AddrPortFrom(netip.MustParseAddr("10.0.0.7"), uint16(40000+cookie)), Remote: addr("10.2.0.9:5432"),
		Opener: event.Proc{PID: 4242, Comm: "checkout"},
	}
	if k == event.TimeWaitEnter {
		e.Closer, e.Life = event.LocalSide, int64(time.Millisecond)
	}
	if f != nil {
		f(&e)
	}
	s.tab.Apply(&e)
}

func (s *script) build(sec int64) ([]Row, Rates) {
	s.tab.Snapshot(sec*int64(time.Second), &s.snap)
	r := s.meter.Measure(&s.snap)
	return s.builder.Build(&s.snap, &r)
}

func limits100(ns uint32) (conn.Limits, bool) {
	return conn.Limits{PortLow: 40000, PortHigh: 40099, Usable: 100, MaxTW: 90}, ns == 1
}

func TestBuilder(t *testing.T) {
	s := newScript(limits100)
	for c := range uint64(10) {
		s.apply(1001, event.Open, c+1, nil)
		s.apply(1001, event.TimeWaitEnter, c+1, nil)
	}
	s.apply(1001, event.Snapshot, 500, func(e *event.Event) { e.Opener, e.Remote = event.Proc{}, addr("10.2.0.9:80") })
	list, all := s.build(1002)
	if !math.IsNaN(all.In) || Known(list[0].Open) {
		t.Errorf("rates %+v before an interval has passed", all)
	}
	if rows := Arrange(list, ByFlow, SortTimeWait); len(rows) != 2 || rows[0].PreStart || !rows[1].PreStart || rows[1].Name() != "(pre-start)" {
		t.Errorf("rows %+v", rows)
	}

	// Two seconds later: 60 more, of which 30 ended, and one more owner.
	for c := range uint64(60) {
		s.apply(1003, event.Open, c+11, nil)
		s.apply(1003, event.TimeWaitEnter, c+11, nil)
		if c < 30 {
			s.apply(1003, event.TimeWaitExit, c+11, nil)
		}
	}
	s.apply(1003, event.Open, 400, func(e *event.Event) { e.Opener = event.Proc{PID: 5, Comm: "psql"} })
	list, all = s.build(1004)
	if want := (Rates{In: 30, Out: 15, Open: 30.5, Close: 30}); all != want {
		t.Errorf("rates %+v, want %+v", all, want)
	}
	rows := Arrange(list, ByFlow, SortTimeWait)
	if want := (Rates{In: 30, Out: 15, Open: 30, Close: 30}); rows[0].Rates != want || rows[0].TimeWait != 40 {
		t.Errorf("%s: %d, %+v, want %+v", rows[0].Name(), rows[0].TimeWait, rows[0].Rates, want)
	}
	if side, n, of := rows[0].ClosedBy(); side != event.LocalSide || n != 70 || of != 70 {
		t.Errorf("%v closed %d of %d first, want local 70 of 70", side, n, of)
	}
	if rows[2].Open != 0.5 || rows[2].Ports != 41 || rows[2].Usable != 100 || rows[2].Share() != 0.41 {
		t.Errorf("the new owner's rate %v, ports %d of %d; want 0.5, and those of all owners", rows[2].Open, rows[2].Ports, rows[2].Usable)
	}
}

func TestBuilderSeverity(t *testing.T) {
	s := newScript(limits100)
	sec := int64(2000)
	build := func() event.Severity {
		sec += 6
		list, _ := s.build(sec)
		return list[0].Severity
	}
	for c := range uint64(79) {
		s.apply(sec, event.TimeWaitEnter, c+1, nil)
	}
	if v := build(); v != event.SeverityNone {
		t.Errorf("79 of 100 is %v", v)
	}
	s.apply(sec, event.TimeWaitEnter, 80, nil)
	if v := build(); v != event.Warn {
		t.Errorf("80 of 100 is %v", v)
	}
	for c := range uint64(16) { // nearly none is free
		s.apply(sec, event.TimeWaitEnter, 81+c, nil)
	}
	s.apply(sec, event.Fail, 0, func(e *event.Event) { e.Call, e.Errno = event.Connect, 99 })
	if v := build(); v != event.Crit {
		t.Errorf("refused now: %v", v)
	}
	for c := range uint64(16) {
		s.apply(sec, event.TimeWaitExit, 81+c, nil)
	}
	if v := build(); v != event.Warn {
		t.Errorf("no longer refused: %v", v)
	}
}

// A row that has ended stays for a moment, and comes back with its own numbers.
func TestBuilderLinger(t *testing.T) {
	s := newScript(nil)
	rows := func(sec int64) []Row {
		list, _ := s.build(sec)
		return list
	}
	s.apply(1001, event.Open, 1, nil)
	s.apply(1001, event.Close, 1, nil)
	s.apply(1001, event.TimeWaitExit, 2, func(e *event.Event) { e.Opener, e.Remote = event.Proc{}, addr("10.2.0.9:80") })
	if r := rows(1002); len(r) != 2 || r[0].PreStart || !r[1].PreStart {
		t.Errorf("rows %+v", r)
	}
	if r := rows(1011); len(r) != 2 {
		t.Errorf("%d rows after 10 s, want 2", len(r))
	}
	if r := rows(1012); len(r) != 0 {
		t.Errorf("%d rows after 11 s, want none", len(r))
	}
	// What moved to a better known owner leaves no row behind.
	s.apply(1012, event.Open, 9, func(e *event.Event) { e.Opener = event.Proc{} })
	s.apply(1012, event.Close, 9, func(e *event.Event) { e.Opener, e.CloseProc = event.Proc{}, event.Proc{PID: 5, Comm: "psql"} })
	if r := rows(1013); len(r) != 1 || r[0].Name() != "psql" {
		t.Errorf("rows %+v", r)
	}
	s.apply(1030, event.Open, 3, nil)
	if r := rows(1031); len(r) != 1 || math.Abs(r[0].Open-1.0/18) > 1e-9 {
		t.Errorf("rows %+v, want one with 1/18 opens/s", r)
	}
}

// Rows stay as they are when the next ones are built.
func TestBuilderKeepsRows(t *testing.T) {
	s := newScript(nil)
	var old []Row
	for i := range int64(30) {
		s.apply(3000+i, event.TimeWaitEnter, uint64(i)+1, nil)
		list, _ := s.build(3000 + i)
		if i == 20 {
			old = list
		}
	}
	if len(old) != 1 || old[0].TimeWait != 21 || old[0].Minute[MinuteBins-1] != 21 {
		t.Errorf("older rows have changed: %+v", old)
	}
}

// A Collector has everything that happened, however long ago, and leaves the events
// that it is given as they are.
func TestCollector(t *testing.T) {
	c := NewCollector()
	for i := range uint64(7) {
		e := event.Event{Time: int64(1+i) * int64(time.Hour), Kind: event.Open, Cookie: i + 1, NetNS: 1, Role: event.Client,
			Local: addr("10.0.0.7:40000"), Remote: addr("10.2.0.9:5432"), Opener: event.Proc{PID: 4242, Comm: "checkout"}}
		for _, k := range []event.Kind{event.Open, event.Close} {
			e.Kind = k
			same := e
			if c.Add(&e); e != same {
				t.Errorf("an event has become %+v, was %+v", e, same)
			}
		}
	}
	list := c.Rows(int64(7 * time.Hour))
	if len(list) != 1 || list[0].Total.Opens != 7 || list[0].Total.Closes != 7 || list[0].Owner.PID != 4242 || Known(list[0].Open) {
		t.Errorf("rows %+v, want one with 7 connections and no rates", list)
	}
}
