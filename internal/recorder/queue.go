package recorder

import (
	"bytes"
	"io"
	"sync"
)

// Queue writes to a reader who may be slow: Write takes what it is given along, and never
// waits. It holds no more than some bytes, if whoever writes stops while it is Full.
type Queue struct {
	w    io.Writer
	most int

	mu    sync.Mutex
	held  [][]byte
	size  int
	over  bool
	err   error         // of w; final
	wake  chan struct{} // something is held, or it is over
	ended chan struct{} // closed when nothing is written any more
}

// NewQueue returns a queue in front of w that is full with so many bytes.
func NewQueue(w io.Writer, most int) *Queue {
	q := &Queue{w: w, most: most, wake: make(chan struct{}, 1), ended: make(chan struct{})}
	go q.run()
	return q
}

// Write holds a copy of b until it is written. The error is that of an earlier write.
func (q *Queue) Write(b []byte) (int, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.err != nil {
		return 0, q.err
	}
	q.held, q.size = append(q.held, bytes.Clone(b)), q.size+len(b)
	q.signal()
	return len(b), nil
}

// Full reports whether nothing more should be written now.
func (q *Queue) Full() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.size >= q.most && q.err == nil
}

// Close waits until all is written, or cannot be.
func (q *Queue) Close() error {
	q.mu.Lock()
	q.over = true
	q.signal()
	q.mu.Unlock()
	<-q.ended
	return q.err
}

func (q *Queue) signal() {
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

// run writes what is held.
func (q *Queue) run() {
	defer close(q.ended)
	for range q.wake {
		for b := q.next(); b != nil; b = q.next() {
			_, err := q.w.Write(b)
			q.mu.Lock()
			if q.size -= len(b); err != nil {
				q.err, q.held = err, nil
			}
			q.mu.Unlock()
		}
		q.mu.Lock()
		over := q.err != nil || q.over && len(q.held) == 0
		q.mu.Unlock()
		if over {
			return
		}
	}
}

// next is what is to be written next, nil if there is nothing.
func (q *Queue) next() []byte {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.held) == 0 {
		return nil
	}
	b := q.held[0]
	q.held[0] = nil
	q.held = q.held[1:]
	return b
}
