package main

import (
	"context"
	"errors"
	"io"
	"slices"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/twtrace/twtrace/internal/advice"
	"github.com/twtrace/twtrace/internal/filter"
	"github.com/twtrace/twtrace/internal/kernel"
	"github.com/twtrace/twtrace/internal/process"
	"github.com/twtrace/twtrace/internal/tracer"
	"github.com/twtrace/twtrace/internal/view"
)

// trace watches what happens for the window. The hooks are there for no longer.
func (d *doctor) trace(c *cli.Context, spaces []kernel.NetNS) error {
	s, err := d.openTrace(c)
	if err != nil {
		return err
	}
	defer s.close()
	d.report.Traced = true
	d.report.Findings = append(traceFindings(s.tracer.Requirements(), s.tracer.Hooks, nil), d.report.Findings...)

	l := newLive(s, min(tick, d.window))
	l.diagnose.whole, l.diagnose.spaces = true, d.spaces(spaces)
	l.diagnose.look(&view.State{Time: s.clock()}, &l.snapshot)
	if err := d.follow(c.Context, l); err != nil {
		return err
	}
	facts := l.facts()
	for i := range facts {
		if err := facts[i].LookAtListeners(context.WithoutCancel(c.Context)); err != nil {
			return err
		}
	}
	s.stop("done")
	if err := s.drain(); err != nil {
		return err
	}
	for _, n := range s.lost {
		d.report.Lost += n
	}
	d.conclude(facts)
	return nil
}

// openTrace hooks system calls too, unless the user or the kernel forbids it.
func (d *doctor) openTrace(c *cli.Context) (*session, error) {
	f := &filter.Filter{}
	for _, n := range d.named {
		f.NetNS.Items = append(f.NetNS.Items, n.Inum)
	}
	topts, err := parseTracer(c, f)
	if err != nil {
		return nil, err
	}
	which := c.String("syscalls")
	topts.Syscalls = which != "off"
	open := func() (*session, error) {
		return newSession(topts, process.Options{}, d.named...)
	}
	s, err := open()
	var host *tracer.HostError
	if which == "auto" && errors.As(err, &host) {
		topts.Syscalls = false
		s, err = open()
	}
	if err == nil {
		s.waiters.often = true
	}
	return s, err
}

// spaces adds to the namespaces that were looked at first those that have become full
// since.
func (d *doctor) spaces(looked []kernel.NetNS) func(*view.State) []uint32 {
	var first []uint32
	for _, n := range looked {
		first = append(first, n.Inum)
	}
	return func(s *view.State) []uint32 {
		all := first
		for _, inum := range fullest(s) {
			if !slices.Contains(all, inum) {
				all = append(slices.Clip(all), inum)
			}
		}
		return all
	}
}

// follow tells every tick what was found so far, until the window is over or a signal
// comes.
func (d *doctor) follow(ctx context.Context, l *live) error {
	begin := time.Now()
	for end := begin.Add(d.window); time.Now().Before(end); {
		if l.due.After(end) {
			l.due = end
		}
		state, err := l.Next(ctx)
		switch {
		case errors.Is(err, io.EOF), errors.Is(err, context.Canceled):
			return nil
		case err != nil:
			return err
		}
		d.screen.show(time.Since(begin), d.window, state.Findings)
	}
	return nil
}

// facts are those at this moment.
func (l *live) facts() []advice.Facts {
	l.session.table.Snapshot(l.session.clock().UnixNano(), &l.snapshot)
	return l.diagnose.look(l.builder.Build(&l.snapshot), &l.snapshot)
}
