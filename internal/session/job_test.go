package session

import (
	"testing"
	"time"

	"github.com/twtrace/twtrace/internal/event"
)

// TestOver: what a command closed as it ended has a moment to end, too.
func TestOver(t *testing.T) {
	j := Job{open: make(map[uint64]struct{})}
	see := func(cookie uint64, k event.Kind) { j.witness(&event.Event{Cookie: cookie, Kind: k}) }
	ended := func(ago time.Duration) { j.since.Store(time.Now().Add(-ago).UnixNano()) }
	if j.over() {
		t.Error("over, and it runs")
	}
	ended(0)
	if !j.over() {
		t.Error("not over, with no connection open")
	}
	for i := range uint64(4) {
		see(i, event.Open)
	}
	if j.over() {
		t.Error("over, with connections open")
	}
	for i, k := range []event.Kind{event.TimeWaitEnter, event.TimeWaitRefused, event.Close, event.StateChange} {
		see(uint64(i), k)
	}
	if j.over() || len(j.open) != 1 {
		t.Errorf("over %v, with %d connections open, want 1", j.over(), len(j.open))
	}
	ended(lingering + time.Second)
	if !j.over() {
		t.Error("not over long after its end")
	}
	for i := range uint64(maxOpen + 9) {
		see(i, event.Open)
	}
	if len(j.open) != maxOpen {
		t.Errorf("%d connections known", len(j.open))
	}
}
