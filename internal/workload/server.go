package workload

import (
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/twtrace/twtrace/internal/event"
)

// server is what the threads of a Serve share.
type server struct {
	*child
	plan      *Serve
	listeners map[int]netip.AddrPort
	accepted  atomic.Uint64
	heldOnce  sync.Once
}

// accepter is one thread of a server: an event loop of its own. Connections
// that are held are not watched.
type accepter struct {
	*server
	epoll int
	open  map[int]openConn // waiting for the peer's FIN
	late  []lateConn       // had it, and wait for their time to close, oldest first
	held  []openConn
	done  []Record
	ended bool // the cue was followed
}

type lateConn struct {
	openConn
	due time.Time
}

// serve runs Spec.Serve.
func (c *child) serve() error {
	s := &server{child: c, plan: c.spec.Serve, listeners: make(map[int]netip.AddrPort)}
	var addrs []netip.AddrPort
	for _, at := range s.plan.At {
		fd, got, err := listen(at)
		if err != nil {
			return err
		}
		s.listeners[fd] = got
		addrs = append(addrs, got)
	}
	c.tally.began = time.Now()
	threads := make([]*accepter, max(c.spec.Workers, 1))
	for i := range threads {
		t, err := s.newAccepter()
		if err != nil {
			return err
		}
		threads[i] = t
	}
	if err := c.send(message{Ready: true, Addrs: addrs}); err != nil {
		return err
	}
	err := c.threads(func(i int) error { return threads[i].work() })
	c.tally.elapsed = time.Since(c.tally.began)
	if err != nil {
		return err
	}
	for _, t := range threads {
		if err := errors.Join(c.sendRecords(t.done), c.sendRecords(recordsOf(t.held))); err != nil {
			return err
		}
	}
	return nil
}

func (s *server) newAccepter() (*accepter, error) {
	epoll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("create an epoll instance: %w", err)
	}
	t := &accepter{server: s, epoll: epoll, open: make(map[int]openConn)}
	err = t.watch(s.wakeFD, unix.EPOLLIN|unix.EPOLLET)
	for fd := range s.listeners {
		err = errors.Join(err, t.watch(fd, unix.EPOLLIN|unix.EPOLLEXCLUSIVE))
	}
	return t, err
}

func (t *accepter) watch(fd int, events uint32) error {
	ev := unix.EpollEvent{Events: events, Fd: int32(fd)}
	if err := unix.EpollCtl(t.epoll, unix.EPOLL_CTL_ADD, fd, &ev); err != nil {
		return fmt.Errorf("watch a socket: %w", err)
	}
	return nil
}

func (t *accepter) work() error {
	events := make([]unix.EpollEvent, 128)
	for !t.finished() {
		n, err := unix.EpollWait(t.epoll, events, t.timeout())
		if err != nil && err != unix.EINTR {
			return fmt.Errorf("wait for connections: %w", err)
		}
		for _, ev := range events[:max(n, 0)] {
			if err := t.handle(int(ev.Fd)); err != nil {
				return err
			}
		}
		if err := t.closeLate(time.Now()); err != nil {
			return err
		}
		if t.cued.Load() && !t.ended {
			t.ended = true
			if err := closeAll(t.held); err != nil {
				return err
			}
		}
	}
	return nil
}

// finished reports whether nothing is left to do for this thread.
func (t *accepter) finished() bool {
	if t.stop.Err() != nil {
		return true
	}
	if t.cued.Load() && !t.ended {
		return false
	}
	return t.drain.Load() && t.accepted.Load() >= t.target.Load() && len(t.open)+len(t.late) == 0
}

// timeout returns how long to wait for events, in ms: until the next late
// close, or, since the connection that ends a drain may be another thread's,
// a moment.
func (t *accepter) timeout() int {
	ms := -1
	if t.drain.Load() {
		ms = 10
	}
	if len(t.late) > 0 {
		// Rounded up, so as not to spin through the last millisecond.
		wait := max(0, int((time.Until(t.late[0].due)+time.Millisecond-1)/time.Millisecond))
		if ms < 0 || wait < ms {
			ms = wait
		}
	}
	return ms
}

