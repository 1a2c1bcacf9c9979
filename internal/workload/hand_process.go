package workload

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/twtrace/twtrace/internal/event"
)

// modeHand is the value of envMode that makes a process a Hand.
const modeHand = "hand"

// envComm has the comm of a Hand.
const envComm = "TWTRACE_WORKLOAD_COMM"

// handFD is the descriptor that leads from a Hand to its parent; what it inherited follows.
const handFD = 3

// Orders.
const (
	opHello    = "hello"
	opListen   = "listen"
	opConnect  = "connect"
	opAccept   = "accept"
	opWaiting  = "waiting"
	opClose    = "close"
	opAbort    = "abort"
	opShutdown = "shutdown"
	opEOF      = "eof"
	opGive     = "give"
	opTake     = "take"
	opFork     = "fork"
	opExec     = "exec"
	opLimit    = "limit"
	opExit     = "exit"
)

// handOrder is what a Hand receives, handReply what it answers.
type (
	handOrder struct {
		Op   string
		FD   int
		FDs  []int
		At   netip.AddrPort
		Comm string
		Socketing

		pass int // descriptor that goes with it
	}
	handReply struct {
		By            event.Proc
		FD            int
		Cookie        uint64
		Local, Remote netip.AddrPort
		Child         event.Proc
		Call          event.Call
		Errno         syscall.Errno
		Err           string

		passed int
		after  func() // to be done once the reply is sent
	}
)

// hand is the process of a Hand.
type hand struct {
	who   event.Proc // asked for before there may be no descriptor to ask with
	rings map[Way]*ring
}

// runHand follows orders until the parent is gone.
func runHand() error {
	if err := nameProcess(os.Getenv(envComm)); err != nil {
		return err
	}
	h := &hand{rings: make(map[Way]*ring)}
	var err error
	if h.who, err = self(); err != nil {
		return err
	}
	for {
		text, passed, err := receive(handFD, 0)
		if errors.Is(err, errEnded) {
			return nil
		}
		if err != nil {
			return err
		}
		var o handOrder
		if err := json.Unmarshal(text, &o); err != nil {
			return fmt.Errorf("read an order: %w", err)
		}
		o.pass = passed
		r, err := h.obey(&o)
		if err != nil {
			r.Err = err.Error()
			errors.As(err, &r.Errno)
		}
		r.By = h.who
		if text, err = json.Marshal(r); err != nil {
			return err
		}
		var rights []byte
		if r.passed > 0 {
			rights = unix.UnixRights(r.passed)
		}
		if err := unix.Sendmsg(handFD, text, rights, nil, 0); err != nil {
			return fmt.Errorf("reply: %w", err)
		}
		if r.after != nil {
			r.after()
		}
	}
}

// self is this process, as it knows itself.
func self() (event.Proc, error) {
	comm, err := os.ReadFile("/proc/self/comm")
	return event.Proc{PID: uint32(os.Getpid()), Comm: string(bytes.TrimSpace(comm))}, err
}

// obey carries out an order, on a thread of its own if that is to have a name.
func (h *hand) obey(o *handOrder) (r handReply, err error) {
	if o.Thread == "" {
		return h.carryOut(o)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // and never unlocked: the thread ends
		if err = nameThread(o.Thread); err == nil {
			r, err = h.carryOut(o)
		}
	}()
	<-done
	return r, err
}

func (h *hand) carryOut(o *handOrder) (handReply, error) {
	switch o.Op {
	case opHello:
		return handReply{}, nil
	case opListen:
		return h.listen(o)
	case opConnect:
		return h.connect(o)
	case opAccept:
		return h.accept(o)
	case opWaiting:
		fds := []unix.PollFd{{Fd: int32(o.FD), Events: unix.POLLIN}}
		n, err := unix.Poll(fds, 0)
		for err == unix.EINTR {
			n, err = unix.Poll(fds, 0)
		}
		return handReply{FD: n}, err
	case opClose:
		return handReply{}, h.close(o.Way, o.FD)
	case opAbort:
		return handReply{}, abort(o.FD)
	case opShutdown:
		return handReply{}, unix.Shutdown(o.FD, unix.SHUT_WR)
	case opEOF:
		return handReply{}, awaitEOF(o.FD)
	case opGive:
		return handReply{passed: o.FD}, nil
	case opTake:
		return handReply{FD: o.pass}, nil
	case opFork:
		return h.fork(o)
	case opExec:
		return handReply{after: func() { execSelf(o.Comm) }}, nil
	case opLimit:
		return handReply{}, limitHere()
	case opExit:
		return handReply{after: func() { os.Exit(0) }}, nil
	}
	return handReply{}, fmt.Errorf("unknown order %q", o.Op)
}

// open makes a socket, kept over exec, and binds it if the order says where.
func open(o *handOrder) (int, handReply, error) {
	family, protocol := unix.AF_INET6, unix.IPPROTO_TCP
	if o.At.Addr().Is4() {
		family = unix.AF_INET
	}
	if o.MPTCP {
		protocol = unix.IPPROTO_MPTCP
	}
	fd, err := unix.Socket(family, unix.SOCK_STREAM, protocol)
	if err != nil {
		return -1, handReply{Call: event.Socket}, err
	}
	if o.From.IsValid() {
		if err := unix.Bind(fd, toSockaddr(o.From)); err != nil {
			unix.Close(fd)
			return -1, handReply{Call: event.Bind}, err
		}
	}
	return fd, handReply{FD: fd}, nil
}

