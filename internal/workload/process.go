package workload

import (
	"bytes"
	"context"
	"encoding/gob"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"sync"
	"syscall"

	"github.com/twtrace/twtrace/internal/netns"
)

// Process is a running workload. It ends with its work, with its context, and
// in any case with the process that started it.
type Process struct {
	cmd    *exec.Cmd
	comm   string
	stderr bytes.Buffer

	mu     sync.Mutex // guards orders and killed
	orders *gob.Encoder
	killed bool

	ready chan struct{}
	held  chan struct{}
	done  chan struct{}

	addrs []netip.AddrPort // set before ready is closed
	log   Log              // set before done is closed
	err   error            // set before done is closed
}

// Start starts a workload in the network namespace at path; "" is the
// caller's own. The program must call Main.
func Start(ctx context.Context, path string, spec Spec) (*Process, error) {
	if err := spec.Validate(); err != nil {
		return nil, err
	}
	if spec.Comm == "" {
		spec.Comm = "workload"
	}
	ordersOut, ordersIn, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("start workload %q: %w", spec.Comm, err)
	}
	defer ordersOut.Close()
	logOut, logIn, err := os.Pipe()
	if err != nil {
		ordersIn.Close()
		return nil, fmt.Errorf("start workload %q: %w", spec.Comm, err)
	}
	defer logIn.Close()

	p := &Process{
		cmd: exec.CommandContext(ctx, "/proc/self/exe"), comm: spec.Comm,
		orders: gob.NewEncoder(ordersIn),
		ready:  make(chan struct{}), held: make(chan struct{}), done: make(chan struct{}),
	}
	p.cmd.Env = append(os.Environ(), envMode+"="+modeRun)
	p.cmd.Stdin, p.cmd.Stderr, p.cmd.ExtraFiles = ordersOut, &p.stderr, []*os.File{logIn}
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := netns.In(path, p.cmd.Start); err != nil {
		ordersIn.Close()
		logOut.Close()
		return nil, fmt.Errorf("start workload %q: %w", spec.Comm, err)
	}
	p.log = Log{PID: uint32(p.cmd.Process.Pid), Comm: spec.Comm}
	go func() {
		p.err = p.follow(logOut)
		ordersIn.Close()
		close(p.done)
	}()
	if err := p.orders.Encode(spec); err != nil {
		// It is gone already, and says why itself.
		_, err2 := p.Wait()
		return nil, fmt.Errorf("start workload %q: %w", spec.Comm, errors.Join(err, err2))
	}
	return p, nil
}

// follow reads the log of the process until both have ended.
func (p *Process) follow(r *os.File) error {
	defer r.Close()
	in := gob.NewDecoder(r)
	var bad error
	finished := false
	for {
		var m message
		if err := in.Decode(&m); err != nil {
			if !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
				bad = fmt.Errorf("read the log: %w", err)
			}
			break
		}
		finished = p.take(m) || finished
	}
	err := p.cmd.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.killed:
		p.log.Opened = uint64(len(p.log.Cookies()))
		return nil
	case bad != nil:
		err = bad
	case err == nil && !finished:
		err = errors.New("ended without a summary; does the program call workload.Main?")
	case err == nil:
		return nil
	}
	return fmt.Errorf("workload %q (pid %d): %w: %s", p.comm, p.log.PID, err, bytes.TrimSpace(p.stderr.Bytes()))
}

// take adds a message to what is known, and reports whether it was the last.
func (p *Process) take(m message) bool {
	if m.Ready {
		p.addrs = m.Addrs
		close(p.ready)
	}
	if m.Held {
		close(p.held)
	}
	for _, r := range m.Records {
		r.PID, r.Comm = p.log.PID, p.comm
		p.log.Records = append(p.log.Records, r)
	}
	if m.Done == nil {
		return false
	}
	d := m.Done
	p.log.Opened, p.log.Rounds, p.log.Forks = d.Opened, d.Rounds, d.Forks
	p.log.Failed, p.log.Elapsed = d.Failed, d.Elapsed
	return true
}

// PID returns the process id.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Ready waits until the listeners are up, or the clients are about to start,
// and returns the addresses listened on.
func (p *Process) Ready() ([]netip.AddrPort, error) {
	return p.addrs, p.await(p.ready, "it was ready")
}

// Held waits until all connections of a workload that holds them are open.
func (p *Process) Held() error { return p.await(p.held, "it held its connections") }

func (p *Process) await(c <-chan struct{}, what string) error {
	select {
	case <-c:
		return nil
	case <-p.done:
	}
	select { // it may have ended right after
	case <-c:
		return nil
	default:
	}
	if p.err != nil {
		return p.err
	}
	return fmt.Errorf("workload %q ended before %s", p.comm, what)
}

// Go starts the work of clients and noise; servers work from the start.
func (p *Process) Go() error { return p.order(order{Go: true}) }

// Cue closes the connections of a workload whose End is OnCue.
func (p *Process) Cue() error { return p.order(order{Cue: true}) }

// Drain has a server end once it has accepted as many connections as its
// clients have made, and has ended them all.
func (p *Process) Drain(accepted uint64) error {
	return p.order(order{Drain: true, Accepted: accepted})
}

// Stop has the process end now, if it has not. What it holds open is closed by
// its exit.
func (p *Process) Stop() error {
	err := p.order(order{Stop: true})
	if errors.Is(err, errEnded) {
		return nil
	}
	return err
}

// Kill ends the process with SIGKILL; Wait then returns what it had sent.
func (p *Process) Kill() error {
	p.mu.Lock()
	p.killed = true
	p.mu.Unlock()
	if err := p.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("kill workload %q: %w", p.comm, err)
	}
	return nil
}

// errEnded is given to those who give orders to a process that is gone.
var errEnded = errors.New("it has ended")

func (p *Process) order(o order) error {
	p.mu.Lock()
	err := p.orders.Encode(o)
	p.mu.Unlock()
	if errors.Is(err, syscall.EPIPE) || errors.Is(err, os.ErrClosed) {
		<-p.done
		err = errors.Join(errEnded, p.err)
	}
	if err != nil {
		return fmt.Errorf("give an order to workload %q: %w", p.comm, err)
	}
	return nil
}

// Wait waits for the end of the process and returns its log. Of a process that
// was killed by Kill it has the records of what was held, and their number.
func (p *Process) Wait() (Log, error) {
	<-p.done
	return p.log, p.err
}
