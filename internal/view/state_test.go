package view

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/twtrace/twtrace/internal/conn"
	"github.com/twtrace/twtrace/internal/event"
	"github.com/twtrace/twtrace/internal/pressure"
	"github.com/twtrace/twtrace/internal/rows"
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

// states makes states of snapshots, as a monitor does.
type states struct {
	Builder
	meter *pressure.Meter
	snap  conn.Snapshot
}

func newStates(limits conn.LimitsFunc) *states {
	return &states{Builder: Builder{Limits: limits}, meter: pressure.NewMeter(limits)}
}

// of makes the state at a snapshot.
func (b *states) of(s *conn.Snapshot) *State {
	r := b.meter.Measure(s)
	return b.Build(s, &r)
}

// at makes the state of a table at a time.
func (b *states) at(tab *conn.Table, now int64) *State {
	tab.Snapshot(now, &b.snap)
	return b.of(&b.snap)
}

func TestBuilder(t *testing.T) {
	s := script{tab: conn.New(conn.Options{Limits: limits100})}
	b := newStates(limits100)
	b.Host, b.Begin = "web-07", time.Unix(1000, 0)
	build := func(sec int64) *State { return b.at(s.tab, sec*int64(time.Second)) }

	for c := range uint64(11) {
		s.apply(1001, event.Open, c+1, nil)
		s.apply(1001, event.TimeWaitEnter, c+1, nil)
	}
	st := build(1002)
	if rows.Known(st.Rates.In) || st.Interval != 0 || len(st.Past.Opened) != 0 {
		t.Errorf("rates %+v before an interval has passed", st.Rates)
	}
	if st.TimeWait != 11 || st.Uptime != 2*time.Second || st.Host != "web-07" {
		t.Errorf("%d in TIME_WAIT, up %v", st.TimeWait, st.Uptime)
	}
	// Two seconds later: 60 more, of which 30 ended.
	for c := range uint64(60) {
		s.apply(1003, event.Open, c+12, nil)
		s.apply(1003, event.TimeWaitEnter, c+12, nil)
		if c < 30 {
			s.apply(1003, event.TimeWaitExit, c+12, nil)
		}
	}
	st = build(1004)
	if want := (rows.Rates{In: 30, Out: 15, Open: 30, Close: 30}); st.Rates != want || st.Interval != 2*time.Second {
		t.Errorf("rates %+v over %v, want %+v", st.Rates, st.Interval, want)
	}
	if len(st.Rows) != 1 || st.Rows[0].TimeWait != 41 || st.Rows[0].Rates != st.Rates {
		t.Errorf("rows %+v", st.Rows)
	}
	if w := st.Worst; w == nil || w.Remote != addr("10.2.0.9:5432") || w.Used != 41 {
		t.Errorf("worst %+v", w)
	}
	// 30 more a second: full in two.
	if want := (Buckets{Severity: event.Crit, NetNS: 1, Used: 41, Max: 90, Only: true}); st.Buckets != want {
		t.Errorf("buckets %+v, want %+v", st.Buckets, want)
	}
	if fmt.Sprint(st.Past.TimeWait, st.Past.Opened, st.Past.Failed) != "[41] [30] [0]" {
		t.Errorf("history %+v", st.Past)
	}
	b.Forget()
	if st = build(1005); fmt.Sprint(st.Past.TimeWait, st.Past.Opened) != "[41] [0]" {
		t.Errorf("history %+v after it was forgotten", st.Past)
	}
}

