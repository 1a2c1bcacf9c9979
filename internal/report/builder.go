package report

import (
	"math"
	"time"

	"github.com/twtrace/twtrace/internal/advice"
	"github.com/twtrace/twtrace/internal/event"
	"github.com/twtrace/twtrace/internal/output"
	"github.com/twtrace/twtrace/internal/pressure"
	"github.com/twtrace/twtrace/internal/view"
)

// How many rows the tables have. What is left out is counted.
const (
	maxFindings     = 50
	maxStorms       = 50
	maxDestinations = 20
	maxOwners       = 20
	maxFailures     = 30
	maxNamespaces   = 20
	maxDamage       = 20
)

// Builder makes a report of the records of a replay, in their order. What it holds
// is bounded, however long the recording is.
type Builder struct {
	time     *timeline
	totals   Totals
	peaks    Peaks
	lives    lives
	begins   reasons
	exits    reasons
	closes   reasons
	lost     [event.StageQueue + 1]uint64
	storms   storms
	failures failures
	findings findings
	gauges   gauges
	looked   bool // there were limits to look at
}

// reasons count by reason, those of later versions as unknown.
type reasons [event.Churn + 1]uint64

func (r *reasons) add(why event.Reason) {
	if int(why) >= len(r) {
		why = event.ReasonNone
	}
	r[why]++
}

func (r *reasons) counts() []Count {
	out := []Count{}
	for why, n := range r {
		if n > 0 && why > 0 {
			out = append(out, Count{event.Reason(why).String(), n})
		}
	}
	if r[0] > 0 {
		out = append(out, Count{"unknown", r[0]})
	}
	return out
}

// NewBuilder returns one for a replay that begins at begin, in ns since the epoch.
func NewBuilder(begin int64) *Builder {
	return &Builder{time: newTimeline(begin)}
}

// Step is the length of the steps that time is counted in. It grows as the
// recording turns out to be longer; a look for each is enough.
func (b *Builder) Step() time.Duration { return time.Duration(b.time.width) }

// Add takes a record into account.
func (b *Builder) Add(e *event.Event) {
	b.time.at(e.Time).count(e)
	if e.Life > 0 && (e.Kind == event.TimeWaitEnter || e.Kind == event.TimeWaitRefused || e.Kind == event.Close) {
		b.lives.add(e.Life, e.Role == event.Client)
	}
	switch e.Kind {
	case event.Open:
		b.totals.Opened++
	case event.TimeWaitEnter:
		b.totals.Begins++
		b.totals.Ended++
		b.begins.add(e.Reason)
	case event.TimeWaitExit:
		b.totals.Exits++
		b.exits.add(e.Reason)
	case event.TimeWaitRefused:
		b.totals.Refused++
		b.totals.Ended++
		b.gauges.refused(e.NetNS)
	case event.Close:
		b.totals.Closed++
		b.totals.Ended++
		b.closes.add(e.Reason)
	case event.Snapshot:
		b.totals.Before++
	case event.Fail:
		b.totals.Failed++
		b.failures.add(e)
	case event.StormStart, event.StormUpdate, event.StormEnd:
		b.storms.add(e)
	case event.Lost:
		b.totals.Lost += e.Count
		b.lost[min(e.Stage, event.StageQueue)] += e.Count
	}
}

// Level tells how many sockets are in TIME_WAIT and connections open at now.
func (b *Builder) Level(now int64, timeWait, established uint64) {
	s := b.time.at(now)
	s.timeWait, s.established = max(s.timeWait, timeWait), max(s.established, established)
	if v := float64(timeWait); v > b.peaks.TimeWait.Value {
		b.peaks.TimeWait = Peak{v, stamp(now)}
	}
}

// Look tells how full everything was at now, and what the rules found in that.
func (b *Builder) Look(now int64, r *pressure.Reading, found []advice.Finding) {
	s := b.time.at(now)
	for i := range r.Gauges {
		g := &r.Gauges[i]
		b.gauges.see(now, g)
		if g.Limit > 0 {
			b.looked = true
		}
		if g.What == pressure.Buckets || g.Limit <= 0 {
			continue
		}
		share := g.Share()
		s.share = max(s.share, share)
		if p := b.peaks.PortsShare; p == nil || share > p.Value {
			b.peaks.PortsShare = &Peak{share, stamp(now)}
		}
	}
	for i := range found {
		b.findings.see(now, &found[i])
	}
}

// End is what is known when the replay is over.
type End struct {
	Now    int64            // where it ended, ns since the epoch
	Start  *event.StartInfo // of the recording
	End    *event.EndInfo   // nil if the recording has no end
	Limits []Limits         // of the recording, as GroupLimits makes them
	Rows   []view.Row       // everything that happened, by flow, ungrouped
	Damage []string         // of the files, in words
}

