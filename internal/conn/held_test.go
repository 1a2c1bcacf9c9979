package conn

import (
	"testing"

	"github.com/twtrace/twtrace/internal/event"
)

func TestHeld(t *testing.T) {
	parked := func(e event.Event) event.Event { e.New = event.FinWait2; return e }
	tests := []struct {
		name     string
		events   []event.Event
		state    event.State
		snapshot bool
	}{
		{"nothing", nil, event.StateNone, false},
		{"open", []event.Event{at(0, event.Open)}, event.Established, false},
		{"parked", []event.Event{at(0, event.Open), at(1, event.Parked)}, event.FinWait2, false},
		{"in TIME_WAIT", []event.Event{at(0, event.TimeWaitEnter)}, event.TimeWait, false},
		{"from before", []event.Event{at(0, event.Snapshot)}, event.TimeWait, true},
		{"parked before", []event.Event{parked(at(0, event.Snapshot))}, event.FinWait2, false},
		{"parked before, and promoted", []event.Event{parked(at(0, event.Snapshot)), at(1, event.TimeWaitEnter)}, event.TimeWait, false},
		{"found after a loss", []event.Event{at(0, event.Open), at(1, event.Snapshot)}, event.TimeWait, true},
		{"ended", []event.Event{at(0, event.TimeWaitEnter), at(61, event.TimeWaitExit)}, event.StateNone, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			tab := New(Options{})
			for i := range test.events {
				e := test.events[i]
				tab.Apply(&e)
			}
			e := at(2, event.TimeWaitExit)
			if state, snapshot := tab.Held(&e); state != test.state || snapshot != test.snapshot {
				t.Errorf("got %v, %v; want %v, %v", state, snapshot, test.state, test.snapshot)
			}
		})
	}
}