func (t *accepter) handle(fd int) error {
	if fd == t.wakeFD {
		return nil
	}
	if at, ok := t.listeners[fd]; ok {
		return t.accept(fd, at)
	}
	c := t.open[fd]
	n, err := readByte(fd)
	switch {
	case err == unix.EAGAIN || n > 0:
		return nil
	case err != nil:
		c.rec.Errno, err = t.tally.fail(event.CallNone, err)
		if err != nil {
			return err
		}
	}
	delete(t.open, fd)
	if t.plan.Delay > 0 && t.plan.End == WaitEOF {
		if err := unix.EpollCtl(t.epoll, unix.EPOLL_CTL_DEL, fd, nil); err != nil {
			return fmt.Errorf("unwatch a socket: %w", err)
		}
		// The peer's FIN is acknowledged now, and not together with ours.
		if err := unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_QUICKACK, 1); err != nil {
			return fmt.Errorf("acknowledge a FIN: %w", err)
		}
		t.late = append(t.late, lateConn{c, time.Now().Add(t.plan.Delay)})
		return nil
	}
	return t.close(c, unix.Close)
}

// accept accepts what is waiting on a listener, or a few of it, so that the
// other sockets have their turn.
func (t *accepter) accept(listener int, at netip.AddrPort) error {
	for range 64 {
		fd, peer, err := unix.Accept4(listener, unix.SOCK_CLOEXEC)
		switch err {
		case nil:
		case unix.EAGAIN:
			return nil
		case unix.EINTR, unix.ECONNABORTED:
			continue
		case unix.EMFILE, unix.ENFILE:
			return t.noDescriptor(at, err)
		default:
			return fmt.Errorf("accept on %s: %w", at, err)
		}
		rec := Record{
			Role: event.Server, Local: unmap(at), Remote: unmap(fromSockaddr(peer)),
			Closer: t.plan.Closer, Opened: time.Now().UnixNano(),
		}
		t.tally.opened.Add(1)
		if err := t.begin(openConn{fd, rec}); err != nil {
			return err
		}
		t.count()
	}
	return nil
}

// noDescriptor logs that accept() found no free descriptor. The connection
// stays queued, so the next attempt waits until one may be free.
func (t *accepter) noDescriptor(at netip.AddrPort, err error) error {
	rec := Record{Role: event.Server, Local: unmap(at), Call: event.Accept}
	if rec.Errno, err = t.tally.fail(event.Accept, err); err != nil {
		return err
	}
	t.keep(rec)
	fds := []unix.PollFd{{Fd: int32(t.stopFD), Events: unix.POLLIN}}
	if _, err := unix.Poll(fds, 10); err != nil && err != unix.EINTR {
		return fmt.Errorf("wait for a descriptor: %w", err)
	}
	return nil
}

// count counts an accepted connection once it has been seen to, and says so
// when it was the last to be held.
func (t *accepter) count() {
	if n := t.accepted.Add(1); t.plan.Holds > 0 && n >= uint64(t.plan.Holds) {
		t.heldOnce.Do(func() { _ = t.send(message{Held: true}) })
	}
}

// begin greets the peer, and ends the connection or waits.
func (t *accepter) begin(c openConn) error {
	if t.plan.Greet {
		if err := writeByte(c.fd); err != nil {
			return t.broken(c, err)
		}
	}
	switch t.plan.End {
	case Close:
		return t.close(c, unix.Close)
	case Abort:
		return t.close(c, abort)
	case Hold, OnCue:
		return t.hold(c)
	case HalfClose, HalfCloseHold:
		c.rec.Closed = time.Now().UnixNano()
		if err := unix.Shutdown(c.fd, unix.SHUT_WR); err != nil {
			return t.broken(c, err)
		}
	}
	if t.plan.End == HalfCloseHold {
		return t.hold(c)
	}
	t.open[c.fd] = c
	return t.watch(c.fd, unix.EPOLLIN)
}

func (t *accepter) hold(c openConn) error {
	err := c.identify()
	t.held = append(t.held, c)
	return err
}

func (t *accepter) close(c openConn, shut func(int) error) error {
	if c.rec.Closed == 0 {
		c.rec.Closed = time.Now().UnixNano()
	}
	if err := c.identify(); err != nil {
		return err
	}
	if err := shut(c.fd); err != nil {
		return fmt.Errorf("close %s: %w", c.rec.Remote, err)
	}
	t.keep(c.rec)
	return nil
}

// broken logs a connection on which a call failed, and gives it up.
func (t *accepter) broken(c openConn, err error) error {
	errno, err := t.tally.fail(event.CallNone, err)
	if err != nil {
		return err
	}
	c.rec.Errno = errno
	return t.close(c, unix.Close)
}

// closeLate closes the connections whose time has come.
func (t *accepter) closeLate(now time.Time) error {
	for len(t.late) > 0 && !t.late[0].due.After(now) {
		if err := t.close(t.late[0].openConn, unix.Close); err != nil {
			return err
		}
		t.late = t.late[1:]
	}
	return nil
}

func (t *accepter) keep(rec Record) {
	if !t.spec.CountOnly {
		t.done = append(t.done, rec)
	}
}