func (h *hand) listen(o *handOrder) (handReply, error) {
	o.From = netip.AddrPort{}
	fd, r, err := open(o)
	if err != nil {
		return r, err
	}
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1); err != nil {
		return r, err
	}
	if o.ReusePort {
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEPORT, 1); err != nil {
			return r, err
		}
	}
	if o.Proxy {
		if err := unix.SetsockoptInt(fd, unix.SOL_IP, unix.IP_TRANSPARENT, 1); err != nil {
			return r, err
		}
	}
	if err := unix.Bind(fd, toSockaddr(o.At)); err != nil {
		unix.Close(fd)
		r.Call = event.Bind
		return r, err
	}
	if err := unix.Listen(fd, 1<<12); err != nil {
		return r, err
	}
	r.Local, err = localAddr(fd)
	return r, err
}

func (h *hand) connect(o *handOrder) (handReply, error) {
	fd, r, err := open(o)
	if err != nil {
		return r, err
	}
	to := toSockaddr(o.At)
	switch o.Way {
	case Plain:
		err = connect(fd, to)
	case NonBlocking:
		err = connectNonBlocking(fd, to)
	case Again:
		err = connectAgain(fd, to)
	default:
		err = h.uring(o.Way, func(u *ring) (int, error) { return u.connect(fd, o.At) }, nil)
	}
	if err != nil {
		r.Call = event.Connect
		var cookieErr error
		if r.Cookie, cookieErr = cookieOf(fd); cookieErr != nil {
			return r, cookieErr
		}
		unix.Close(fd)
		return r, err
	}
	return r, describe(fd, &r)
}

// connectAgain asks for the end of a non-blocking connect() by a second one, once the
// peer has sent something.
func connectAgain(fd int, to unix.Sockaddr) error {
	if err := unix.SetNonblock(fd, true); err != nil {
		return err
	}
	if err := unix.Connect(fd, to); err != nil && err != unix.EINPROGRESS {
		return err
	}
	if _, err := poll(fd, unix.POLLIN); err != nil {
		return err
	}
	return unix.Connect(fd, to)
}

// connectNonBlocking waits for the end of a non-blocking connect().
func connectNonBlocking(fd int, to unix.Sockaddr) error {
	if err := unix.SetNonblock(fd, true); err != nil {
		return err
	}
	if err := unix.Connect(fd, to); err != nil && err != unix.EINPROGRESS {
		return err
	}
	if _, err := poll(fd, unix.POLLOUT); err != nil {
		return err
	}
	errno, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ERROR)
	if err == nil && errno != 0 {
		err = unix.Errno(errno)
	}
	return errors.Join(err, unix.SetNonblock(fd, false))
}

func (h *hand) accept(o *handOrder) (handReply, error) {
	r := handReply{Call: event.Accept}
	var err error
	switch o.Way {
	case Plain:
		r.FD, _, err = unix.Accept4(o.FD, 0)
	case NonBlocking: // the older call
		r.FD, _, err = unix.Accept(o.FD)
	default:
		err = h.uring(o.Way, func(u *ring) (int, error) { return u.accept(o.FD, o.Way == Multishot) }, &r.FD)
	}
	if err != nil {
		return r, err
	}
	return r, describe(r.FD, &r)
}

func (h *hand) close(way Way, fd int) error {
	if way == Plain {
		return unix.Close(fd)
	}
	return h.uring(way, func(u *ring) (int, error) { return u.close(fd) }, nil)
}

// uring makes a call through the ring for that way, which is made first if need be.
func (h *hand) uring(way Way, call func(*ring) (int, error), result *int) error {
	u := h.rings[way]
	if u == nil {
		var err error
		if u, err = newRing(way); err != nil {
			return fmt.Errorf("make a ring: %w", err)
		}
		h.rings[way] = u
	}
	n, err := call(u)
	if result != nil {
		*result = n
	}
	return err
}

// describe fills in which connection fd is.
func describe(fd int, r *handReply) error {
	var err error
	if r.Local, err = localAddr(fd); err != nil {
		return err
	}
	peer, err := unix.Getpeername(fd)
	if err != nil {
		return err
	}
	r.Remote = fromSockaddr(peer)
	r.Cookie, err = cookieOf(fd)
	return err
}

func awaitEOF(fd int) error {
	if _, err := poll(fd, unix.POLLIN); err != nil {
		return err
	}
	n, err := readByte(fd)
	if err == nil && n > 0 {
		err = errors.New("data")
	}
	if err == unix.ECONNRESET {
		return nil
	}
	return err
}

// fork has a child close what the parent closes first.
func (h *hand) fork(o *handOrder) (handReply, error) {
	var gate [2]int
	if err := unix.Pipe2(gate[:], unix.O_CLOEXEC); err != nil {
		return handReply{}, err
	}
	comm, err := os.ReadFile("/proc/thread-self/comm")
	if err != nil {
		return handReply{}, err
	}
	pid, errno := fork(o.FDs, gate)
	if errno != 0 {
		return handReply{}, errno
	}
	unix.Close(gate[0])
	for _, fd := range o.FDs {
		unix.Close(fd)
	}
	unix.Close(gate[1]) // the child goes on
	if _, err := unix.Wait4(pid, nil, 0, nil); err != nil {
		return handReply{}, err
	}
	return handReply{Child: event.Proc{PID: uint32(pid), Comm: string(bytes.TrimSpace(comm))}}, nil
}

// execSelf returns only if it fails.
func execSelf(comm string) {
	os.Setenv(envComm, comm)
	err := unix.Exec("/proc/self/exe", os.Args, os.Environ())
	fmt.Fprintln(os.Stderr, "exec:", err)
	os.Exit(1)
}

// limitHere has the process find no further descriptor.
func limitHere() error {
	lowest, err := unix.Dup(handFD)
	if err != nil {
		return err
	}
	unix.Close(lowest)
	return limitFiles(uint64(lowest))
}
