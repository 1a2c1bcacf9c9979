package tracer

import (
	"errors"
	"io"
	"sync"
	"time"

	"github.com/twtrace/twtrace/internal/event"
)

// Programs write without waking the reader, which polls the ring every interval; sooner
// when the last poll found it filling up.
const (
	pollInterval = 50 * time.Millisecond
	busyInterval = 5 * time.Millisecond
)

// ErrIdle is returned by Read each time the ring has been read empty: the moment
// to flush output. It is no failure; the next Read waits for more.
var ErrIdle = errors.New("no events at the moment")

// reader takes samples out of the ring, decodes them, and waits where there are none.
type reader struct {
	ring      *ringReader
	dec       decoder
	undecoded uint64 // samples that are no events
	size      int    // bytes read since the ring was last empty
	idle      bool
	emptied   time.Time
	stop      chan struct{}
	stopOnce  sync.Once
	stopped   bool
	tend      func() // called before each wait
	end       func() // called once, after Stop and before the last round
}

// Read returns the next event in e. It returns ErrIdle whenever the ring is
// empty, and io.EOF when it is empty after Stop.
func (r *reader) Read(e *event.Event) error {
	if r.idle {
		r.wait()
		r.idle = false
	}
	for {
		sample := r.ring.next()
		if sample == nil {
			if now := time.Now(); r.ring.empty() {
				r.emptied = now
			} else if r.stopped { // a program is about to finish its last sample
				time.Sleep(time.Millisecond)
				continue
			}
			return r.empty()
		}
		r.size += len(sample)
		if err := r.dec.decode(sample, e); err != nil {
			r.undecoded++
			continue
		}
		return nil
	}
}

// Emptied returns a time at which the ring was empty: what was written before has been
// read. Idle alone does not say so much: whoever learns of it may have slept since.
func (r *reader) Emptied() time.Time { return r.emptied }

// empty is called when the ring has been read empty.
func (r *reader) empty() error {
	if r.stopped {
		return io.EOF
	}
	select {
	case <-r.stop:
		r.finish() // and one more round, for what was written before the hooks went
	default:
		r.idle = true
	}
	return ErrIdle
}

// wait sleeps until it is time to poll the ring.
func (r *reader) wait() {
	interval := pollInterval
	if r.size > r.ring.size()/8 {
		interval = busyInterval
	}
	r.size = 0
	r.tend()
	select {
	case <-time.After(interval):
	case <-r.stop:
	}
}

// Stop makes Read return what is left and then io.EOF. It may be called from any
// goroutine, and more than once.
func (r *reader) Stop() { r.stopOnce.Do(func() { close(r.stop) }) }

func (r *reader) finish() {
	if !r.stopped {
		r.stopped = true
		r.end()
	}
}
