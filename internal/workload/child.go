package workload

import (
	"context"
	"encoding/binary"
	"encoding/gob"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/twtrace/twtrace/internal/event"
)

// envMode makes a process a workload.
const envMode = "TWTRACE_WORKLOAD"

// The values of envMode.
const (
	modeRun  = "run"  // read a Spec and then orders from stdin
	modeExit = "exit" // do nothing
)

// logFD is the descriptor of a workload process that leads to its parent.
const logFD = 3

// order is what the parent sends to the child; message is what it gets back.
type (
	order struct {
		Go, Cue, Stop bool
		Drain         bool
		Accepted      uint64 // with Drain: connections the clients have made
	}
	message struct {
		Ready   bool
		Addrs   []netip.AddrPort
		Held    bool
		Records []Record
		Done    *summary
	}
	summary struct {
		Opened, Rounds, Forks uint64
		Failed                map[Failure]uint64
		Elapsed               time.Duration
	}
)

// In a workload the main goroutine keeps the first thread, so that the threads
// that do the work are others, and may have other names.
func init() {
	if _, ok := os.LookupEnv(envMode); ok {
		runtime.LockOSThread()
	}
}

// Main turns the process into the workload it was started as, and does not
// return then. In any other process it returns at once. Call it first in
// TestMain, or in the main of a program for developers.
func Main() {
	mode, ok := os.LookupEnv(envMode)
	if !ok {
		return
	}
	if mode == modeExit {
		os.Exit(0)
	}
	runMode := runChild
	if mode == modeHand {
		runMode = runHand
	}
	if err := runMode(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// child is the workload process.
type child struct {
	spec Spec
	in   *gob.Decoder
	out  *gob.Encoder
	mu   sync.Mutex // guards out

	started chan struct{} // closed by Go
	cue     chan struct{} // closed by Cue
	stop    context.Context
	cancel  context.CancelFunc // ends stop; call halt
	stopFD  int                // readable once stopped

	// wakeFD becomes readable with every order; epoll instances watch it
	// edge-triggered, so each is woken once for each.
	wakeFD int
	cued   atomic.Bool
	drain  atomic.Bool
	target atomic.Uint64 // with drain: connections to have accepted
	tally  tally
}

func runChild() error {
	unix.CloseOnExec(logFD)
	c := &child{
		in: gob.NewDecoder(os.Stdin), out: gob.NewEncoder(os.NewFile(logFD, "log")),
		started: make(chan struct{}), cue: make(chan struct{}),
	}
	if err := c.in.Decode(&c.spec); err != nil {
		return fmt.Errorf("read the workload: %w", err)
	}
	if err := c.prepare(); err != nil {
		return err
	}
	c.stop, c.cancel = context.WithCancel(context.Background())
	go c.obey()

	run := c.connect
	switch {
	case c.spec.Serve != nil:
		run = c.serve
	case c.spec.Noise != nil:
		run = c.noise
	}
	if err := run(); err != nil {
		return err
	}
	return c.send(message{Done: c.tally.summary()})
}

// prepare names the process and opens what its threads wait on.
func (c *child) prepare() (err error) {
	if c.spec.Comm != "" {
		if err := nameProcess(c.spec.Comm); err != nil {
			return err
		}
	}
	if err := limitFiles(c.spec.Files); err != nil {
		return err
	}
	if c.stopFD, err = unix.Eventfd(0, unix.EFD_CLOEXEC); err != nil {
		return fmt.Errorf("create an eventfd: %w", err)
	}
	if c.wakeFD, err = unix.Eventfd(0, unix.EFD_CLOEXEC); err != nil {
		return fmt.Errorf("create an eventfd: %w", err)
	}
	return nil
}

// nameProcess names the process, which is to name its thread group leader.
func nameProcess(name string) error {
	if err := os.WriteFile("/proc/self/comm", []byte(name), 0); err != nil {
		return fmt.Errorf("name the workload: %w", err)
	}
	return nil
}

// limitFiles sets the number of descriptors; 0 asks for as many as can be had.
func limitFiles(n uint64) error {
	if n != 0 {
		if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: n, Max: n}); err != nil {
			return fmt.Errorf("limit open files to %d: %w", n, err)
		}
		return nil
	}
	for _, n := range []uint64{1 << 20, 1 << 18, 1 << 16} {
		if unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: n, Max: n}) == nil {
			break
		}
	}
	return nil // the inherited limit may well be enough
}

