package view

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/twtrace/twtrace/internal/clipboard"
)

// fake is a source that gives what the test sends it.
type fake struct {
	states   chan *State
	interval chan time.Duration
	ended    chan struct{}
	once     sync.Once
	reset    atomic.Bool
}

func newFake() *fake {
	return &fake{states: make(chan *State), interval: make(chan time.Duration, 8), ended: make(chan struct{})}
}

func (f *fake) Next(ctx context.Context) (*State, error) {
	select {
	case s, ok := <-f.states:
		switch {
		case !ok:
			return nil, io.EOF
		case s.Host == "panic":
			panic("the source is broken")
		case s.Host == "error":
			return nil, errors.New("no more memory")
		}
		return s, nil
	case <-ctx.Done():
		f.once.Do(func() { close(f.ended) })
		return nil, ctx.Err()
	}
}

func (f *fake) Reset() { f.reset.Store(true) }

func (f *fake) SetInterval(d time.Duration) { f.interval <- d }

func named(host string, at int64) *State {
	s := storm()
	s.Host, s.Time = host, time.Unix(at, 0)
	return s
}

func TestLoopKeys(t *testing.T) {
	p := openPTY(t)
	src := newFake()
	wait := p.run(t.Context(), src)
	p.Await("waiting for the first interval")
	src.states <- named("host-a", 100)
	p.Await("host-a")
	p.Await("sort severity")
	p.Press("s")
	p.Await("sort TW")
	p.Press("g")
	p.Await("[2 Procs]")
	p.Press("s")
	p.Await("sort PORT%")
	p.Press("+")
	if d := <-src.interval; d != 2*time.Second {
		t.Errorf("interval %v after +, want 2s", d)
	}
	p.Press("--")
	if d := [2]time.Duration{<-src.interval, <-src.interval}; d != [2]time.Duration{time.Second, 500 * time.Millisecond} {
		t.Errorf("intervals %v after --", d)
	}
	p.Press(" ")
	p.Await(" 0s ago]")
	src.states <- named("host-b", 107)
	p.Await("host-a  up 3m12s   every 1s  [PAUSED 00:01:40 UTC 7s ago 1/2]")
	p.Press(" ")
	p.Await("host-b  up 3m12s   every 1s  [LIVE]")
	p.Resize(132, 43)
	if err := syscall.Kill(os.Getpid(), syscall.SIGWINCH); err != nil {
		t.Fatal(err)
	}
	p.Await("LOCAL")
	p.Press("q")
	if err := wait(); err != nil {
		t.Error(err)
	}
	p.Restored()
	p.Await("twtrace host-b, ")
	p.Await("lost      0")
	select {
	case <-src.ended:
	default:
		t.Error("the source still runs")
	}
}

// With --preserve-screen the last frame stays, and not a summary.
func TestLoopPreserves(t *testing.T) {
	p := openPTY(t)
	src := newFake()
	wait := p.start(t.Context(), src, LoopOptions{Preserve: true})
	src.states <- named("host-a", 100)
	p.Await("8 flows")
	p.Press("q")
	if err := wait(); err != nil {
		t.Error(err)
	}
	p.Restored()
	p.Until("the frame is on the normal screen", func() bool {
		return strings.Contains(p.Text(), "8 flows") && strings.Contains(p.Text(), "(pre-start)") && !strings.Contains(p.Text(), "watched")
	})
}

// A long first interval is counted down.
func TestLoopWaits(t *testing.T) {
	p := openPTY(t)
	wait := p.start(t.Context(), newFake(), LoopOptions{Interval: time.Minute})
	p.Await("waiting for the first interval, 2s of 60s")
	p.Press("q")
	if err := wait(); err != nil {
		t.Error(err)
	}
}

func TestLoopEnds(t *testing.T) {
	tests := []struct {
		name string
		end  func(*pty, *fake, context.CancelFunc)
		err  string
	}{
		{"Ctrl-C", func(p *pty, _ *fake, _ context.CancelFunc) { p.Press("\x03") }, ""},
		{"Esc, Ctrl-C", func(p *pty, _ *fake, _ context.CancelFunc) { p.Press("\x1b\x03") }, ""},
		{"context", func(_ *pty, _ *fake, cancel context.CancelFunc) { cancel() }, ""},
		{"end of a replay", func(_ *pty, f *fake, _ context.CancelFunc) { close(f.states) }, ""},
		{"error", func(_ *pty, f *fake, _ context.CancelFunc) { f.states <- named("error", 1) }, "next frame: no more memory"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := openPTY(t)
			src := newFake()
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			wait := p.run(ctx, src)
			src.states <- named("host-a", 100)
			p.Await("host-a")
			tt.end(p, src, cancel)
			err := wait()
			if tt.err == "" && err != nil || tt.err != "" && (err == nil || err.Error() != tt.err) {
				t.Errorf("error %v, want %q", err, tt.err)
			}
			p.Restored()
			p.Await("twtrace host-a")
		})
	}
}

// The terminal goes away: no error, and no goroutine is left.
func TestLoopHangup(t *testing.T) {
	p := openPTY(t)
	src := newFake()
	wait := p.run(t.Context(), src)
	p.Await("waiting")
	p.Master.Close()
	if err := wait(); err != nil {
		t.Error(err)
	}
	<-src.ended
}

