package conn

import (
	"net/netip"
	"testing"

	"github.com/twtrace/twtrace/internal/event"
)

func TestLookup(t *testing.T) {
	tab := New(Options{})
	owner := event.Proc{PID: 42, Comm: "client"}
	e := event.Event{Time: 1, Kind: event.Open, Cookie: 7, NetNS: 1, Role: event.Client, Opener: owner,
		Local: netip.MustParseAddrPort("10.0.0.7:40000"), Remote: netip.MustParseAddrPort("10.0.0.9:80")}
	tab.Apply(&e)
	if s, ok := tab.Lookup(7); !ok || !s.Process.Is(owner) || s.Remote != e.Remote || s.State != event.Established {
		t.Errorf("cookie 7 is %+v, %v", s, ok)
	}
	if s, ok := tab.Lookup(8); ok {
		t.Errorf("cookie 8 is %+v", s)
	}
	e.Kind, e.Time = event.Close, 2
	tab.Apply(&e)
	if s, ok := tab.Lookup(7); ok {
		t.Errorf("after the close, cookie 7 is %+v", s)
	}
}

func TestHeld(t *testing.T) {
	parked := func(e event.Event) event.Event { e.New = event.FinWait2; return e }
	tests := []struct {
		name   string
		events []event.Event
		state  event.State
	}{
		{"nothing", nil, event.StateNone},
		{"open", []event.Event{at(0, event.Open)}, event.Established},
		{"parked", []event.Event{at(0, event.Open), at(1, event.Parked)}, event.FinWait2},
		{"in TIME_WAIT", []event.Event{at(0, event.TimeWaitEnter)}, event.TimeWait},
		{"from before", []event.Event{at(0, event.Snapshot)}, event.TimeWait},
		{"parked before", []event.Event{parked(at(0, event.Snapshot))}, event.FinWait2},
		{"parked before, and promoted", []event.Event{parked(at(0, event.Snapshot)), at(1, event.TimeWaitEnter)}, event.TimeWait},
		{"found after a loss", []event.Event{at(0, event.Open), at(1, event.Snapshot)}, event.TimeWait},
		{"ended", []event.Event{at(0, event.TimeWaitEnter), at(61, event.TimeWaitExit)}, event.StateNone},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			tab := New(Options{})
			for i := range test.events {
				e := test.events[i]
				tab.Apply(&e)
			}
			e := at(2, event.TimeWaitExit)
			if state := tab.Held(&e); state != test.state {
				t.Errorf("got %v, want %v", state, test.state)
			}
		})
	}
}
