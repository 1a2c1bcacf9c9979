package main

import (
	"sync"
	"time"
)

// transport is how a user moves the time of a tape. Paused, it goes on by single
// states, as fast as they can be read. The zero transport plays.
type transport struct {
	mu      sync.Mutex
	paused  bool
	steps   int           // states to let through while paused
	changed chan struct{} // closed when that changes
}

// replay is the view's source over trace files: a view.Player.
type replay struct {
	*live
	*transport
}

// Pause stops the time of the recording, or has it go on.
func (t *transport) Pause(paused bool) {
	t.change(func() { t.paused, t.steps = paused, 0 })
}

// Step lets one more state through while paused.
func (t *transport) Step() { t.change(func() { t.steps++ }) }

// stepped tells that a state came out.
func (t *transport) stepped() { t.change(func() { t.steps = max(t.steps-1, 0) }) }

func (t *transport) change(f func()) {
	t.mu.Lock()
	defer t.mu.Unlock()
	f()
	if t.changed != nil {
		close(t.changed)
		t.changed = nil
	}
}

// wait returns when the time may go on: at due or, paused, for the next step, and at
// once if quit is closed.
func (t *transport) wait(due time.Time, quit <-chan struct{}) {
	for {
		t.mu.Lock()
		if t.changed == nil {
			t.changed = make(chan struct{})
		}
		paused, steps, changed := t.paused, t.steps, t.changed
		t.mu.Unlock()
		var at <-chan time.Time
		switch {
		case paused && steps > 0:
			return
		case !paused:
			at = time.After(time.Until(due))
		}
		select {
		case <-at:
			return
		case <-quit:
			return
		case <-changed:
		}
	}
}
