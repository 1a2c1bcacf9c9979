package main

import (
	"cmp"
	"context"
	"errors"
	"io"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/twtrace/twtrace/internal/advice"
	"github.com/twtrace/twtrace/internal/kernel"
	"github.com/twtrace/twtrace/internal/view"
)

// readTape diagnoses a recording, window by window, and reports the last of the
// worst ones.
func (d *doctor) readTape(c *cli.Context) error {
	for _, name := range []string{"no-bpf", "preflight"} {
		if c.IsSet(name) {
			return usagef("--%s is about this host, and not about a file (-r)", name)
		}
	}
	s, err := openSession(c)
	if err != nil {
		return err
	}
	defer s.close()
	start := s.tape.reader.Start().Start
	d.report.Host = kernel.Host{Hostname: start.Host, Release: start.Kernel}
	names, err := fileNames(c)
	if err != nil {
		return err
	}
	for i, name := range names {
		names[i] = filepath.Base(name)
	}
	d.report.File = strings.Join(names, ", ")
	d.report.Traced = true
	l := newLive(s, d.window)
	l.diagnose.spaces = s.tape.fullest
	if err := d.replay(c.Context, l); err != nil {
		return err
	}
	for _, n := range s.lost {
		d.report.Lost += n
	}
	if err := s.tape.verdict(s.talk); err != nil { // what could be read is told
		d.damage = err
	}
	if len(d.report.Findings) == 0 {
		return errors.New("the recording has no limits: nothing can be told of ports and buckets")
	}
	return nil
}

// fullest are the namespaces that are nearest to a limit; where nothing happened, those
// whose limits are known, or one without a number.
func (t *tape) fullest(s *view.State) []uint32 {
	found := fullest(s)
	if len(found) == 0 {
		found = slices.Sorted(maps.Keys(t.limits))
	}
	if len(found) == 0 {
		return []uint32{0}
	}
	return found[:min(len(found), mostDiagnosed)]
}

// replay keeps the worst window.
func (d *doctor) replay(ctx context.Context, l *live) error {
	for {
		_, err := l.Next(ctx)
		if err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		d.keepWorse(l.facts(), l.session.clock())
		if err != nil {
			return nil
		}
	}
}

// keepWorse makes the report one of these facts, unless the one it is of is worse.
func (d *doctor) keepWorse(facts []advice.Facts, now time.Time) {
	before := d.report
	before.Findings = slices.Clone(before.Findings)
	d.conclude(facts)
	d.report.Time, d.report.Window = now, d.window
	if worse(&before, &d.report) {
		d.report = before
	}
}

// worse tells whether a is worse than b: by the worst finding, then by how many of that
// kind have an owner. When a storm is over nobody is known to be at it.
func worse(a, b *advice.Report) bool {
	owned := func(r *advice.Report) (n int) {
		for _, x := range r.Findings {
			if x.Severity == r.Worst() && x.Scope.Comm != "" {
				n++
			}
		}
		return n
	}
	return cmp.Or(cmp.Compare(a.Worst(), b.Worst()), cmp.Compare(owned(a), owned(b))) > 0
}
