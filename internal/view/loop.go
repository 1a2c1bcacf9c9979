package view

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	tea "charm.land/bubbletea/v2"
	"golang.org/x/term"

	"github.com/twtrace/twtrace/internal/clipboard"
)

// LoopOptions is how Loop starts.
type LoopOptions struct {
	In, Out  *os.File // the terminal
	Caps     Caps
	Display  Display       // to start with
	Interval time.Duration // of the source; what + and - start from
	Preserve bool          // leave the last frame on the normal screen, not a summary

	// Record starts (on) or ends a recording of the trace, and returns its file; nil
	// if it cannot be recorded. It is called from goroutines of its own, one after
	// the other.
	Record func(on bool) (path string, err error)
	// Clipboard takes what the keys y and Y copy. It is called from goroutines of its
	// own. Nil: there is none, and a command is shown to be copied by hand.
	Clipboard clipboard.Board
	Mouse     bool // clicks and the wheel come to the view, not to the terminal
	// NetNS are the network namespaces that have a name; nil if that is not known beside
	// what the rows say. It is called when a filter is about to be typed.
	NetNS func() map[uint32]string
	// Name is the name of a peer, "" if it has none; nil if names cannot be asked for.
	// It is called from goroutines of its own, and may take seconds.
	Name func(netip.Addr) string
}

// maxFPS bounds how often the terminal is written to, and with it how long a key
// takes to show.
const maxFPS = 60

// Loop draws the states of src on a terminal until the user quits, src ends
// (io.EOF), ctx is done, or SIGINT, SIGTERM or SIGHUP comes; none of these is an
// error. Whatever ends it, a panic of src included, the terminal is as before when
// it returns, and five lines of summary are on the normal screen.
func Loop(ctx context.Context, src Source, o LoopOptions) error {
	// Bubble Tea would search for another terminal where In is none, and take over
	// that one.
	before, err := term.GetState(int(o.In.Fd()))
	if err != nil {
		return fmt.Errorf("read the mode of the terminal: %w", err)
	}
	m := newModel(src, o)
	in := &input{File: o.In}
	p := tea.NewProgram(m, tea.WithInput(in), tea.WithOutput(o.Out),
		tea.WithoutSignalHandler(), tea.WithColorProfile(o.Caps.profile()), tea.WithFPS(maxFPS))
	in.gone = func() { p.Send(quitMsg{hangup: true}) }
	stop := start(ctx, p, src, m.jobs)
	_, err = p.Run()
	stop()
	restored := term.Restore(int(o.In.Fd()), before)
	m.crash.rethrow()
	hangup := m.hangup || in.ended.Load() || errors.Is(err, syscall.EIO)
	switch {
	case hangup: // there is no terminal to restore
		return nil
	case err != nil:
		err = fmt.Errorf("draw on the terminal: %w", err)
	case m.err != nil:
		err = fmt.Errorf("next frame: %w", m.err)
	}
	if restored != nil {
		err = errors.Join(err, fmt.Errorf("restore the terminal: %w", restored))
	}
	fmt.Fprint(o.Out, m.farewell())
	return err
}

// farewell is what stays on the normal screen.
func (m *model) farewell() string {
	s := m.shown()
	if s == nil {
		return ""
	}
	lines := Summary(s, m.width, m.opt.Caps)
	if m.opt.Preserve {
		m.display.Notice, m.display.Prompt = "", false
		lines = Frame(s, m.display, m.width, m.height, m.opt.Caps)
	}
	return strings.Join(append(lines, m.copied...), "\n") + "\n"
}

// start has what happens outside of the program sent to it: states of the source,
// signals, and the end of ctx. What it returns stops all of that, and waits for it.
func start(ctx context.Context, p *tea.Program, src Source, jobs *jobControl) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	var running sync.WaitGroup
	states := feed(ctx, src)
	running.Go(func() {
		for f := range states {
			p.Send(f)
		}
		p.Send(fed{err: io.EOF})
	})
	running.Go(func() {
		<-ctx.Done()
		p.Send(quitMsg{})
	})
	running.Go(func() { jobs.watch(ctx, p) })
	return func() {
		cancel()
		running.Wait()
	}
}

// quitMsg ends the program.
type quitMsg struct {
	hangup bool // the terminal is gone
}

// input is a terminal that reports when it is gone: Bubble Tea continues without input.
type input struct {
	*os.File
	gone  func()
	ended atomic.Bool
}

// Read reads keys.
func (i *input) Read(b []byte) (int, error) {
	n, err := i.File.Read(b)
	if errors.Is(err, io.EOF) || errors.Is(err, syscall.EIO) {
		if !i.ended.Swap(true) {
			go i.gone()
		}
	}
	return n, err
}
