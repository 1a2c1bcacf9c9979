package doctor

import (
	"cmp"
	"context"
	"errors"
	"io"
	"maps"
	"slices"
	"time"

	"github.com/twtrace/twtrace/internal/advice"
	"github.com/twtrace/twtrace/internal/diagnose"
	"github.com/twtrace/twtrace/internal/kernel"
	"github.com/twtrace/twtrace/internal/monitor"
	"github.com/twtrace/twtrace/internal/pressure"
	"github.com/twtrace/twtrace/internal/session"
)

// Replay makes a diagnosis of a recording, window by window. It reports the last of the
// worst ones. fromNow leaves out what the recording has from before the part that is
// asked for. Between StartLocal and EndLocal the recording is that of an agent of this host.
func (d *Doctor) Replay(ctx context.Context, s *session.Session, h diagnose.Host, fromNow bool) error {
	start, err := s.Start()
	if err != nil {
		return err
	}
	d.Report.Host = kernel.Host{Hostname: start.Start.Host, Release: start.Start.Kernel}
	d.Report.Traced = true
	m, err := monitor.New(ctx, s, h, monitor.Options{Interval: d.opt.Window, Partial: true,
		Diagnose: diagnose.Options{FromNow: fromNow, Spaces: fullestOf(s)}})
	if err != nil {
		return err
	}
	for {
		_, err := m.Next(ctx)
		if err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		d.keepWorse(m.Facts(), s.Now())
		if err != nil {
			break
		}
	}
	d.Report.Lost += s.LostTotal()
	d.Damage = s.Damage() // what could be read is reported
	if len(d.Report.Findings) == 0 {
		return errors.New("the recording has no limits: nothing is known of ports and buckets")
	}
	return nil
}

// maxReplayed is how many network namespaces of a recording are diagnosed.
const maxReplayed = 4

// fullestOf are the network namespaces that are nearest to a limit; where nothing
// happened, those whose limits are known, or one without a number.
func fullestOf(s *session.Session) func(*pressure.Reading) []uint32 {
	return func(r *pressure.Reading) []uint32 {
		found := diagnose.Fullest(r)
		if len(found) == 0 {
			limits, _ := s.AllLimits()
			found = slices.Sorted(maps.Keys(limits))
		}
		if len(found) == 0 {
			return []uint32{0}
		}
		return found[:min(len(found), maxReplayed)]
	}
}

// keepWorse makes the report one of these facts, unless the one it is of is worse.
func (d *Doctor) keepWorse(facts []advice.Facts, now time.Time) {
	before := d.Report
	before.Findings = slices.Clone(before.Findings)
	if d.local != nil {
		d.local.completeBy(d.before, facts)
	}
	d.conclude(facts)
	d.Report.Time, d.Report.Window = now, d.opt.Window
	if worse(&before, &d.Report) {
		d.Report = before
		return
	}
	d.kept = facts
}

// worse reports whether a is worse than b: by the worst finding, then by how many of
// that severity have an owner. When a storm is over nobody is known to cause it.
func worse(a, b *Report) bool {
	owned := func(r *Report) (n int) {
		for _, x := range r.Findings {
			if x.Severity == r.Worst() && x.Scope.Comm != "" {
				n++
			}
		}
		return n
	}
	return cmp.Or(cmp.Compare(a.Worst(), b.Worst()), cmp.Compare(owned(a), owned(b))) > 0
}
