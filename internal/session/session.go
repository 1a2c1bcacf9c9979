// Package session is the one loop over a Source: it completes events by the table
// of connections, finds storms, and hands records on. It imports neither tracer nor
// record, so that a running trace, trace files and a test drive the same code.
package session

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twtrace/twtrace/internal/conn"
	"github.com/twtrace/twtrace/internal/event"
	"github.com/twtrace/twtrace/internal/filter"
	"github.com/twtrace/twtrace/internal/storm"
)

// Options say what a session does with the events of its source. The zero Options
// are fine.
type Options struct {
	Filter *filter.Filter // what the user asked for; nil for everything
	Print  *filter.Filter // what is printed of that; nil for all of it
	Narrow bool           // the table holds only what the filter accepts
	Storms *storm.Options // nil if nobody asks for storms
	Job    *Job           // the command that is traced, nil if there is none

	// Talk prints a line on stderr; nil prints nothing.
	Talk func(format string, a ...any)
	// Witness sees every event, whether the filter accepts it or not, before the table
	// does; nil if nobody asks.
	Witness func(*event.Event)
}

// Session is a trace in progress. Its methods are for one goroutine, but for Stop.
type Session struct {
	Source
	opt    Options
	table  *conn.Table
	storms *stormWatch // nil if nobody asks for storms
	lost   map[event.Stage]uint64
	events uint64 // that Run has read

	drifted   string // what the screen last said of drift
	driftedAt time.Time

	stopping atomic.Bool
	finished bool
	mu       sync.Mutex
	why      string // why it ended, for the end record
}

// New starts a session over src, and closes src if that fails.
func New(src Source, o Options) (*Session, error) {
	if o.Filter == nil {
		o.Filter = &filter.Filter{}
	}
	if o.Print == nil {
		o.Print = o.Filter
	}
	s := &Session{Source: src, opt: o, lost: make(map[event.Stage]uint64)}
	s.table = conn.New(conn.Options{Limits: s.ConnLimits})
	if o.Storms != nil && !src.Storms() {
		s.storms = newStormWatch(s.table, s.ConnLimits, *o.Storms)
	}
	k := o.Filter.Kernel()
	narrow := k.Processes() // no event shows what others do, nor when they end
	wanted := func(e *event.Event) bool { return !narrow || s.relevant(e) }
	if err := src.Begin(s.table, wanted); err != nil {
		src.Close()
		return nil, err
	}
	narrow = narrow || o.Narrow // of what is from before, not everything is known that a filter asks for
	return s, nil
}

// Table is the table of connections.
func (s *Session) Table() *conn.Table { return s.table }

// Filter is what is printed.
func (s *Session) Filter() *filter.Filter { return s.opt.Print }

// Job is the command that is traced, nil if there is none.
func (s *Session) Job() *Job { return s.opt.Job }

// Lost counts the events that were lost so far, by stage.
func (s *Session) Lost() map[event.Stage]uint64 { return maps.Clone(s.lost) }

// LostTotal counts the events that were lost so far.
func (s *Session) LostTotal() (n uint64) {
	for _, v := range s.lost {
		n += v
	}
	return n
}

// ConnLimits is a conn.LimitsFunc.
func (s *Session) ConnLimits(netns uint32) (conn.Limits, bool) {
	k, ok := s.Limits(netns)
	return ConnLimits(&k), ok
}

// Talk prints a line on stderr, if anybody is to read it.
func (s *Session) Talk(format string, a ...any) {
	if s.opt.Talk != nil {
		s.opt.Talk(format, a...)
	}
}

// relevant reports whether a table that holds only what the filter accepts is to
// know of e. The owner that the table would infer is not known yet.
func (s *Session) relevant(e *event.Event) bool {
	if e.Kind == event.Listen {
		return true
	}
	e.Process, e.Owner = e.KnownOwner()
	if s.opt.Filter.Match(e) {
		return true
	}
	return s.table.Held(e) != event.StateNone
}

// StopOn ends the session when ctx is done, and after d unless that is 0. It watches
// until release is called.
func (s *Session) StopOn(ctx context.Context, d time.Duration) (release func()) {
	timer := (<-chan time.Time)(nil)
	if d > 0 {
		timer = time.After(d)
	}
	done := make(chan struct{})
	go func() {
		select {
		case <-ctx.Done():
			s.Stop("signal")
		case <-timer:
			s.Stop("duration")
		case <-done:
		}
	}()
	return func() { close(done) }
}

