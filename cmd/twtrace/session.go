package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os/signal"
	"slices"
	"sync"
	"time"

	"github.com/urfave/cli/v2"
	"golang.org/x/sys/unix"

	"github.com/twtrace/twtrace/internal/conn"
	"github.com/twtrace/twtrace/internal/event"
	"github.com/twtrace/twtrace/internal/filter"
	"github.com/twtrace/twtrace/internal/output"
	"github.com/twtrace/twtrace/internal/tracer"
)

// lossInterval is how often the losses are looked at, to be reported soon.
const lossInterval = time.Second

// session is a running trace with the table that completes its events.
type session struct {
	tracer *tracer.Tracer
	table  *conn.Table
	filter *filter.Filter

	lost     map[event.Stage]uint64 // reported so far
	lossDue  time.Time
	duration time.Duration

	mu  sync.Mutex
	why string // why it ended, for the end record
}

// openSession starts a trace as the flags say. It ends with its context, after
// --duration, or by stop.
func openSession(c *cli.Context, options conn.Options) (*session, error) {
	f, err := parseFilter(c)
	if err != nil {
		return nil, err
	}
	duration, err := positive(c, "duration")
	if err != nil {
		return nil, err
	}
	topts, err := parseTracer(c, f)
	if err != nil {
		return nil, err
	}
	topts.AllStates = c.String("states") == "all"
	t, err := tracer.Open(topts)
	if err != nil {
		return nil, err
	}
	s := &session{tracer: t, table: conn.New(options), filter: f, duration: duration,
		lost: make(map[event.Stage]uint64)}
	if err := s.knowListeners(); err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

// relevant reports whether a table that shows only what the filter lets through
// is to know of e. The owner that the table would infer is not known yet.
func (s *session) relevant(e *event.Event) bool {
	if e.Kind == event.Listen {
		return true
	}
	e.Process, e.Owner = e.KnownOwner()
	return s.filter.Match(e)
}

// stopOn ends the session at the first signal, and after its duration. A second
// signal kills, since the first one gives the signals back to the system.
func (s *session) stopOn(ctx context.Context) (release func()) {
	ctx, cancel := signal.NotifyContext(ctx, unix.SIGINT, unix.SIGTERM)
	timer := (<-chan time.Time)(nil)
	if s.duration > 0 {
		timer = time.After(s.duration)
	}
	done := make(chan struct{})
	go func() {
		select {
		case <-ctx.Done():
			s.stop("signal")
		case <-timer:
			s.stop("duration")
		case <-done:
		}
		cancel()
	}()
	return func() { close(done) }
}

// stop ends the session; the first reason stays. It may be called from any goroutine.
func (s *session) stop(why string) {
	s.mu.Lock()
	if s.why == "" {
		s.why = why
	}
	s.mu.Unlock()
	s.tracer.Stop()
}

func (s *session) close() { s.tracer.Close() }

// read hands every event to handle, completed by the table, until the end. When
// there is nothing to read it calls idle.
func (s *session) read(handle func(*event.Event) error, idle func() error) error {
	var e event.Event
	for {
		err := s.tracer.Read(&e)
		switch {
		case err == nil:
			s.table.Apply(&e)
			err = handle(&e)
		case errors.Is(err, tracer.ErrIdle):
			if err = s.reportLosses(handle); err == nil {
				err = idle()
			}
		case errors.Is(err, io.EOF):
			s.lossDue = time.Time{}
			return s.reportLosses(handle)
		}
		if err != nil {
			return err
		}
	}
}

// reportLosses makes lost events of what was lost since the last look.
func (s *session) reportLosses(handle func(*event.Event) error) error {
	now := time.Now()
	if now.Before(s.lossDue) {
		return nil
	}
	s.lossDue = now.Add(lossInterval)
	a, err := s.tracer.Account()
	if err != nil {
		return err
	}
	for _, stage := range slices.Sorted(maps.Keys(a.Lost)) {
		if n := a.Lost[stage]; n > s.lost[stage] {
			e := event.Event{Time: now.UnixNano(), Kind: event.Lost, Stage: stage, Count: n - s.lost[stage]}
			s.lost[stage] = n
			s.table.Apply(&e)
			if err := handle(&e); err != nil {
				return err
			}
		}
	}
	return nil
}

// startEvent is the first record of the trace.
func (s *session) startEvent() (event.Event, error) {
	info, err := s.tracer.StartInfo(version, s.filter.String())
	if err != nil {
		return event.Event{}, err
	}
	info.Schema = output.Schema
	return event.Event{Time: time.Now().UnixNano(), Kind: event.Start, Start: info}, nil
}

// endEvent is the last record of the trace, to be asked for when it is over.
func (s *session) endEvent() (event.Event, error) {
	info, err := s.tracer.EndInfo(s.why)
	if err != nil {
		return event.Event{}, err
	}
	return event.Event{Time: time.Now().UnixNano(), Kind: event.End, End: info}, nil
}

// verdict is the exit of a trace that ended well: 0, unless --strict and lossy.
func (s *session) verdict(c *cli.Context) error {
	if !c.Bool("strict") || len(s.lost) == 0 {
		return nil
	}
	words := ""
	for _, stage := range slices.Sorted(maps.Keys(s.lost)) {
		words += fmt.Sprintf(" %d (%v)", s.lost[stage], stage)
	}
	return exitError{exitLossy, "events were lost:" + words + "; try a larger --buffer or --max-conns"}
}

// note prints a line of talk on stderr.
func note(c *cli.Context, format string, args ...any) {
	fmt.Fprintf(c.App.ErrWriter, "twtrace: "+format+"\n", args...)
}