// obey follows the parent's orders. Their end is the parent's end, however that
// came about, and no workload outlives its parent: this needs no death signal,
// which would be sent when the thread ends that started the process.
func (c *child) obey() {
	start := sync.OnceFunc(func() { close(c.started) })
	cue := sync.OnceFunc(func() { close(c.cue) })
	for {
		var o order
		if err := c.in.Decode(&o); err != nil {
			os.Exit(1)
		}
		switch {
		case o.Go:
			start()
		case o.Cue:
			c.cued.Store(true)
			cue()
		case o.Drain:
			c.target.Store(o.Accepted)
			c.drain.Store(true)
		case o.Stop:
			c.halt()
		}
		signal(c.wakeFD)
	}
}

// halt has all threads end what they do.
func (c *child) halt() {
	c.cancel()
	signal(c.stopFD)
	signal(c.wakeFD)
}

// signal makes an eventfd readable. It fails only if nobody has read the
// descriptor 2^64 times, and then it is readable.
func signal(fd int) {
	_, _ = unix.Write(fd, binary.NativeEndian.AppendUint64(nil, 1))
}

func (c *child) send(m message) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.out.Encode(m); err != nil {
		return fmt.Errorf("write to the log: %w", err)
	}
	return nil
}

// batch is how many records go into one message.
const batch = 1024

func (c *child) sendRecords(all []Record) error {
	for len(all) > 0 {
		n := min(len(all), batch)
		if err := c.send(message{Records: all[:n]}); err != nil {
			return err
		}
		all = all[n:]
	}
	return nil
}

// threads runs f on as many threads as the workload has, each named, and
// returns when all have ended. The first error stops the process.
func (c *child) threads(f func(i int) error) error {
	n := max(c.spec.Workers, 1)
	errs := make(chan error, n)
	for i := range n {
		go func() {
			runtime.LockOSThread()
			name := c.spec.ThreadComm
			if name == "" {
				name = c.spec.Comm
			}
			errs <- errors.Join(nameThread(name), f(i))
		}()
	}
	var first error
	for range n {
		if err := <-errs; err != nil && first == nil {
			first = err
			c.halt()
		}
	}
	return first
}

// nameThread names the calling thread. It is never the thread group leader: the
// main goroutine keeps that one.
func nameThread(name string) error {
	if name == "" {
		return nil
	}
	path := fmt.Sprintf("/proc/self/task/%d/comm", unix.Gettid())
	if err := os.WriteFile(path, []byte(name), 0); err != nil {
		return fmt.Errorf("name a thread of the workload: %w", err)
	}
	return nil
}

// tally counts what all threads of the process did.
type tally struct {
	opened, rounds, forks atomic.Uint64
	began                 time.Time
	elapsed               time.Duration

	mu     sync.Mutex
	failed map[Failure]uint64
}

// fail counts a failed call and returns its errno. An error that is none is
// returned as it is.
func (t *tally) fail(call event.Call, err error) (syscall.Errno, error) {
	var errno syscall.Errno
	if !errors.As(err, &errno) {
		return 0, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.failed == nil {
		t.failed = make(map[Failure]uint64)
	}
	t.failed[Failure{call, errno}]++
	return errno, nil
}

func (t *tally) summary() *summary {
	return &summary{
		Opened: t.opened.Load(), Rounds: t.rounds.Load(), Forks: t.forks.Load(),
		Failed: t.failed, Elapsed: t.elapsed,
	}
}