func TestBuilderSeverity(t *testing.T) {
	s := script{tab: conn.New(conn.Options{Limits: limits100})}
	b := newStates(limits100)
	sec := int64(2000)
	build := func() *State {
		sec += 6
		return b.at(s.tab, sec*int64(time.Second))
	}
	for c := range uint64(79) {
		s.apply(sec, event.TimeWaitEnter, c+1, nil)
	}
	if st := build(); st.Rows[0].Severity != event.SeverityNone || st.Buckets.Severity != event.Warn { // 79 of 100, 79 of 90
		t.Errorf("79 of 100 is %v, 79 of 90 is %v", st.Rows[0].Severity, st.Buckets.Severity)
	}
	s.apply(sec, event.TimeWaitEnter, 80, nil)
	if st := build(); st.Rows[0].Severity != event.Warn {
		t.Errorf("80 of 100 is %v", st.Rows[0].Severity)
	}
	for c := range uint64(16) { // nearly none is free
		s.apply(sec, event.Open, 101+c, nil)
	}
	s.apply(sec, event.Fail, 0, func(e *event.Event) { e.Call, e.Errno = event.Connect, 99 })
	s.apply(sec, event.TimeWaitRefused, 81, nil)
	if st := build(); st.Rows[0].Severity != event.Crit || st.Buckets.Severity != event.Crit || !st.Buckets.Refusing || st.Rates.Fail != 1.0/6 {
		t.Errorf("refused now: %v, %v, %v fails/s", st.Rows[0].Severity, st.Buckets.Severity, st.Rates.Fail)
	}
	for c := range uint64(16) { // ports are free again
		s.apply(sec, event.Close, 101+c, nil)
	}
	if st := build(); st.Rows[0].Severity != event.Warn || st.Buckets.Severity != event.Warn {
		t.Errorf("no longer refused: %v, %v", st.Rows[0].Severity, st.Buckets.Severity)
	}
}

func TestBuilderBuckets(t *testing.T) {
	tab := conn.New(conn.Options{})
	// A recording may have limits of one namespace only, under 0.
	b := newStates(func(ns uint32) (conn.Limits, bool) { return conn.Limits{MaxTW: max(int64(ns)*100, 50)}, ns < 3 })
	buckets := func() Buckets { return b.at(tab, 1000).Buckets }
	if got, want := buckets(), (Buckets{Max: 50, Only: true}); got != want {
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
	b := newStates(nil)
	var old *State
	for i := range int64(historyLen + 10) {
		s.apply(3000+i, event.TimeWaitEnter, uint64(i)+1, nil)
		st := b.at(s.tab, (3000+i)*int64(time.Second))
		if i == 20 {
			old = st
		}
		if i == historyLen+9 && (len(st.Past.TimeWait) != historyLen || st.Past.TimeWait[0] != 11 || st.Past.TimeWait[historyLen-1] != historyLen+10 || st.Past.Before != 9) {
			t.Errorf("history %+v", st.Past)
		}
	}
	if len(old.Past.TimeWait) != 20 || old.Past.TimeWait[19] != 21 || len(old.Rows) != 1 || old.Rows[0].TimeWait != 21 {
		t.Errorf("an older state has changed: %+v", old.Past)
	}
}

func TestArrangeIsStable(t *testing.T) {
	list := storm().Rows
	want := rows.Arrange(list, rows.ByFlow, rows.SortTimeWait)
	for i := range list {
		list[i], list[0] = list[0], list[i]
		for by := range rows.Sorts {
			a, b := rows.Arrange(list, rows.ByFlow, by), rows.Arrange(storm().Rows, rows.ByFlow, by)
			for j := range a {
				if a[j].Name() != b[j].Name() || a[j].Remote != b[j].Remote {
					t.Fatalf("by %v: row %d is %s, was %s", by, j, a[j].Name(), b[j].Name())
				}
			}
		}
	}
	for i, name := range []string{"checkout", "curl", "envoy", "python3", "nginx", "java", "kubelet", "(pre-start)"} {
		if want[i].Name() != name {
			t.Errorf("row %d is %s, want %s", i, want[i].Name(), name)
		}
	}
}

func TestGroupsAddUp(t *testing.T) {
	var want uint64
	for _, r := range processes().Rows {
		want += r.TimeWait
	}
	for _, g := range rows.Groupings() {
		var got uint64
		for _, r := range rows.Arrange(processes().Rows, g, rows.SortTimeWait) {
			got += r.TimeWait
		}
		if got != want {
			t.Errorf("by %v: %d in TIME_WAIT, want %d", g, got, want)
		}
	}
}
