package workload

import (
	"errors"
	"fmt"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/twtrace/twtrace/internal/event"
)

// client is what the threads of a Connect share.
type client struct {
	*child
	plan     *Connect
	attempts atomic.Int64
	fails    atomic.Int64
}

// openConn is an established connection and what is known about it.
type openConn struct {
	fd  int
	rec Record
}

// identify reads the cookie of a connection that is about to end. It is not read
// before, since to read it is to make it, and a tracer has to be first to.
func (c *openConn) identify() (err error) {
	if c.rec.Cookie, err = cookieOf(c.fd); err != nil {
		return fmt.Errorf("read a socket's cookie: %w", err)
	}
	return nil
}

// connecter is one thread of a client.
type connecter struct {
	*client
	to   []unix.Sockaddr // of plan.To; unix.Connect writes to them
	done []Record
	held []openConn
}

// errStopped ends the wait for a peer that has not spoken yet.
var errStopped = errors.New("stopped")

// connect runs Spec.Connect.
func (c *child) connect() error {
	cl := &client{child: c, plan: c.spec.Connect}
	if err := c.send(message{Ready: true}); err != nil {
		return err
	}
	if !c.awaitGo() {
		return nil
	}
	c.tally.began = time.Now()
	threads := make([]*connecter, max(c.spec.Workers, 1))
	err := c.threads(func(i int) error {
		t := &connecter{client: cl}
		for _, to := range cl.plan.To {
			t.to = append(t.to, toSockaddr(to))
		}
		threads[i] = t
		return t.work()
	})
	c.tally.elapsed = time.Since(c.tally.began)
	if err != nil {
		return err
	}
	return cl.finish(threads)
}

// awaitGo waits for the start, and reports false if Stop came first.
func (c *child) awaitGo() bool {
	select {
	case <-c.started:
		return true
	case <-c.stop.Done():
		return false
	}
}

// finish sends what the threads have seen, and sees to the connections that
// they left open.
func (cl *client) finish(threads []*connecter) error {
	for _, t := range threads {
		if err := cl.sendRecords(t.done); err != nil {
			return err
		}
	}
	if !cl.plan.End.holds() {
		return nil
	}
	// What is held until the process ends must be sent before it does.
	if cl.plan.End != OnCue {
		for _, t := range threads {
			if err := cl.sendRecords(recordsOf(t.held)); err != nil {
				return err
			}
		}
	}
	if err := cl.send(message{Held: true}); err != nil {
		return err
	}
	select {
	case <-cl.stop.Done():
		return nil
	case <-cl.cue:
	}
	for _, t := range threads {
		if err := closeAll(t.held); err != nil {
			return err
		}
		if err := cl.sendRecords(recordsOf(t.held)); err != nil {
			return err
		}
	}
	return nil
}

func recordsOf(conns []openConn) []Record {
	out := make([]Record, 0, len(conns))
	for _, c := range conns {
		out = append(out, c.rec)
	}
	return out
}

// closeAll closes conns and notes when.
func closeAll(conns []openConn) error {
	for i := range conns {
		conns[i].rec.Closed = time.Now().UnixNano()
		if err := unix.Close(conns[i].fd); err != nil {
			return fmt.Errorf("close %s: %w", conns[i].rec.Remote, err)
		}
	}
	return nil
}

func (t *connecter) work() error {
	for {
		i, ok := t.next()
		if !ok {
			return nil
		}
		if err := t.once(i); err != nil {
			if errors.Is(err, errStopped) {
				return nil
			}
			return err
		}
	}
}

// next returns the number of the next attempt once its time has come, and
// whether there is to be one.
func (cl *client) next() (int, bool) {
	p := cl.plan
	if p.Fails > 0 && cl.fails.Load() >= int64(p.Fails) {
		return 0, false
	}
	i := cl.attempts.Add(1) - 1
	if p.Count > 0 && i >= int64(p.Count) {
		return 0, false
	}
	return int(i), cl.pace(int(i), p.Rate)
}

