package diagnose

import (
	"testing"
	"time"

	"github.com/twtrace/twtrace/internal/event"
)

// TestPools: how many connections each program keeps to a destination, and opens beside them.
func TestPools(t *testing.T) {
	b := newBench(t, 1000, Options{})
	worker := event.Proc{PID: 4243, Comm: "checkout"}
	once := event.Proc{PID: 9, Comm: "once"}
	b.open(checkout, postgres, 2) // kept
	b.open(once, postgres, 3)     // too few to be followed
	for range 60 {
		first, second := b.open(checkout, postgres, 8), b.open(worker, postgres, 5)
		b.at += 50 * time.Millisecond
		b.end(checkout, postgres, first, 8, event.TimeWaitEnter, 50*time.Millisecond)
		b.end(worker, postgres, second, 5, event.TimeWaitEnter, 50*time.Millisecond)
		b.at += 50 * time.Millisecond
	}
	list := b.facts().Destinations[0].Openers.List
	if len(list) != 2 || list[0].Process.Comm != "checkout" || list[0].PIDs != 2 || list[0].N != 2+60*8+60*5 || list[1].Process.Comm != "once" {
		t.Fatalf("%+v", list)
	}
	p := list[0].Pool
	if p.Over != 5*time.Second || p.Kept != 2 || p.Most != 10 || p.Burst != 10 || p.Emptied || p.Together || p.Closed != 50*13 || p.Brief != p.Closed || list[0].Flow.Short != 1 {
		t.Errorf("%+v", p)
	}
	if list[1].Pool.Over != 0 {
		t.Errorf("it was followed: %+v", list[1])
	}
	// One of them alone keeps none.
	b = newBench(t, 1000, Options{})
	for range 60 {
		first := b.open(worker, postgres, 5)
		b.at += 50 * time.Millisecond
		b.end(worker, postgres, first, 5, event.TimeWaitEnter, 50*time.Millisecond)
		b.at += 50 * time.Millisecond
	}
	if p := b.facts().Destinations[0].Openers.List[0].Pool; !p.Emptied || p.Kept != 0 || p.Most != 5 {
		t.Errorf("%+v", p)
	}
}
