package view

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"slices"
	"strings"
	"syscall"
	"time"
)

// LoopOptions is how Loop starts.
type LoopOptions struct {
	In, Out  *os.File // the terminal
	Caps     Caps
	Grouping Grouping
	Sort     Sort
	Interval time.Duration // of the source; what + and - start from
}

// intervals are the ones that + and - go through.
var intervals = []time.Duration{
	500 * time.Millisecond, time.Second, 2 * time.Second, 5 * time.Second, 10 * time.Second, 30 * time.Second, time.Minute,
}

// Loop draws the states of src on a terminal until the user quits, src ends
// (io.EOF), ctx is done, or SIGINT, SIGTERM or SIGHUP comes; none of these is an
// error. Whatever ends it, a panic of src included, the terminal is as before when
// it returns, and five lines of summary are on the normal screen.
func Loop(ctx context.Context, src Source, o LoopOptions) (err error) {
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGWINCH)
	defer signal.Stop(signals)

	t, err := openTerminal(o.In, o.Out)
	if err != nil {
		return err
	}
	l := &loop{opt: o, src: src, term: t}
	defer func() {
		// After a hangup there is no terminal to restore.
		if e := t.restore(); e != nil && !l.hangup {
			err = errors.Join(err, fmt.Errorf("restore terminal: %w", e))
		}
		if l.shown != nil && !l.hangup {
			fmt.Fprintln(o.Out, strings.Join(Summary(l.shown, o.Caps), "\n"))
		}
	}()
	keys, err := readKeys(o.In)
	if err != nil {
		return err
	}
	defer keys.close()

	ctx, cancel := context.WithCancel(ctx)
	feed := start(ctx, src)
	defer func() {
		cancel()
		for f := range feed { // wait for it to end
			f.rethrow()
		}
	}()
	return l.run(ctx, feed, keys.keys, signals)
}

// fed is what the source's goroutine hands over.
type fed struct {
	state *State
	err   error
	panic any
	stack []byte
}

// rethrow panics where the terminal is restored on the way out.
func (f *fed) rethrow() {
	if f.panic != nil {
		panic(fmt.Sprintf("%v\n\n%s", f.panic, f.stack))
	}
}

// start calls src in a goroutine, which ends when ctx is done or src has no more.
// A panic of src comes through the channel: elsewhere it would end the program at
// once, with the terminal as it is.
func start(ctx context.Context, src Source) <-chan fed {
	feed := make(chan fed)
	go func() {
		defer close(feed)
		defer func() {
			if p := recover(); p != nil {
				feed <- fed{panic: p, stack: debug.Stack()}
			}
		}()
		for {
			s, err := src.Next(ctx)
			select {
			case feed <- fed{state: s, err: err}:
			case <-ctx.Done():
				return
			}
			if err != nil {
				return
			}
		}
	}()
	return feed
}

type loop struct {
	opt    LoopOptions
	src    Source
	term   *terminal
	latest *State // the last one of the source
	shown  *State // the one on the screen: not the latest while paused
	paused bool
	hangup bool
}

func (l *loop) run(ctx context.Context, feed <-chan fed, keys <-chan key, signals <-chan os.Signal) error {
	for {
		if err := l.draw(); err != nil {
			l.hangup = errors.Is(err, syscall.EIO)
			if l.hangup {
				return nil
			}
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case f, ok := <-feed:
			if !ok {
				return nil
			}
			f.rethrow()
			switch {
			case errors.Is(f.err, io.EOF) || f.err != nil && ctx.Err() != nil:
				return nil
			case f.err != nil:
				return fmt.Errorf("next frame: %w", f.err)
			}
			l.take(f.state)
		case k, ok := <-keys:
			if !ok { // the terminal is gone
				l.hangup = true
				return nil
			}
			if k == keyQuit {
				return nil
			}
			l.press(k)
		case sig := <-signals:
			if sig == syscall.SIGHUP {
				l.hangup = true
			}
			if sig != syscall.SIGWINCH {
				return nil
			}
		}
	}
}

func (l *loop) take(s *State) {
	l.latest = s
	if !l.paused {
		l.shown = s
	}
}

func (l *loop) press(k key) {
	switch k {
	case keyPause:
		l.paused = !l.paused
		l.shown = l.latest
	case keySort:
		l.opt.Sort = (l.opt.Sort + 1) % sorts
	case keyGroup:
		l.opt.Grouping = (l.opt.Grouping + 1) % groupings
	case keyLonger, keyShorter:
		set, ok := l.src.(intervalSetter)
		if !ok {
			return
		}
		l.opt.Interval = stepInterval(l.opt.Interval, k == keyLonger)
		set.SetInterval(l.opt.Interval)
	}
}

// stepInterval is the next longer or shorter one.
func stepInterval(d time.Duration, longer bool) time.Duration {
	i, exact := slices.BinarySearch(intervals, d)
	switch {
	case longer && exact:
		i++
	case !longer:
		i--
	}
	return intervals[min(max(i, 0), len(intervals)-1)]
}

// draw shows what there is.
func (l *loop) draw() error {
	width, height := l.term.size()
	if l.shown == nil {
		return l.term.draw([]string{l.opt.Caps.cut("twtrace: waiting for the first interval", width)})
	}
	s := *l.shown
	s.Grouping, s.Sort = l.opt.Grouping, l.opt.Sort
	if l.paused {
		s.Mode = "PAUSED " + seconds(l.latest.Time.Sub(s.Time))
	}
	return l.term.draw(Frame(&s, width, height, l.opt.Caps))
}
