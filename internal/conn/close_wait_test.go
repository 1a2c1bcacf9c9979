package conn

import (
	"testing"

	"github.com/twtrace/twtrace/internal/event"
)

// TestCloseWait: a poll tells connections in CLOSE_WAIT from open ones in the totals, in
// their group and at their destination, until they go on or a later poll shows them no more.
func TestCloseWait(t *testing.T) {
	tab := New(Options{})
	for cookie := range uint64(3) {
		e := with(at(0, event.Open), func(e *event.Event) { e.Cookie = cookie + 1 })
		tab.Apply(&e)
	}
	want := func(step string, established, closing uint64) {
		t.Helper()
		check(t, tab)
		var s Snapshot
		tab.Snapshot(t0, &s)
		for what, c := range map[string]*Counters{"totals": &s.Totals.Counters, "group": &s.Groups[0].Counters} {
			if c.Established != established || c.CloseWait != closing || c.Open() != established+closing {
				t.Errorf("%s: %s: %d established, %d in CLOSE_WAIT; want %d, %d", step, what, c.Established, c.CloseWait, established, closing)
			}
		}
		if d := s.Destinations[0]; d.Established != int(established) || d.CloseWait != int(closing) || d.Used() != int(established+closing) && step != "end" {
			t.Errorf("%s: destination %+v", step, d)
		}
	}
	want("nobody has asked", 3, 0)
	if at := tab.Totals().CloseWaitAt; at != 0 {
		t.Errorf("polled at %d", at)
	}
	tab.SetCloseWait(t0, []uint64{1, 2, 99})
	want("first poll", 1, 2)
	tab.SetCloseWait(t0+second, []uint64{2, 3})
	want("second poll", 1, 2)
	e := with(at(2, event.Close), func(e *event.Event) { e.Cookie = 2 })
	tab.Apply(&e)
	want("one ends", 1, 1)
	tab.SetCloseWait(t0+3*second, []uint64{2, 3})
	want("a poll that ran beside the end", 1, 1)
	e = with(at(4, event.TimeWaitEnter), func(e *event.Event) { e.Cookie = 3 })
	tab.Apply(&e)
	want("end", 1, 0)
	if at := tab.Totals().CloseWaitAt; at != t0+3*second {
		t.Errorf("polled at %d", at)
	}
}
