package main

import (
	"context"
	"errors"
	"io"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/twtrace/twtrace/internal/conn"
	"github.com/twtrace/twtrace/internal/event"
	"github.com/twtrace/twtrace/internal/storm"
	"github.com/twtrace/twtrace/internal/tracer"
	"github.com/twtrace/twtrace/internal/view"
)

// live feeds the view from a running trace.
type live struct {
	session  *session
	limits   *limitsCache
	builder  view.Builder
	snapshot conn.Snapshot
	journal  view.Journal
	storms   *storm.Detector
	diagnose diagnosis
	every    atomic.Int64 // ns between two states
	forget   atomic.Bool  // begin anew at the next state
	due      time.Time
	shown    time.Time // the last state's

	asks      chan func()    // to be done between two events
	over      chan struct{}  // closed when nothing is done any more
	recording *liveRecording // nil if there is none
	told      view.Recording // of the last one
	files     []string       // what became of each

	cpu   time.Duration // own use at the last state
	cpuAt time.Time
}

func newLive(s *session, interval time.Duration) *live {
	host, _ := os.Hostname()
	if s.tape != nil {
		host = s.tape.reader.Start().Start.Host
	}
	l := &live{session: s, limits: s.limits, diagnose: diagnosis{limits: s.limits, session: s}, storms: storm.New(storm.Options{
		ShortLived: storm.DefaultShortLived, Rate: storm.DefaultRate, Window: storm.DefaultWindow}),
		asks: make(chan func()), over: make(chan struct{})}
	l.builder = view.Builder{Host: host, Begin: s.clock(), Limits: s.limits.of,
		Name: func(inum uint32) string { return s.names[inum] }}
	l.every.Store(int64(interval))
	if s.tape != nil && s.tape.from != 0 {
		l.due = time.Unix(0, s.tape.from)
		for s.clock().Before(l.due) && l.read() == nil {
		}
	}
	l.due = s.clock().Add(interval)
	l.cpu, l.cpuAt = ownCPU(), time.Now()
	s.talk, s.wanted = nil, s.relevant
	// The state at the start, so that the first interval has rates.
	var e event.Event
	for s.queue.next(&e) {
		s.witness(&e)
		l.apply(&e)
	}
	s.table.Snapshot(s.clock().UnixNano(), &l.snapshot)
	l.builder.Build(&l.snapshot)
	return l
}

func (l *live) interval() time.Duration { return time.Duration(l.every.Load()) }

// SetInterval changes the interval from the next state on.
func (l *live) SetInterval(d time.Duration) { l.every.Store(int64(d)) }

// Reset forgets what is over, at the next state.
func (l *live) Reset() { l.forget.Store(true) }

// Next reads events until the interval is over and returns the state then. It
// returns io.EOF when the trace has ended.
func (l *live) Next(ctx context.Context) (*view.State, error) {
	if err := l.fill(ctx); err != nil {
		return nil, err
	}
	now := l.session.clock()
	l.due, l.shown = now.Add(l.interval()), now
	l.limits.refresh()
	if l.forget.Swap(false) {
		l.session.table.Forget()
		l.builder.Forget()
	}
	l.session.table.Snapshot(now.UnixNano(), &l.snapshot)
	s := l.builder.Build(&l.snapshot)
	s.Mode, s.Interval, s.Filter = l.session.mode(), l.interval(), l.session.filter.String()
	cpu := ownCPU()
	s.SelfCPU = float64(cpu-l.cpu) / float64(time.Since(l.cpuAt))
	l.cpu, l.cpuAt = cpu, time.Now()
	s.SelfRSS = ownRSS()
	s.Remarks = l.session.remarks(now)
	if l.session.tape == nil { // a recording has its storms
		for _, e := range l.storms.Tick(&s.Pressure) {
			l.journal.Add(&e)
			l.record(&e)
		}
	}
	if t := l.session.tape; t != nil {
		t.stepped()
	}
	s.Recording = l.recordingState()
	s.Events = l.journal.Entries()
	s.Findings = l.diagnose.findings(s, &l.snapshot)
	s.Conclude()
	return s, nil
}

// fill reads events until the interval is over. Trace files that end within one have
// a last, shorter one.
func (l *live) fill(ctx context.Context) error {
	if t := l.session.tape; t != nil {
		t.quit = ctx.Done()
	}
	for l.session.clock().Before(l.due) {
		if err := ctx.Err(); err != nil {
			return err
		}
		err := l.read()
		if errors.Is(err, io.EOF) && l.session.tape != nil && l.session.clock().After(l.shown) {
			return nil
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// read applies what the ring holds, up to the end of the interval.
func (l *live) read() error {
	var e event.Event
	for n := 0; ; n++ {
		// A look at the clock for each event would cost more than the event.
		if n%1024 == 1023 {
			l.answer()
			if !l.session.clock().Before(l.due) {
				return nil
			}
		}
		err := l.session.next(&e)
		switch {
		case err == nil:
			l.apply(&e)
			if n%tendEvery == tendEvery-1 {
				err = l.session.tend(false, l.tell)
			}
		case errors.Is(err, tracer.ErrIdle):
			l.answer()
			return l.session.tend(true, l.tell)
		case errors.Is(err, io.EOF):
			return io.EOF
		}
		if err != nil {
			return err
		}
	}
}

// apply takes an event into the table, if it shows such.
func (l *live) apply(e *event.Event) {
	l.recording.witness(e)
	if !l.session.relevant(e) {
		return
	}
	repeated := l.session.repeated(e)
	l.session.table.Apply(e)
	l.storms.Observe(e)
	l.journal.Add(e)
	if !repeated {
		l.record(e)
	}
}

// tell takes what the session found out beside the events; the table has it.
func (l *live) tell(e *event.Event) error {
	l.recording.witness(e)
	l.journal.Add(e)
	l.record(e)
	return nil
}

func ignore(*event.Event) error { return nil }

// ownCPU is the processor time this process has used.
func ownCPU() time.Duration {
	var ru unix.Rusage
	if unix.Getrusage(unix.RUSAGE_SELF, &ru) != nil {
		return 0
	}
	return time.Duration(ru.Utime.Nano() + ru.Stime.Nano())
}

// ownRSS is the memory this process holds, in bytes.
func ownRSS() uint64 {
	b, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0
	}
	fields := strings.Fields(string(b))
	if len(fields) < 2 {
		return 0
	}
	pages, _ := strconv.ParseUint(fields[1], 10, 64)
	return pages * uint64(os.Getpagesize())
}
