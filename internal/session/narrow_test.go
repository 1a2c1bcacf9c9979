package session_test

import (
	"errors"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/twtrace/twtrace/internal/conn"
	"github.com/twtrace/twtrace/internal/conn/conntest"
	"github.com/twtrace/twtrace/internal/event"
	"github.com/twtrace/twtrace/internal/filter"
	"github.com/twtrace/twtrace/internal/kernel"
	"github.com/twtrace/twtrace/internal/session"
	"github.com/twtrace/twtrace/internal/session/sessiontest"
	"github.com/twtrace/twtrace/internal/storm"
)

func parseComm(t *testing.T, comm string) *filter.Filter {
	t.Helper()
	comms, err := filter.ParseComms(comm)
	if err != nil {
		t.Fatal(err)
	}
	return &filter.Filter{Comms: comms}
}

// TestNarrow: the table holds only what the filter accepts: connections that it
// accepted once, and listeners.
func TestNarrow(t *testing.T) {
	listen := event.Event{Time: start.UnixNano(), Kind: event.Listen, NetNS: testNetNS, Local: netip.MustParseAddrPort("10.2.0.9:5432"), Process: event.Proc{PID: 9, Comm: "postgres"}}
	closed := of(event.Proc{}, 1, time.Second, event.TimeWaitEnter)
	events := []event.Event{listen, of(checkout, 1, 0, event.Open), of(curl, 2, 0, event.Open), closed, of(event.Proc{}, 2, time.Second, event.TimeWaitEnter)}
	for narrow, want := range map[bool]struct{ events, enters int }{false: {5, 2}, true: {3, 1}} {
		witnessed := 0
		s := newSession(t, &sessiontest.Source{Events: events}, session.Options{Narrow: narrow, Filter: parseComm(t, "checkout"), Witness: func(*event.Event) { witnessed++ }})
		got := run(t, s)
		if n := int(s.Table().Totals().Enters); len(got.events) != want.events || witnessed != 5 || n != want.enters {
			t.Errorf("narrow %v: %v passed on, %d witnessed, %d in TIME_WAIT", narrow, got.kinds(), witnessed, n)
		}
		if len(s.Table().Listeners(testNetNS)) != 1 {
			t.Errorf("narrow %v: no listener", narrow)
		}
	}
}

// TestWanted: what the source adds to the table beside the events. A filter of
// processes is one that the hooks apply: nothing would show the end of other sockets.
func TestWanted(t *testing.T) {
	other := of(curl, 2, 0, event.Snapshot)
	for name, tt := range map[string]struct {
		o           session.Options
		before, now bool // another's socket is wanted from before the trace, and later
	}{
		"all":                  {session.Options{}, true, true},
		"filter":               {session.Options{Filter: parseComm(t, "checkout")}, true, true},
		"narrow":               {session.Options{Filter: parseComm(t, "checkout"), Narrow: true}, true, false},
		"filter of the kernel": {session.Options{Filter: &filter.Filter{PIDs: filter.Set[uint32]{Items: []uint32{checkout.PID}}}}, false, false},
	} {
		src := &sessiontest.Source{Before: []event.Event{other, of(checkout, 1, 0, event.Snapshot)}}
		s := newSession(t, src, tt.o)
		if state := s.Table().Held(&other); (state == event.TimeWait) != tt.before {
			t.Errorf("%s: held from before in %v", name, state)
		}
		late, own, held := of(curl, 3, time.Second, event.Snapshot), of(checkout, 4, time.Second, event.Snapshot), of(curl, 1, time.Second, event.Snapshot)
		if src.Wanted(&late) != tt.now || !src.Wanted(&own) || !src.Wanted(&held) {
			t.Errorf("%s: wanted another's %v, own %v, held %v", name, src.Wanted(&late), src.Wanted(&own), src.Wanted(&held))
		}
	}
}

// churn is a client that opens and closes connections for a time, and its events.
func churn(length time.Duration) []event.Event {
	var events []event.Event
	w := conntest.World{Table: conn.New(conn.Options{}), Ports: 28000, NetNS: testNetNS, OnEvent: func(e *event.Event) { events = append(events, *e) },
		Clients: []*conntest.Client{{Process: checkout, Local: netip.MustParseAddr("10.0.0.7"), Remote: netip.MustParseAddrPort("10.2.0.9:5432"),
			Rate: conntest.Steadily(200), Life: 5 * time.Millisecond}}}
	w.Run(length, nil)
	return events
}

// TestStorms: a storm is found once, and not where the source has the records of its
// own, nor where nobody asks.
func TestStorms(t *testing.T) {
	events := churn(20 * time.Second)
	storms := func(got *seen) (out []event.Event) {
		for _, e := range got.events {
			if e.Storm != nil {
				out = append(out, e)
			}
		}
		return out
	}
	limits := map[uint32]kernel.Limits{testNetNS: sessiontest.Limits(28000)}
	witnessed := 0
	s := newSession(t, &sessiontest.Source{Events: events, ByNetNS: limits, Until: start.Add(80 * time.Second)},
		session.Options{Storms: nil, Witness: func(*event.Event) {}})
	if found := storms(run(t, s)); len(found) != 0 {
		t.Errorf("nobody asked, and found %v", found)
	}
	o := session.Options{Storms: &storm.Options{}}
	o.Witness = func(e *event.Event) {
		if e.Storm != nil {
			witnessed++
		}
	}
	s = newSession(t, &sessiontest.Source{Events: events, ByNetNS: limits, Until: start.Add(80 * time.Second)}, o)
	found := storms(run(t, s))
	n := make(map[string]int)
	for _, e := range found {
		if e.Process.Comm != "checkout" {
			t.Errorf("a storm of %v", e.Process)
		}
		n[fmt.Sprint(e.Kind, " ", e.Reason)]++
	}
	if n["storm_start churn"] != 1 || n["storm_end churn"] != 1 || witnessed != len(found) {
		t.Errorf("found %v, witnessed %d", n, witnessed)
	}

	own := event.Event{Time: start.UnixNano(), Kind: event.StormStart, Reason: event.Churn, Storm: event.NewStorm()}
	s = newSession(t, &sessiontest.Source{Has: true, Events: append([]event.Event{own}, events...), ByNetNS: limits}, session.Options{Storms: &storm.Options{}})
	if found := storms(run(t, s)); len(found) != 1 {
		t.Errorf("the source has 1 storm, and %d were passed on", len(found))
	}

	stop := errors.New("enough")
	s = newSession(t, &sessiontest.Source{Events: events, ByNetNS: limits}, session.Options{Storms: &storm.Options{}})
	if err := s.Run(t.Context(), func(e *event.Event) error {
		if e.Storm != nil {
			return stop
		}
		return nil
	}, func() error { return nil }); err != stop {
		t.Errorf("%v, want %v", err, stop)
	}
}

// TestSetStorms: what a storm is changes while a session runs, if it looks for any.
func TestSetStorms(t *testing.T) {
	limits := map[uint32]kernel.Limits{testNetNS: sessiontest.Limits(28000)}
	for _, asked := range []*storm.Options{{}, nil} {
		s := newSession(t, &sessiontest.Source{Events: churn(20 * time.Second), ByNetNS: limits, Until: start.Add(80 * time.Second)}, session.Options{Storms: asked})
		s.SetStorms(storm.Options{Rate: 1e6})
		for _, e := range run(t, s).events {
			if e.Storm != nil && e.Reason == event.Churn {
				t.Errorf("found %v of %v", e.Kind, e.Reason)
			}
		}
	}
}
