package advice

import (
	"testing"
	"time"

	"github.com/twtrace/twtrace/internal/event"
)

// Shares of all who contribute, each with its own rate, the processes of a program folded.
func TestContributors(t *testing.T) {
	f := Facts{Window: 10 * time.Second}
	var c Contributors
	c.Add(event.Proc{PID: 13, Comm: "search"}, 1, 250)
	c.Add(event.Proc{PID: 11, Comm: "orders"}, 1, 400)
	c.Add(event.Proc{PID: 12, Comm: "billing"}, 1, 300)
	if got, want := f.rates(&c), "orders[11] 40/s (42%), billing[12] 30/s (31%), search[13] 25/s (26%)"; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if c.Most().Process.PID != 11 || c.Part(event.Proc{Comm: "search"}) != 250 || c.Part(event.Proc{Comm: "shop"}) != 0 {
		t.Errorf("%+v", c)
	}
	var w Contributors
	for pid := range uint32(4) {
		w.Add(event.Proc{PID: 21 + pid, Comm: "worker"}, 1, 200)
	}
	if got, want := f.rates(&w), "worker (4 processes) 80/s"; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	w.Add(event.Proc{}, 0, 200)
	if got, want := w.counts(), "worker (4 processes) 800 (80%), not known 20%"; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	var none Contributors
	none.Add(event.Proc{PID: 7, Comm: "idle"}, 1, 0)
	if none.counts() != "" || len(none.List) != 0 {
		t.Errorf("%+v: nothing was counted", none)
	}
}
