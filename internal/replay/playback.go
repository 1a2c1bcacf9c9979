package replay

import (
	"sync"
	"time"
)

// Playback is how a user moves the time of a recording. Paused, it goes on by single
// displays, as fast as they can be read. The zero Playback plays. Any goroutine may
// call its methods.
type Playback struct {
	mu      sync.Mutex
	paused  bool
	steps   int           // displays to let through while paused
	changed chan struct{} // closed when that changes
}

// Pause stops the time of the recording, or lets it go on.
func (p *Playback) Pause(paused bool) {
	p.change(func() { p.paused, p.steps = paused, 0 })
}

// Step lets one more display through while paused.
func (p *Playback) Step() { p.change(func() { p.steps++ }) }

// Stepped is called when a display came out.
func (p *Playback) Stepped() { p.change(func() { p.steps = max(p.steps-1, 0) }) }

func (p *Playback) change(f func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f()
	if p.changed != nil {
		close(p.changed)
		p.changed = nil
	}
}

// wait returns when the time may go on: at due or, paused, for the next step, and at
// once if quit is closed.
func (p *Playback) wait(due time.Time, quit <-chan struct{}) {
	for {
		p.mu.Lock()
		if p.changed == nil {
			p.changed = make(chan struct{})
		}
		paused, steps, changed := p.paused, p.steps, p.changed
		p.mu.Unlock()
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