// once makes connection i and ends it. Its error is one of the workload itself;
// a call that fails is counted and logged.
func (t *connecter) once(i int) error {
	p := t.plan
	n := i % len(t.to)
	if p.Way == Dialer {
		return t.dial(p.To[n])
	}
	rec := Record{Role: event.Client, Remote: unmap(p.To[n]), Closer: p.Closer}
	fd, err := newSocket(p.To[n].Addr())
	if err != nil {
		return t.failed(-1, rec, event.Socket, err)
	}
	if p.Source.IsValid() {
		if err := t.bind(fd); err != nil {
			return t.failed(fd, rec, event.Bind, err)
		}
	}
	call := connect
	if p.Way == NonBlocking {
		call = connectNonBlocking
	}
	if err := call(fd, t.to[n]); err != nil {
		return t.failed(fd, rec, event.Connect, err)
	}
	rec.Opened = time.Now().UnixNano()
	t.tally.opened.Add(1)
	local, err := localAddr(fd)
	if err != nil {
		return fmt.Errorf("read a socket's address: %w", err)
	}
	rec.Local = unmap(local)
	if p.Greet {
		if _, err := t.read(fd); err != nil {
			return t.broken(openConn{fd, rec}, err)
		}
	}
	return t.end(openConn{fd, rec})
}

func (t *connecter) bind(fd int) error {
	if t.plan.LatePort {
		if err := unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1); err != nil {
			return err
		}
	}
	if t.plan.Source.Port() != 0 {
		// A fixed port is bound again while its last connection is in TIME_WAIT.
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1); err != nil {
			return err
		}
	}
	return unix.Bind(fd, toSockaddr(t.plan.Source))
}

// end ends an established connection as planned.
func (t *connecter) end(c openConn) error {
	if err := c.identify(); err != nil {
		return err
	}
	switch t.plan.End {
	case Hold, OnCue:
		t.held = append(t.held, c)
		return nil
	case HalfClose, HalfCloseHold:
		c.rec.Closed = time.Now().UnixNano()
		if err := unix.Shutdown(c.fd, unix.SHUT_WR); err != nil {
			return t.broken(c, err)
		}
	}
	switch t.plan.End {
	case HalfCloseHold:
		t.held = append(t.held, c)
		return nil
	case HalfClose, WaitEOF:
		if _, err := t.read(c.fd); err != nil {
			return t.broken(c, err)
		}
	}
	if c.rec.Closed == 0 {
		c.rec.Closed = time.Now().UnixNano()
	}
	shut := unix.Close
	if t.plan.End == Abort {
		shut = abort
	}
	if err := shut(c.fd); err != nil {
		return fmt.Errorf("close %s: %w", c.rec.Remote, err)
	}
	t.keep(c.rec)
	return nil
}

// read waits for a byte, the peer's FIN or the end of the workload.
func (t *connecter) read(fd int) (int, error) {
	fds := []unix.PollFd{
		{Fd: int32(fd), Events: unix.POLLIN},
		{Fd: int32(t.stopFD), Events: unix.POLLIN},
	}
	for {
		_, err := unix.Poll(fds, -1)
		switch {
		case err == unix.EINTR:
			continue
		case err != nil:
			return 0, err
		case fds[0].Revents != 0:
			return readByte(fd)
		default:
			return 0, errStopped
		}
	}
}

// failed logs a call that failed and gives its socket up.
func (t *connecter) failed(fd int, rec Record, call event.Call, err error) error {
	t.fails.Add(1)
	if rec.Errno, err = t.tally.fail(call, err); err != nil {
		return err
	}
	rec.Call = call
	if fd >= 0 {
		c := openConn{fd, rec}
		if err := c.identify(); err != nil {
			return err
		}
		unix.Close(fd)
		rec = c.rec
	}
	t.keep(rec)
	return nil
}

// broken logs a connection that was established and whose reads or writes
// failed. One that is cut short by Stop is no failure, and ends the thread.
func (t *connecter) broken(c openConn, err error) error {
	if err := c.identify(); err != nil {
		return err
	}
	if c.rec.Closed == 0 {
		c.rec.Closed = time.Now().UnixNano()
	}
	unix.Close(c.fd)
	var errno syscall.Errno
	if errors.As(err, &errno) {
		c.rec.Errno, err = t.tally.fail(event.CallNone, errno)
	}
	t.keep(c.rec)
	return err
}

func (t *connecter) keep(rec Record) {
	if !t.spec.CountOnly {
		t.done = append(t.done, rec)
	}
}
