package conn

import (
	"testing"
	"time"

	"github.com/twtrace/twtrace/internal/event"
)

// TestLongWaits counts those whose timer was restarted, once each, in the group and in all.
func TestLongWaits(t *testing.T) {
	tab := New(Options{})
	for i, tt := range []struct {
		in     time.Duration
		rearms uint32
	}{{61 * time.Second, 0}, {65 * time.Second, 1}, {LongWait, 2}, {90 * time.Second, 0}, {90 * time.Second, 1}, {4 * time.Minute, 3}} {
		own := func(e *event.Event) {
			e.Cookie = uint64(100 + i)
			e.InState, e.Rearms, e.Reason = int64(tt.in), tt.rearms, event.Expired
		}
		exit := with(at(300, event.TimeWaitExit), own)
		apply(tab, with(at(1, event.Open), own), with(at(2, event.TimeWaitEnter), own), exit, exit)
	}
	want := LongWaits{N: 2, Rearms: 4}
	if got := tab.Totals().Long; got != want {
		t.Errorf("in all %+v, want %+v", got, want)
	}
	var sum Counters
	for _, g := range tab.Groups(nil) {
		sum.Add(&g.Counters)
	}
	if sum.Long != want {
		t.Errorf("in the groups %+v, want %+v", sum.Long, want)
	}
}
