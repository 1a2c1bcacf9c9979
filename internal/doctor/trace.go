package doctor

import (
	"context"
	"errors"
	"io"
	"slices"
	"time"

	"github.com/twtrace/twtrace/internal/advice"
	"github.com/twtrace/twtrace/internal/diagnose"
	"github.com/twtrace/twtrace/internal/kernel"
	"github.com/twtrace/twtrace/internal/monitor"
	"github.com/twtrace/twtrace/internal/pressure"
)

// trace watches what happens in t for the window.
func (d *Doctor) trace(ctx context.Context, t *Trace, spaces []kernel.NetNS) error {
	d.Report.Traced = true
	d.Report.Findings = append(slices.Clone(t.Findings), d.Report.Findings...)

	m, err := monitor.New(ctx, t.Session, t.Host, monitor.Options{Interval: min(tick, d.opt.Window),
		Diagnose: diagnose.Options{Whole: true, Spaces: withFullest(spaces)}})
	if err != nil {
		return err
	}
	m.Facts() // the window starts here
	if err := d.follow(ctx, m); err != nil {
		return err
	}
	facts := m.Facts()
	d.untraced(spaces, facts)
	for i := range facts {
		// Of several that nobody named, one may be gone by now: what was traced of it stays.
		err := d.opt.Host.Listeners(context.WithoutCancel(ctx), &facts[i])
		if err != nil && (d.opt.Named != nil || len(facts) == 1) {
			return err
		}
	}
	if err := t.Session.Drain(context.WithoutCancel(ctx)); err != nil {
		return err
	}
	d.Report.Lost += t.Session.LostTotal()
	d.conclude(facts)
	return nil
}

// untraced notes the network namespaces that were chosen, and of which the trace knows no
// limits, though they are there.
func (d *Doctor) untraced(chosen []kernel.NetNS, facts []advice.Facts) {
	for _, n := range chosen {
		if slices.ContainsFunc(facts, func(f advice.Facts) bool { return f.NetNS.Inum == n.Inum }) {
			continue
		}
		if _, err := d.opt.Host.Count(n); !gone(err) {
			d.Report.Closed = append(d.Report.Closed, n)
		}
	}
}

// withFullest adds to the network namespaces that were chosen those that have become
// full since.
func withFullest(chosen []kernel.NetNS) func(*pressure.Reading) []uint32 {
	var first []uint32
	for _, n := range chosen {
		first = append(first, n.Inum)
	}
	return func(r *pressure.Reading) []uint32 {
		all := first
		for _, inum := range diagnose.Fullest(r) {
			if !slices.Contains(all, inum) {
				all = append(slices.Clip(all), inum)
			}
		}
		return all
	}
}

// follow shows every tick what was found so far, until the window or ctx is over.
func (d *Doctor) follow(ctx context.Context, m *monitor.Monitor) error {
	start := time.Now()
	for end := start.Add(d.opt.Window); time.Now().Before(end); {
		due := m.Due()
		if due.After(end) {
			due = end
		}
		sample, err := m.Until(ctx, due)
		switch {
		case errors.Is(err, io.EOF), errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
			return nil
		case err != nil:
			return err
		}
		d.opt.Show(time.Since(start), sample.Findings)
	}
	return nil
}