// Stop ends the session; the first reason stays. Any goroutine may call it.
func (s *Session) Stop(why string) {
	s.mu.Lock()
	if s.why == "" {
		s.why = why
	}
	s.mu.Unlock()
	s.stopping.Store(true)
}

// Stopping reports whether Stop was called.
func (s *Session) Stopping() bool { return s.stopping.Load() }

// After how many events of a ring that never gets empty the loop calls idle, and
// tends the source.
const (
	idleEvery = 1 << 10
	tendEvery = 1 << 14
)

// Run passes every event to each, completed by the table, until the end; then it
// returns nil. It calls idle when there is nothing to read and, of a ring that never
// gets empty, now and then. An error of either ends Run, which may be called again:
// the session goes on with the next event.
func (s *Session) Run(ctx context.Context, each func(*event.Event) error, idle func() error) error {
	found := func(e *event.Event) error {
		s.note(e)
		return each(e)
	}
	var e event.Event
	for {
		err := s.next(ctx, &e)
		switch {
		case err == nil:
			s.events++
			err = s.apply(&e, each)
			if err == nil && s.events%tendEvery == 0 {
				err = s.tend(false, found)
			}
			if err == nil && s.events%idleEvery == 0 {
				err = idle()
			}
		case errors.Is(err, ErrIdle):
			if err = s.tend(true, found); err == nil {
				err = idle()
			}
		case errors.Is(err, io.EOF):
			return s.Tend(false, found)
		}
		if err != nil {
			return err
		}
	}
}

// CatchUp passes to each what is from before the part that was asked for.
func (s *Session) CatchUp(ctx context.Context, each func(*event.Event) error) error {
	var e event.Event
	for s.Early() {
		err := s.next(ctx, &e)
		if err == nil {
			err = s.apply(&e, each)
		}
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil && !errors.Is(err, ErrIdle):
			return err
		}
	}
	return nil
}

// Drain reads the source to its end, and only counts.
func (s *Session) Drain(ctx context.Context) error {
	s.Stop("done")
	found := func(e *event.Event) error {
		s.note(e)
		return nil
	}
	var e event.Event
	for {
		switch err := s.next(ctx, &e); {
		case errors.Is(err, io.EOF):
			return s.Tend(false, found)
		case err != nil && !errors.Is(err, ErrIdle):
			return err
		}
	}
}

// next returns the next event of the source, which it has finish once the session stops.
func (s *Session) next(ctx context.Context, e *event.Event) error {
	if !s.finished && s.stopping.Load() {
		s.finished = true
		s.Finish()
	}
	err := s.Next(ctx, e)
	if err == nil {
		s.note(e)
	}
	return err
}

// Lose counts a loss behind the source, as that of a writer.
func (s *Session) Lose(e *event.Event) { s.note(e) }

// note counts what was lost, and has the witness see e.
func (s *Session) note(e *event.Event) {
	if e.Kind == event.Lost {
		s.lost[e.Stage] += e.Count
	}
	if s.opt.Witness != nil {
		s.opt.Witness(e)
	}
}

// apply completes e by the table, and passes it on.
func (s *Session) apply(e *event.Event, each func(*event.Event) error) error {
	if s.opt.Narrow && !s.relevant(e) {
		return nil
	}
	s.table.Apply(e)
	s.storms.observe(e)
	if !s.Shows(e) {
		return nil
	}
	return each(e)
}

// tend does what is due between two events.
func (s *Session) tend(idle bool, found func(*event.Event) error) error {
	if s.opt.Job != nil && idle && s.opt.Job.over() {
		s.Stop("command")
	}
	if err := s.Tend(idle, found); err != nil {
		return err
	}
	return s.storms.tick(s.Now(), found)
}

// EndRecord is the last record of the trace, once that is over; see Source.End.
func (s *Session) EndRecord() (event.Event, error) { return s.End(s.why) }

// Remarks are what the screen says of the trace itself.
func (s *Session) Remarks(now time.Time) []string {
	var out []string
	if left := s.OwnersKnown().Sub(now); left > 0 {
		out = append(out, fmt.Sprintf("owners known in %ds", int((left+time.Second-1)/time.Second)))
	}
	if words := s.driftRemark(now); words != "" {
		out = append(out, words)
	}
	total := s.table.Totals()
	out = append(out, refusals(&total)...)
	return append(out, s.Source.Remarks(now)...)
}