// Report is the report of all that was added.
func (b *Builder) Report(end End) *Report {
	b.time.at(max(end.Now, b.time.now))
	r := &Report{Schema: Schema, Totals: b.totals, Peaks: b.peaks, Lifetimes: b.lives.report(),
		Begins: b.begins.counts(), Exits: b.exits.counts(), Closes: b.closes.counts(), Series: b.time.series()}
	r.Trace = b.trace(&end, &r.Omitted.Limits)
	r.Peaks.OpenRate = r.Series.peakOf(r.Series.rates(r.Series.Opened))
	r.Peaks.FailRate = r.Series.peakOf(r.Series.rates(r.Series.Failed))
	if p := r.Peaks.PortsShare; p != nil {
		p.Value = math.Round(p.Value*1e4) / 1e4
	}
	r.Findings, r.Omitted.Findings = most(b.findings.report(), maxFindings)
	r.Storms, r.Omitted.Storms = most(b.storms.report(), maxStorms)
	r.Omitted.Storms += b.storms.left
	r.Destinations, r.Omitted.Destinations = most(b.gauges.destinations(end.Rows), maxDestinations)
	r.Owners, r.Omitted.Owners = most(owners(end.Rows), maxOwners)
	r.Failures, r.Omitted.Failures = b.failures.report()
	r.Namespaces, r.Omitted.Namespaces = most(b.gauges.namespaces(), maxNamespaces)
	r.Losses = b.losses(&end, &r.Omitted.Damage)
	r.Verdict = b.verdict(r)
	return r
}

func (b *Builder) trace(end *End, omitted *uint64) Trace {
	s := end.Start
	t := Trace{Host: safe(s.Host), Kernel: safe(s.Kernel), BootID: safe(s.BootID), Version: safe(s.Version),
		Begin: stamp(b.time.begin), End: stamp(b.time.now), Duration: milli(time.Duration(b.time.now - b.time.begin)),
		Filter: safe(s.Filter), Hooks: safeAll(s.Hooks), Missing: safeAll(s.Missing), Limits: []Limits{}}
	list, left := most(end.Limits, maxLimits)
	t.Limits, *omitted = append(t.Limits, list...), left
	if end.End != nil {
		t.Why = safe(end.End.Why)
	}
	return t
}

func (b *Builder) losses(end *End, omitted *uint64) Losses {
	l := Losses{Stages: []StageLoss{}, Drift: []Drift{}, Unnamed: []Count{}}
	for stage, n := range b.lost {
		if n > 0 {
			l.Stages = append(l.Stages, StageLoss{event.Stage(stage).String(), n})
		}
	}
	l.Damage, *omitted = most(safeAll(end.Damage), maxDamage)
	e := end.End
	if e == nil {
		return l
	}
	for _, d := range e.Drift {
		l.Drift = append(l.Drift, Drift(d))
	}
	for _, why := range sortedKeys(e.Unnamed) {
		l.Unnamed = append(l.Unnamed, Count{safe(why), e.Unnamed[why]})
	}
	l.Late, l.Alive = e.Late, &e.Alive
	return l
}

// verdict is the worst of findings and storms.
func (b *Builder) verdict(r *Report) string {
	worst := event.SeverityNone
	for i := range r.Findings {
		switch r.Findings[i].Severity {
		case advice.Crit.String():
			worst = max(worst, event.Crit)
		case advice.Warn.String():
			worst = max(worst, event.Warn)
		}
	}
	for i := range r.Storms {
		if r.Storms[i].Severity == event.Crit.String() {
			worst = max(worst, event.Crit)
		} else {
			worst = max(worst, event.Warn)
		}
	}
	switch {
	case worst != event.SeverityNone:
		return worst.String()
	case b.looked:
		return "ok"
	}
	return "unknown"
}

// most is the begin of a list, and how many are behind it.
func most[T any](list []T, n int) ([]T, uint64) {
	if len(list) <= n {
		return list, 0
	}
	return list[:n:n], uint64(len(list) - n)
}

func safe(s string) string { return string(output.Escape(nil, s)) }

func safeAll(list []string) []string {
	out := make([]string, len(list))
	for i, s := range list {
		out[i] = safe(s)
	}
	return out
}

// stamp is a time in ns since the epoch as the report has it.
func stamp(ns int64) string { return time.Unix(0, ns).UTC().Format("2006-01-02T15:04:05.000Z") }

// milli is a duration in seconds, to the millisecond.
func milli(d time.Duration) float64 { return float64(d.Milliseconds()) / 1e3 }
