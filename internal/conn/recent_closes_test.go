package conn

import (
	"testing"

	"github.com/twtrace/twtrace/internal/event"
)

func TestCloses(t *testing.T) {
	var c *closes
	if c.list() != nil {
		t.Error("closes of none")
	}
	c = new(closes)
	var before []Closed
	for i := range int64(closesKept + 2) {
		c.add(&event.Event{Time: i + 1, Kind: event.Close, Reason: event.PassiveClose})
		list := c.list()
		if want := min(int(i)+1, closesKept); len(list) != want || list[0].Time != i+1 || list[want-1].Time != i+2-int64(want) {
			t.Errorf("after %d: %+v", i+1, list)
		}
		if i == 3 {
			before = list
		}
	}
	if before[0].Time != 4 {
		t.Error("an older list has changed")
	}
}

// What is forgotten leaves the balance as it was.
func TestForget(t *testing.T) {
	tab := New(Options{})
	apply(tab, at(1, event.Open), at(2, event.TimeWaitEnter))
	var before, after Snapshot
	tab.Snapshot(3e9, &before)
	tab.Forget()
	tab.Snapshot(3e9, &after)
	b, a := before.Groups[0], after.Groups[0]
	if a.TimeWait != b.TimeWait || a.Opens != b.Opens || a.Enters != b.Enters || after.Totals.TimeWait != 1 {
		t.Errorf("%+v, was %+v", a.Counters, b.Counters)
	}
	if len(b.Recent) != 1 || b.Way(event.ActiveClose)+b.Way(event.ReasonNone) != 1 || a.Recent != nil || a.Ways != (Ways{}) || a.Lives != 0 {
		t.Errorf("remembers %+v", a)
	}
}
