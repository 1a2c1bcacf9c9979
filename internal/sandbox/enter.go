package sandbox

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// Descriptors of a speaker, as Start arranges them.
const (
	lifelineFD = 3 // from Start: the hello, orders, the word to stop; its end is the tracer's
	connFD     = 4 // Speaker.Conn
	filesFD    = 5 // Speaker.Files, one after the other
)

// hello is what Start sends to the speaker, and answer what Enter sends back.
type (
	hello struct {
		Report Report
		Grants grants
		Files  int
	}
	answer struct {
		Err     string `json:",omitempty"`
		Seccomp int
	}
)

// stopWord asks a speaker to end in its own time.
const stopWord = "stop"

// grace is what a speaker whose tracer is gone has to end by itself.
const grace = 500 * time.Millisecond

// Causes of the end of the context that Enter returns.
var (
	ErrStopped    = errors.New("the tracer asked the speaker to stop")
	ErrTracerGone = errors.New("the tracer is gone")
)

// Speaker is the confined process, seen from within.
type Speaker struct {
	// Conn leads to Twin.Conn.
	Conn *net.UnixConn
	// Files are Options.Files, in their order. They may be passed to net.FileListener.
	Files []*os.File
	// Report is how this process is confined.
	Report Report
	// Orders are those of Twin.Order. One that nobody has taken when the next comes is lost: the
	// last one counts.
	Orders <-chan json.RawMessage
}

// Requested reports whether Start has started this process with the hidden command. Anybody
// else who runs the program with it gets what an unknown command gets. Call it first in main.
func Requested(command string) bool {
	return len(os.Args) == 2 && os.Args[1] == command && startedByTracer()
}

// startedByTracer reports whether the lifeline is a socket that this process's parent made.
func startedByTracer() bool {
	peer, err := unix.GetsockoptUcred(lifelineFD, unix.SOL_SOCKET, unix.SO_PEERCRED)
	return err == nil && int(peer.Pid) == os.Getppid() // of a socket pair the peer is who made it
}

// Enter is the first thing that the hidden command does. It fails in a
// process that Start did not start. Afterwards the process is confined on all threads, and
// cannot undo that.
//
// The context ends with ErrStopped when the tracer asks for it, and with ErrTracerGone when
// the tracer is no more; the process ends half a second after that, whatever it does.
func Enter(ctx context.Context) (context.Context, *Speaker, error) {
	if !startedByTracer() {
		return nil, nil, errors.New("this command is a part of the agent, which starts it: run twtrace serve")
	}
	lifeline, err := fileConn(lifelineFD, "lifeline")
	if err != nil {
		return nil, nil, err
	}
	var h hello
	in := json.NewDecoder(lifeline)
	if err := in.Decode(&h); err != nil {
		return nil, nil, fmt.Errorf("read the tracer's hello: %w", err)
	}
	s, err := newSpeaker(&h)
	if err == nil {
		s.Report.Seccomp, err = confine(&h)
	}
	reply := answer{}
	if err != nil {
		reply.Err = err.Error()
	} else {
		reply.Seccomp = s.Report.Seccomp
	}
	if err := errors.Join(err, json.NewEncoder(lifeline).Encode(reply)); err != nil {
		return nil, nil, err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	orders := make(chan json.RawMessage, 1)
	s.Orders = orders
	go follow(in, orders, cancel)
	return ctx, s, nil
}

// fileConn makes a connection of a descriptor, which it replaces.
func fileConn(fd int, name string) (*net.UnixConn, error) {
	f := os.NewFile(uintptr(fd), name)
	defer f.Close()
	c, err := net.FileConn(f)
	if err != nil {
		return nil, fmt.Errorf("use the descriptor %s: %w", name, err)
	}
	u, ok := c.(*net.UnixConn)
	if !ok {
		c.Close()
		return nil, fmt.Errorf("use the descriptor %s: not a Unix socket", name)
	}
	return u, nil
}

func newSpeaker(h *hello) (*Speaker, error) {
	conn, err := fileConn(connFD, "conn")
	if err != nil {
		return nil, err
	}
	s := &Speaker{Conn: conn, Report: h.Report}
	s.Report.PID = os.Getpid()
	for i := range h.Files {
		s.Files = append(s.Files, os.NewFile(uintptr(filesFD+i), fmt.Sprintf("inherited file %d", i)))
	}
	return s, nil
}

// confine does what the process has to do itself, and checks what Start has done. What the
// kernel shows in /proc is Start's to check: this process cannot open it.
func confine(h *hello) (filterLength int, err error) {
	unix.Umask(0o077)
	// No core file, and no process of the same user may attach to this one.
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return 0, fmt.Errorf("forbid to attach: %w", err)
	}
	if err := unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{}); err != nil {
		return 0, fmt.Errorf("forbid core files: %w", err)
	}
	if h.Report.Landlock > 0 {
		fd, err := unix.Open("/", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		if err == nil {
			unix.Close(fd)
			return 0, errors.New("the Landlock domain is not in force: / can be opened")
		}
	}
	return confineCalls(h.Grants)
}

// follow waits for orders, for the word to stop, and for the end of the tracer.
func follow(in *json.Decoder, orders chan json.RawMessage, cancel context.CancelCauseFunc) {
	stopped := false
	for {
		var word json.RawMessage
		err := in.Decode(&word)
		if err == nil {
			if string(word) == `"`+stopWord+`"` {
				stopped = true
				cancel(ErrStopped)
			} else {
				replace(orders, word)
			}
			continue
		}
		if !errors.Is(err, io.EOF) {
			err = errors.Join(ErrTracerGone, err)
		} else {
			err = ErrTracerGone
		}
		cancel(err)
		time.Sleep(grace)
		if stopped {
			os.Exit(0)
		}
		os.Exit(1)
	}
}

// replace puts an order into the place of one that nobody has taken: who takes no orders
// does not keep this process from noticing the end of the tracer.
func replace(orders chan json.RawMessage, order json.RawMessage) {
	select {
	case <-orders:
	default:
	}
	orders <- order // there is room: nobody else sends
}
