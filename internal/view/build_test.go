package view

import (
	"fmt"
	"math"
	"net/netip"
	"testing"
	"time"

	"github.com/twtrace/twtrace/internal/conn"
	"github.com/twtrace/twtrace/internal/event"
)

// script feeds a table with connections of one client to one destination.
type script struct{ tab *conn.Table }

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

func limits100(ns uint32) (conn.Limits, bool) {
	return conn.Limits{PortLow: 40000, PortHigh: 40099, Usable: 100, MaxTW: 90}, ns == 1
}

func TestBuilder(t *testing.T) {
	s := script{tab: conn.New(conn.Options{Limits: limits100})}
	b := Builder{Host: "web-07", Begin: time.Unix(1000, 0), Limits: limits100}
	var snap conn.Snapshot
	build := func(sec int64) *State {
		s.tab.Snapshot(sec*int64(time.Second), &snap)
		return b.Build(&snap)
	}

	for c := range uint64(10) {
		s.apply(1001, event.Open, c+1, nil)
		s.apply(1001, event.TimeWaitEnter, c+1, nil)
	}
	s.apply(1001, event.Snapshot, 500, func(e *event.Event) { e.Opener, e.Remote = event.Proc{}, addr("10.2.0.9:80") })
	st := build(1002)
	if !math.IsNaN(st.Rates.In) || !math.IsNaN(st.Rows[0].Open) || st.Interval != 0 {
		t.Errorf("rates %+v before an interval has passed", st.Rates)
	}
	if st.TimeWait != 11 || st.Uptime != 2*time.Second || st.Host != "web-07" {
		t.Errorf("%d in TIME_WAIT, up %v", st.TimeWait, st.Uptime)
	}
	if rows := Arrange(st.Rows, ByFlow, SortTimeWait); len(rows) != 2 || rows[0].PreStart || !rows[1].PreStart || rows[1].name() != "(pre-start)" {
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
	st = build(1004)
	if want := (Rates{In: 30, Out: 15, Open: 30.5, Close: 30}); st.Rates != want {
		t.Errorf("rates %+v, want %+v", st.Rates, want)
	}
	rows := Arrange(st.Rows, ByFlow, SortTimeWait)
	if want := (Rates{In: 30, Out: 15, Open: 30, Close: 30}); rows[0].Rates != want || rows[0].TimeWait != 40 {
		t.Errorf("%s: %d, %+v, want %+v", rows[0].name(), rows[0].TimeWait, rows[0].Rates, want)
	}
	if rows[2].Open != 0.5 || rows[2].Ports != 41 || rows[2].Usable != 100 {
		t.Errorf("the new owner's rate %v, ports %d of %d; want 0.5, and those of all owners", rows[2].Open, rows[2].Ports, rows[2].Usable)
	}
	if w := st.Worst; w == nil || w.Remote != addr("10.2.0.9:5432") || w.Used != 41 {
		t.Errorf("worst %+v", w)
	}
	// 30 more a second: full in two.
	if want := (Buckets{Severity: Crit, NetNS: 1, Used: 41, Max: 90, Only: true}); st.Buckets != want {
		t.Errorf("buckets %+v, want %+v", st.Buckets, want)
	}
	if fmt.Sprint(st.History) != "[11 41]" {
		t.Errorf("history %v", st.History)
	}
}

func TestBuilderSeverity(t *testing.T) {
	s := script{tab: conn.New(conn.Options{Limits: limits100})}
	b := Builder{Limits: limits100}
	var snap conn.Snapshot
	sec := int64(2000)
	build := func() *State {
		sec += 6
		s.tab.Snapshot(sec*int64(time.Second), &snap)
		return b.Build(&snap)
	}
	for c := range uint64(79) {
		s.apply(sec, event.TimeWaitEnter, c+1, nil)
	}
	if st := build(); st.Rows[0].Severity != Fine || st.Buckets.Severity != Warn { // 79 of 100, 79 of 90
		t.Errorf("79 of 100 is %v, 79 of 90 is %v", st.Rows[0].Severity, st.Buckets.Severity)
	}
	s.apply(sec, event.TimeWaitEnter, 80, nil)
	if st := build(); st.Rows[0].Severity != Warn {
		t.Errorf("80 of 100 is %v", st.Rows[0].Severity)
	}
	s.apply(sec, event.Fail, 0, func(e *event.Event) { e.Call, e.Errno = event.Connect, 99 })
	s.apply(sec, event.TimeWaitRefused, 81, nil)
	if st := build(); st.Rows[0].Severity != Crit || st.Buckets.Severity != Crit || !st.Buckets.Refusing || st.Rates.Fail != 1.0/6 {
		t.Errorf("refused now: %v, %v, %v fails/s", st.Rows[0].Severity, st.Buckets.Severity, st.Rates.Fail)
	}
	if st := build(); st.Rows[0].Severity != Warn || st.Buckets.Severity != Warn {
		t.Errorf("no longer refused: %v, %v", st.Rows[0].Severity, st.Buckets.Severity)
	}
}

// A row that has ended stays for a moment, and comes back with its own numbers.
func TestBuilderLinger(t *testing.T) {
	s := script{tab: conn.New(conn.Options{})}
	b := Builder{}
	var snap conn.Snapshot
	rows := func(sec int64) []Row {
		s.tab.Snapshot(sec*int64(time.Second), &snap)
		return b.Build(&snap).Rows
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
	if r := rows(1013); len(r) != 1 || r[0].name() != "psql" {
		t.Errorf("rows %+v", r)
	}
	s.apply(1030, event.Open, 3, nil)
	if r := rows(1031); len(r) != 1 || math.Abs(r[0].Open-1.0/18) > 1e-9 {
		t.Errorf("rows %+v, want one with 1/18 opens/s", r)
	}
}

func TestBuilderBuckets(t *testing.T) {
	tab := conn.New(conn.Options{})
	limits := func(ns uint32) (conn.Limits, bool) { return conn.Limits{MaxTW: uint64(ns) * 100}, ns < 3 }
	b := Builder{Limits: limits, NetNS: 2}
	var snap conn.Snapshot
	buckets := func() Buckets {
		tab.Snapshot(1000, &snap)
		return b.Build(&snap).Buckets
	}
	if got, want := buckets(), (Buckets{NetNS: 2, Max: 200, Only: true}); got != want {
		t.Errorf("nothing seen: %+v, want %+v", got, want)
	}
	s := script{tab: tab}
	in := func(ns uint32, cookie uint64, k event.Kind) {
		s.apply(0, k, cookie, func(e *event.Event) { e.NetNS = ns })
	}
	in(1, 1, event.Open)
	if got, want := buckets(), (Buckets{NetNS: 1, Max: 100, Only: true}); got != want {
		t.Errorf("no mini-socket: %+v, want %+v", got, want)
	}
	in(2, 2, event.TimeWaitEnter)
	in(2, 3, event.Parked)
	in(1, 1, event.TimeWaitEnter)
	in(7, 4, event.TimeWaitEnter) // limit unknown
	if got, want := buckets(), (Buckets{NetNS: 2, Used: 2, Max: 200}); got != want {
		t.Errorf("as full, and larger: %+v, want %+v", got, want)
	}
	in(1, 5, event.TimeWaitEnter)
	if got, want := buckets(), (Buckets{NetNS: 1, Used: 2, Max: 100}); got != want {
		t.Errorf("the larger share: %+v, want %+v", got, want)
	}
}

// The history is bounded, and a state keeps its own.
func TestBuilderHistory(t *testing.T) {
	s := script{tab: conn.New(conn.Options{})}
	b := Builder{}
	var snap conn.Snapshot
	var old *State
	for i := range int64(historyLen + 10) {
		s.apply(3000+i, event.TimeWaitEnter, uint64(i)+1, nil)
		s.tab.Snapshot((3000+i)*int64(time.Second), &snap)
		st := b.Build(&snap)
		if i == 20 {
			old = st
		}
		if i == historyLen+9 && (len(st.History) != historyLen || st.History[0] != 11 || st.History[historyLen-1] != historyLen+10) {
			t.Errorf("history %v", st.History)
		}
	}
	if len(old.History) != 21 || old.History[20] != 21 || len(old.Rows) != 1 || old.Rows[0].TimeWait != 21 {
		t.Errorf("an older state has changed: %v", old.History)
	}
}

func TestArrangeIsStable(t *testing.T) {
	rows := storm().Rows
	want := Arrange(rows, ByFlow, SortTimeWait)
	for i := range rows {
		rows[i], rows[0] = rows[0], rows[i]
		for by := range sorts {
			a, b := Arrange(rows, ByFlow, by), Arrange(storm().Rows, ByFlow, by)
			for j := range a {
				if a[j].name() != b[j].name() || a[j].Remote != b[j].Remote {
					t.Fatalf("by %v: row %d is %s, was %s", by, j, a[j].name(), b[j].name())
				}
			}
		}
	}
	for i, name := range []string{"checkout", "curl", "envoy", "python3", "nginx", "java", "kubelet", "(pre-start)"} {
		if want[i].name() != name {
			t.Errorf("row %d is %s, want %s", i, want[i].name(), name)
		}
	}
}

func TestGroupsAddUp(t *testing.T) {
	var want uint64
	for _, r := range processes().Rows {
		want += r.TimeWait
	}
	for g := range groupings {
		var got uint64
		for _, r := range Arrange(processes().Rows, g, SortTimeWait) {
			got += r.TimeWait
		}
		if got != want {
			t.Errorf("by %v: %d in TIME_WAIT, want %d", g, got, want)
		}
	}
}
