package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/netip"
	"os"
	"os/exec"
	"strconv"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/twtrace/twtrace/internal/event"
	"github.com/twtrace/twtrace/internal/kernel"
	"github.com/twtrace/twtrace/internal/kerneltest"
	"github.com/twtrace/twtrace/internal/live"
	"github.com/twtrace/twtrace/internal/output"
	"github.com/twtrace/twtrace/internal/session"
	"github.com/twtrace/twtrace/internal/session/sessiontest"
)

// asTraced in the environment of a test binary that runs as twtrace says what it traces in
// the place of the kernel: "piped", "exhausting" or "interrupted".
const asTraced = "TWTRACE_TEST_TRACED"

// pipeFD is where such a process has its pipe.
const pipeFD = 3

// piped is a trace of no kernel in a process of its own, in real time. Each line that it
// reads is a number of connections that are made at once, or "churn" and how many are
// made each second from then on.
type piped struct {
	made
	unread []byte
	queue  []event.Event
	left   int // connections to make
	rate   int // a second
	since  time.Time
	done   int // of them
	over   bool
	cookie uint64
}

func attachPiped(live.Options) (running, error) {
	return &piped{made: made{Source: &sessiontest.Source{From: time.Now(), Header: event.StartInfo{Version: version, Schema: output.Schema, Host: "made"},
		ByNetNS: map[uint32]kernel.Limits{madeNetNS: madeLimits(28000)}}}}, nil
}

// attachExhausting has a client run out of ports in the namespace that twtrace runs in, in
// half a second or so.
func attachExhausting(live.Options) (running, error) {
	src, err := inOwnNetNS(exhausting())
	return &made{Source: src, pace: 3 * time.Millisecond}, err
}

// attachInterrupted does so, goes on without events, and has the process interrupted.
func attachInterrupted(live.Options) (running, error) {
	src, err := inOwnNetNS(exhausting())
	src.Until = src.From.Add(100000 * time.Hour)
	interrupt := func() error { return unix.Kill(os.Getpid(), unix.SIGINT) }
	return &cue{made{Source: src, pace: 3 * time.Millisecond}, len(src.Events), interrupt}, err
}

// Next waits for events as a trace of the kernel does.
func (p *piped) Next(_ context.Context, e *event.Event) error {
	if len(p.queue) == 0 && p.left == 0 {
		if err := p.orders(); err != nil {
			return err
		}
		if p.rate > 0 && !p.over {
			due := int(time.Since(p.since).Seconds() * float64(p.rate))
			p.left, p.done = due-p.done, due
		}
	}
	switch {
	case len(p.queue) > 0:
	case p.left > 0:
		p.left--
		p.connect()
	case p.over:
		return io.EOF
	default:
		return session.ErrIdle
	}
	*e, p.queue = p.queue[0], p.queue[1:]
	return nil
}

// orders reads what the pipe says: after Finish all that is in it.
func (p *piped) orders() error {
	wait := 10 // ms
	if p.over {
		wait = 0
	}
	fds := []unix.PollFd{{Fd: pipeFD, Events: unix.POLLIN}}
	if n, err := unix.Poll(fds, wait); n == 0 || err != nil { // EINTR
		return nil
	}
	var buf [4096]byte
	n, err := unix.Read(pipeFD, buf[:])
	if err != nil {
		return fmt.Errorf("read the pipe: %w", err)
	}
	if n == 0 && !p.over {
		time.Sleep(time.Duration(wait) * time.Millisecond) // nobody is at its other end
	}
	p.unread = append(p.unread, buf[:n]...)
	for {
		line, rest, ok := bytes.Cut(p.unread, []byte("\n"))
		if !ok {
			return nil
		}
		p.unread = rest
		number, churns := bytes.CutPrefix(line, []byte("churn "))
		n, err := strconv.Atoi(string(number))
		switch {
		case err != nil:
			return err
		case churns:
			p.rate, p.since, p.done = n, time.Now(), 0
		default:
			p.left += n
		}
	}
}

// connect makes one connection.
func (p *piped) connect() {
	p.cookie++
	e := event.Event{Time: time.Now().UnixNano(), Kind: event.Open, NetNS: madeNetNS, Cookie: rand.Uint64(), Role: event.Client,
		Local: netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), uint16(32768+p.cookie%28000)), Remote: madeServer, Opener: madeClient}
	enter := e
	enter.Kind, enter.Closer, enter.CloseProc, enter.Life = event.TimeWaitEnter, event.LocalSide, madeClient, 1e6
	p.queue = append(p.queue[:0], e, enter)
}

func (p *piped) End(why string) (event.Event, error) {
	return event.Event{Time: time.Now().UnixNano(), Kind: event.End, End: &event.EndInfo{Why: why, Births: p.cookie, Begins: p.cookie, Alive: p.cookie}}, nil
}

func (p *piped) Finish()                                   { p.over = true }
func (p *piped) Mode() string                              { return "LIVE" }
func (p *piped) Now() time.Time                            { return time.Now() }
func (p *piped) Tend(bool, func(*event.Event) error) error { return nil }

// orders is what a piped trace is to show.
type orders struct {
	t testing.TB
	w *os.File
}

// pipe has cmd, which is not yet started, trace what is ordered.
func pipe(t testing.TB, cmd *exec.Cmd) orders {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close(); w.Close() })
	cmd.ExtraFiles = []*os.File{r}
	cmd.Env = append(cmd.Env, asTraced+"=piped")
	return orders{t, w}
}

// make has so many connections made.
func (o orders) make(n int) { o.say(strconv.Itoa(n)) }

// churn has so many made each second.
func (o orders) churn(rate int) { o.say(fmt.Sprint("churn ", rate)) }

func (o orders) say(order string) {
	o.t.Helper()
	if _, err := o.w.WriteString(order + "\n"); err != nil {
		o.t.Fatal(err)
	}
}

// taken waits until the trace is there, and has read what was ordered.
func (o orders) taken() {
	o.t.Helper()
	kerneltest.Eventually(o.t, patience, func() (bool, string) {
		n, err := unix.IoctlGetInt(int(o.w.Fd()), unix.TIOCINQ)
		return err == nil && n == 0, fmt.Sprintf("%d bytes are not read, %v", n, err)
	})
}

// pipedCommand is twtrace with args over a piped trace, not yet started.
func pipedCommand(t testing.TB, args ...string) (*exec.Cmd, orders) {
	cmd := command(args...)
	return cmd, pipe(t, cmd)
}