func TestLoopNoTerminal(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	if err := Loop(t.Context(), newFake(), LoopOptions{In: r, Out: w}); !errors.Is(err, syscall.ENOTTY) {
		t.Errorf("error %v, want ENOTTY", err)
	}
}

const childEnv = "TWTRACE_TEST_LOOP"

// TestMain runs the loop alone in a child, for what ends a whole process.
func TestMain(m *testing.M) {
	if os.Getenv(childEnv) == "" {
		os.Exit(m.Run())
	}
	src := newFake()
	if os.Getenv(childEnv) == "batch" {
		os.Exit(childBatch(src))
	}
	go func() {
		panics := make(chan os.Signal, 1)
		signal.Notify(panics, syscall.SIGUSR1)
		first := named("child", 100)
		if os.Getenv(childEnv) == "copy" {
			first = told()
			first.Host = "child"
		}
		src.states <- first
		<-panics
		src.states <- named("panic", 101)
	}()
	o := LoopOptions{In: os.Stdin, Out: os.Stdout, Mouse: true, Clipboard: clipboard.Find(), Display: Display{Enter: inShop}}
	if err := Loop(context.Background(), src, o); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// childBatch writes tables until nobody reads them, and returns the exit status.
func childBatch(src *fake) int {
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	go func() {
		for i := int64(0); ; i++ {
			src.states <- named("child", i)
		}
	}()
	if err := RunBatch(context.Background(), src, os.Stdout, Display{}, 0, false); !errors.Is(err, syscall.EPIPE) {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

func TestLoopInChild(t *testing.T) {
	tests := []struct {
		name   string
		signal syscall.Signal
		code   int
		stderr string
	}{
		{"SIGTERM", syscall.SIGTERM, 0, ""},
		{"SIGINT", syscall.SIGINT, 0, ""},
		{"SIGHUP", syscall.SIGHUP, 0, ""},
		{"panic", syscall.SIGUSR1, 2, "the source is broken"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := openPTY(t)
			exe, err := os.Executable()
			if err != nil {
				t.Fatal(err)
			}
			cmd := exec.Command(exe)
			cmd.Env = append(os.Environ(), childEnv+"="+tt.name)
			cmd.Stdin, cmd.Stdout = p.Slave, p.Slave
			var stderr strings.Builder
			cmd.Stderr = &stderr
			cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			p.Await("child")
			if !p.Full() {
				t.Error("not on a screen of its own")
			}
			if err := cmd.Process.Signal(tt.signal); err != nil {
				t.Fatal(err)
			}
			timer := time.AfterFunc(20*time.Second, func() { cmd.Process.Kill() })
			defer timer.Stop()
			err = cmd.Wait()
			if code := cmd.ProcessState.ExitCode(); code != tt.code {
				t.Errorf("%v, want exit status %d; stderr %s", err, tt.code, stderr.String())
			}
			if !strings.Contains(stderr.String(), tt.stderr) || tt.stderr == "" && stderr.Len() > 0 {
				t.Errorf("stderr %q, want %q", stderr.String(), tt.stderr)
			}
			p.Restored()
		})
	}
}

func TestStepInterval(t *testing.T) {
	tests := []struct {
		from   time.Duration
		longer bool
		want   time.Duration
	}{
		{time.Second, true, 2 * time.Second}, {time.Second, false, 500 * time.Millisecond},
		{3 * time.Second, true, 5 * time.Second}, {3 * time.Second, false, 2 * time.Second},
		{time.Minute, true, time.Minute}, {time.Hour, true, time.Minute}, {time.Hour, false, time.Minute},
		{500 * time.Millisecond, false, 500 * time.Millisecond}, {0, false, 500 * time.Millisecond}, {0, true, 500 * time.Millisecond},
	}
	for _, tt := range tests {
		if got := stepInterval(tt.from, tt.longer); got != tt.want {
			t.Errorf("%v, longer %v: %v, want %v", tt.from, tt.longer, got, tt.want)
		}
	}
}

func TestRunBatch(t *testing.T) {
	src := newFake()
	go func() {
		for i := range 3 {
			src.states <- named("h", int64(i))
		}
		close(src.states)
	}()
	var b strings.Builder
	if err := RunBatch(t.Context(), src, &b, Display{}, 0, false); err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(b.String(), "\n\n# 1970-"); n != 2 || strings.HasSuffix(b.String(), "\n\n") {
		t.Errorf("%d empty lines between three tables", n)
	}
	src = newFake()
	go func() { src.states <- named("h", 1) }()
	b.Reset()
	if err := RunBatch(t.Context(), src, &b, Display{}, 1, false); err != nil || strings.Count(b.String(), "SEV") != 1 {
		t.Errorf("%v: %s", err, b.String())
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := RunBatch(ctx, newFake(), io.Discard, Display{}, 0, false); err != nil {
		t.Error(err)
	}
	src = newFake()
	go func() { src.states <- named("error", 1) }()
	if err := RunBatch(t.Context(), src, io.Discard, Display{}, 0, false); err == nil {
		t.Error("no error of the source")
	}
}
