package workload

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/twtrace/twtrace/internal/event"
	"github.com/twtrace/twtrace/internal/netns"
)

// Hand is a process that makes calls on order, one by one, and says who it is each
// time: for connections that pass through more than one process. Its methods are for
// one goroutine. It ends with the process that started it.
type Hand struct {
	Inherited []*Listening // what it was started with

	cmd    *exec.Cmd
	fd     int        // of the socket to it
	who    event.Proc // as it said last
	stderr strings.Builder
	ended  bool
}

// Way is how a Hand makes a call.
type Way string

// The ways to make a call. The io_uring ones differ in who runs when it is made.
const (
	Plain       Way = ""
	NonBlocking Way = "non-blocking"
	Again       Way = "again"        // as NonBlocking, and a second connect() returns how the first ended
	Uring       Way = "uring"        // by the thread that submits it
	UringWorker Way = "uring-worker" // by a worker of the ring
	UringPoll   Way = "uring-poll"   // by the thread that polls the submission queue
	Multishot   Way = "multishot"    // an accept that goes on accepting
)

// Held is one end of a connection in a Hand, and the truth about it.
type Held struct {
	Record
	Closer   event.Proc // who sent the FIN or RST; known once that is done
	Listener event.Proc // who called listen(), of a server's end

	hand *Hand
	fd   int
}

// Listening is a listener in a Hand.
type Listening struct {
	At netip.AddrPort

	hand *Hand
	fd   int
	by   event.Proc
}

// Socketing says what kind of socket a Hand makes, and how.
type Socketing struct {
	Way       Way
	Thread    string         // name of the thread that makes the call; "" for the first
	MPTCP     bool           // an MPTCP socket, which speaks TCP to those who do not
	ReusePort bool           // of a listener: SO_REUSEPORT
	Proxy     bool           // of a listener: IP_TRANSPARENT, for what was sent elsewhere
	From      netip.AddrPort // bound first, if valid
}

// CallError is a call that failed in a Hand.
type CallError struct {
	Failure
	By     event.Proc
	Cookie uint64 // of the socket, 0 if it has none
}

func (e *CallError) Error() string { return e.Failure.String() }

func (e *CallError) Unwrap() error { return e.Errno }

// StartHand starts a Hand in the network namespace at path, with the listeners
// that others have, as its parent would have passed them on. The program must call Main.
func StartHand(ctx context.Context, path, comm string, inherited ...*Listening) (*Hand, error) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("start hand %q: %w", comm, err)
	}
	theirs := os.NewFile(uintptr(pair[1]), "hand")
	defer theirs.Close()
	h := &Hand{cmd: exec.CommandContext(ctx, "/proc/self/exe"), fd: pair[0]}
	h.cmd.Env = append(os.Environ(), envMode+"="+modeHand, envComm+"="+comm)
	h.cmd.ExtraFiles, h.cmd.Stderr = []*os.File{theirs}, &h.stderr
	h.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	for i, l := range inherited {
		file, err := l.hand.export(l.fd)
		if err != nil {
			unix.Close(h.fd)
			return nil, err
		}
		defer file.Close()
		h.cmd.ExtraFiles = append(h.cmd.ExtraFiles, file)
		h.Inherited = append(h.Inherited, &Listening{At: l.At, hand: h, fd: handFD + 1 + i, by: l.by})
	}
	if err := netns.In(path, h.cmd.Start); err != nil {
		unix.Close(h.fd)
		return nil, fmt.Errorf("start hand %q: %w", comm, err)
	}
	if _, err := h.do(handOrder{Op: opHello}); err != nil {
		return nil, errors.Join(err, h.Kill())
	}
	return h, nil
}

// Who is the process, with the comm that it has since its last exec.
func (h *Hand) Who() event.Proc { return h.who }

// Listen listens on at.
func (h *Hand) Listen(at netip.AddrPort, s Socketing) (*Listening, error) {
	r, err := h.do(handOrder{Op: opListen, At: at, Socketing: s})
	return &Listening{At: r.Local, hand: h, fd: r.FD, by: r.By}, err
}

// Connect connects to a listener. The error of a call that fails is a CallError.
func (h *Hand) Connect(to netip.AddrPort, s Socketing) (*Held, error) {
	r, err := h.do(handOrder{Op: opConnect, At: to, Socketing: s})
	return h.holds(event.Client, r), err
}

// Accept waits for a connection on l, which may be another's listener that h has too.
func (h *Hand) Accept(l *Listening, s Socketing) (*Held, error) {
	r, err := h.do(handOrder{Op: opAccept, FD: l.fd, Socketing: s})
	c := h.holds(event.Server, r)
	c.Listener = l.by
	return c, err
}

// Waiting reports whether a connection waits to be accepted.
func (h *Hand) Waiting(l *Listening) (bool, error) {
	r, err := h.do(handOrder{Op: opWaiting, FD: l.fd})
	return r.FD > 0, err
}

func (h *Hand) holds(role event.Role, r handReply) *Held {
	return &Held{hand: h, fd: r.FD, Record: Record{PID: r.By.PID, Comm: r.By.Comm, Role: role,
		Local: unmap(r.Local), Remote: unmap(r.Remote), Cookie: r.Cookie}}
}

// Hand is the process that has it.
func (c *Held) Hand() *Hand { return c.hand }

// Close closes the descriptors of cs, all of h, in the way that is said.
func (h *Hand) Close(way Way, cs ...*Held) error { return h.end(opClose, way, cs) }

// Abort closes with RST (SO_LINGER 0).
func (h *Hand) Abort(cs ...*Held) error { return h.end(opAbort, Plain, cs) }

