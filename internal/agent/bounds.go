package agent

import (
	"net"
	"sync"
	"time"
)

// Bounds are those of Options that may change while an agent runs. Zero values mean the
// defaults.
type Bounds struct {
	Past       time.Duration
	PastBytes  int64
	MaxReaders int
}

// change takes new bounds until the stream is over.
func (a *agent) change() {
	for {
		select {
		case b := <-a.opt.Change:
			a.rebound(b)
			a.opt.Changed()
		case <-a.ended:
			return
		}
	}
}

// rebound sets bounds. What the past has too much goes with the next block; readers that
// are there stay.
func (a *agent) rebound(b Bounds) {
	o := Options{Past: b.Past, PastBytes: b.PastBytes, MaxReaders: b.MaxReaders}
	o.defaults()
	a.past.rebound(o.Past, o.PastBytes)
	a.maxReaders.Store(int64(o.MaxReaders))
	for _, r := range a.rooms {
		r.resize(o.MaxReaders + spareConns)
	}
}

// rebound sets the bounds of the past.
func (p *past) rebound(length time.Duration, bytes int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.length, p.bytes = length, bytes
}

// room is for so many at once.
type room struct {
	mu         sync.Mutex
	left       *sync.Cond // somebody left, or there is more room
	size, used int
}

func newRoom(size int) *room {
	r := &room{size: size}
	r.left = sync.NewCond(&r.mu)
	return r
}

// enter waits until there is room.
func (r *room) enter() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for r.used >= r.size {
		r.left.Wait()
	}
	r.used++
}

func (r *room) leave() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.used--
	r.left.Broadcast()
}

// resize has room for another number. Those who are in stay.
func (r *room) resize(size int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.size = size
	r.left.Broadcast()
}

// bounded is a listener that has no more connections than the agent has room for.
func (a *agent) bounded(ln net.Listener) net.Listener {
	r := newRoom(a.opt.MaxReaders + spareConns)
	a.rooms = append(a.rooms, r)
	return &boundedListener{Listener: ln, room: r}
}

// boundedListener has no more connections than there is room for: one more waits to be
// accepted until another is closed.
type boundedListener struct {
	net.Listener
	room *room
}

func (l *boundedListener) Accept() (net.Conn, error) {
	l.room.enter()
	c, err := l.Listener.Accept()
	if err != nil {
		l.room.leave()
		return nil, err
	}
	return &boundedConn{Conn: c, leave: l.room.leave}, nil
}

type boundedConn struct {
	net.Conn
	once  sync.Once
	leave func()
}

func (c *boundedConn) Close() error {
	c.once.Do(c.leave)
	return c.Conn.Close()
}
