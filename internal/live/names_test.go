package live

import (
	"errors"
	"io"
	"testing"

	"github.com/twtrace/twtrace/internal/event"
	"github.com/twtrace/twtrace/internal/process"
	"github.com/twtrace/twtrace/internal/tracer"
)

// source yields events numbered by their cookie, each of a process of its own that is
// not there any more, in bursts, and then an end.
func source(events, burst int) func(*event.Event) error {
	n, idle := 0, false
	return func(e *event.Event) error {
		switch {
		case n == events:
			return io.EOF
		case !idle && n%burst == 0:
			idle = true
			return tracer.ErrIdle
		}
		n++
		idle = false
		*e = event.Event{Kind: event.Open, Cookie: uint64(n), Opener: event.Proc{PID: 4194303, Comm: "gone", Who: &event.Who{Start: uint64(n)}}}
		return nil
	}
}

// TestNamerKeepsOrder: every event comes out once, in order, and before the idle
// moment or the end that it came before.
func TestNamerKeepsOrder(t *testing.T) {
	t.Parallel()
	const events, burst = 20000, 3000 // more than may be looked up in a second
	n := newNamer(source(events, burst), process.Options{})
	defer n.stop()
	var e event.Event
	for got := uint64(0); ; {
		switch err := n.next(&e); {
		case err == nil:
			if got++; e.Cookie != got || e.Opener.Comm != "gone" || e.Opener.PID != 4194303 {
				t.Fatalf("event %d is %+v", got, e)
			}
		case errors.Is(err, tracer.ErrIdle):
			if got%burst != 0 {
				t.Fatalf("idle after %d events", got)
			}
		case errors.Is(err, io.EOF):
			if got != events {
				t.Fatalf("%d events of %d", got, events)
			}
			names := n.unnamed()
			if sum := names["gone"] + names["throttled"]; sum < events || names["gone"] == 0 {
				t.Errorf("%v of %d processes", names, events)
			}
			return
		default:
			t.Fatal(err)
		}
	}
}

// TestNamerWaitsForNobody: with a resolver that answers nothing, events go on.
func TestNamerWaitsForNobody(t *testing.T) {
	t.Parallel()
	n := newNamer(source(100, 10), process.Options{})
	n.stop()
	var e event.Event
	for got := 0; ; {
		switch err := n.next(&e); {
		case err == nil:
			got++
		case errors.Is(err, io.EOF):
			if names := n.unnamed(); got != 100 || names["throttled"] != 100 {
				t.Errorf("%d events; %v", got, names)
			}
			return
		case !errors.Is(err, tracer.ErrIdle):
			t.Fatal(err)
		}
	}
}