// Shutdown sends the FIN and keeps the descriptor.
func (h *Hand) Shutdown(cs ...*Held) error { return h.end(opShutdown, Plain, cs) }

func (h *Hand) end(op string, way Way, cs []*Held) error {
	for _, c := range cs {
		r, err := h.do(handOrder{Op: op, FD: c.fd, Socketing: Socketing{Way: way}})
		if err != nil {
			return err
		}
		c.Closer = r.By
	}
	return nil
}

// EOF waits for the FIN of the peer, or its RST.
func (h *Hand) EOF(cs ...*Held) error {
	for _, c := range cs {
		if _, err := h.do(handOrder{Op: opEOF, FD: c.fd}); err != nil {
			return err
		}
	}
	return nil
}

// Give passes connections to another hand, over a unix socket, and closes them.
func (h *Hand) Give(to *Hand, cs ...*Held) error {
	for _, c := range cs {
		fd, err := h.pass(to, c.fd)
		if err != nil {
			return err
		}
		if _, err := h.do(handOrder{Op: opClose, FD: c.fd}); err != nil {
			return err
		}
		c.hand, c.fd = to, fd
	}
	return nil
}

// Share passes a listener to another hand, which then has it too.
func (h *Hand) Share(to *Hand, l *Listening) (*Listening, error) {
	fd, err := h.pass(to, l.fd)
	return &Listening{At: l.At, hand: to, fd: fd, by: l.by}, err
}

// pass duplicates a descriptor of h in another hand.
func (h *Hand) pass(to *Hand, fd int) (int, error) {
	// No process that is started meanwhile has it too, and closes it last.
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	file, err := h.export(fd)
	if err != nil {
		return -1, err
	}
	defer file.Close()
	r, err := to.do(handOrder{Op: opTake, pass: int(file.Fd())})
	return r.FD, err
}

// export duplicates a descriptor of h in this process.
func (h *Hand) export(fd int) (*os.File, error) {
	r, err := h.do(handOrder{Op: opGive, FD: fd})
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(r.passed), "passed"), nil
}

// Fork makes a child that has what h has, closes cs in h, and then has the child close
// them and end.
func (h *Hand) Fork(cs ...*Held) error {
	o := handOrder{Op: opFork}
	for _, c := range cs {
		o.FDs = append(o.FDs, c.fd)
	}
	r, err := h.do(o)
	for _, c := range cs {
		c.Closer = r.Child
	}
	return err
}

// Exec has the process execute itself again, with another comm. What it has it keeps.
func (h *Hand) Exec(comm string) error {
	if _, err := h.do(handOrder{Op: opExec, Comm: comm}); err != nil {
		return err
	}
	_, err := h.do(handOrder{Op: opHello})
	return err
}

// Limit has h find no further descriptor.
func (h *Hand) Limit() error {
	_, err := h.do(handOrder{Op: opLimit})
	return err
}

// Exit ends the process, which closes what it has: cs.
func (h *Hand) Exit(cs ...*Held) error {
	if _, err := h.do(handOrder{Op: opExit}); err != nil {
		return err
	}
	return h.wait(cs)
}

// Kill ends the process with SIGKILL, which closes what it has: cs.
func (h *Hand) Kill(cs ...*Held) error {
	if h.ended {
		return nil
	}
	if err := h.cmd.Process.Kill(); err != nil {
		return fmt.Errorf("kill a hand: %w", err)
	}
	return h.wait(cs)
}

func (h *Hand) wait(cs []*Held) error {
	h.ended = true
	defer unix.Close(h.fd)
	var exit *exec.ExitError
	if err := h.cmd.Wait(); err != nil && !errors.As(err, &exit) {
		return fmt.Errorf("wait for a hand: %w", err)
	}
	for _, c := range cs {
		c.Closer = h.who
	}
	return nil
}

// do gives one order and waits until it is done.
func (h *Hand) do(o handOrder) (handReply, error) {
	var r handReply
	text, err := json.Marshal(o)
	if err != nil {
		return r, err
	}
	var rights []byte
	if o.pass > 0 {
		rights = unix.UnixRights(o.pass)
	}
	if err := unix.Sendmsg(h.fd, text, rights, nil, unix.MSG_NOSIGNAL); err != nil {
		return r, fmt.Errorf("order %s: %w: %s", o.Op, err, h.stderr.String())
	}
	text, r.passed, err = receive(h.fd, unix.MSG_CMSG_CLOEXEC)
	if err == nil {
		err = json.Unmarshal(text, &r)
	}
	if err != nil {
		return r, fmt.Errorf("order %s: %w: %s", o.Op, err, h.stderr.String())
	}
	h.who = r.By
	switch {
	case r.Errno != 0:
		return r, &CallError{Failure{r.Call, r.Errno}, r.By, r.Cookie}
	case r.Err != "":
		return r, fmt.Errorf("order %s: %s", o.Op, r.Err)
	}
	return r, nil
}

// receive reads a message, and the descriptor with it, if any.
func receive(fd, flags int) (text []byte, passed int, err error) {
	text, rights := make([]byte, 64<<10), make([]byte, unix.CmsgSpace(4))
	for {
		n, oob, _, _, err := unix.Recvmsg(fd, text, rights, flags)
		if err == unix.EINTR {
			continue
		}
		if err != nil || n == 0 {
			return nil, 0, errors.Join(err, errEnded)
		}
		if oob > 0 {
			messages, err := unix.ParseSocketControlMessage(rights[:oob])
			if err != nil {
				return nil, 0, err
			}
			fds, err := unix.ParseUnixRights(&messages[0])
			if err != nil {
				return nil, 0, err
			}
			passed = fds[0]
		}
		return text[:n], passed, nil
	}
}
