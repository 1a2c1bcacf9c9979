// Package report words a recording for a post-mortem: what was wrong first, then
// what happened and when, who did it, and how far the recording can be trusted. The
// same content is written as a page of HTML that needs nothing beside itself, as
// Markdown, and as JSON. It reads no clock: the same recording makes the same bytes.
package report

import (
	"math"
	"time"

	"github.com/twtrace/twtrace/internal/advice"
	"github.com/twtrace/twtrace/internal/clock"
	"github.com/twtrace/twtrace/internal/event"
	"github.com/twtrace/twtrace/internal/output"
	"github.com/twtrace/twtrace/internal/pressure"
	"github.com/twtrace/twtrace/internal/rows"
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
	maxOutages      = 50
)

// Builder makes a report of the records of a replay, in their order. Its memory is
// bounded, however long the recording is.
type Builder struct {
	time     *timeline
	totals   Totals
	peaks    Peaks
	lives    lives
	begins   reasons
	exits    reasons
	closes   reasons
	lost     [event.Stages]uint64
	storms   storms
	failures failures
	findings findings
	gauges   gauges
	outages  outages
	held     holding
	lostAt   []loss
	limited  bool // a limit was known
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

// NewBuilder returns one for a replay that starts at start, in ns since the epoch.
func NewBuilder(start int64) *Builder {
	return &Builder{time: newTimeline(start)}
}

// Step is the length of the steps that time is counted in. It grows with the length of
// the recording; one Sample for each step is enough.
func (b *Builder) Step() time.Duration { return time.Duration(b.time.width) }

// Add takes a record into account.
func (b *Builder) Add(e *event.Event) {
	b.time.at(e.Time).count(e)
	if e.Life > 0 && (e.Kind == event.TimeWaitEnter || e.Kind == event.TimeWaitRefused || e.Kind == event.Close) {
		b.lives.add(e.Life, e.Role == event.Client)
	}
	b.outages.add(e)
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
		b.losing(e)
		b.lost[e.Stage.Index()] += e.Count
	}
}

// Level adds how many sockets are in TIME_WAIT and connections established at now, in
// ns since the epoch.
func (b *Builder) Level(now int64, timeWait, established uint64) {
	s := b.time.at(now)
	s.timeWait, s.established = max(s.timeWait, timeWait), max(s.established, established)
	if v := float64(timeWait); v > b.peaks.TimeWait.Value {
		b.peaks.TimeWait = Peak{v, stamp(now)}
	}
}

// Sample adds how full everything was at now, in ns since the epoch, and what the rules
// found in that.
func (b *Builder) Sample(now int64, r *pressure.Reading, found []advice.Finding) {
	s := b.time.at(now)
	for i := range r.Gauges {
		g := counted(&r.Gauges[i])
		b.gauges.see(now, &g)
		b.outages.see(now, &r.Gauges[i])
		b.storms.hold(&r.Gauges[i])
		if g.Limit > 0 {
			b.limited = true
		}
		if g.What == pressure.Buckets || g.Limit <= 0 {
			continue
		}
		share := g.InUseShare()
		s.share = max(s.share, share)
		if p := b.peaks.PortsShare; p == nil || share > p.Value {
			b.peaks.PortsShare = &Peak{share, stamp(now)}
		}
	}
	for i := range found {
		b.findings.see(now, &found[i])
	}
}

// counted is g with the ports in use that a refused call has counted: those in TIME_WAIT that
// connect() would take over are an estimate, and it took none.
func counted(g *pressure.Gauge) pressure.Gauge {
	c := *g
	if c.What == pressure.Ports && c.Refused > 0 {
		c.Used = max(c.Used, float64(min(c.Limit, c.Held())))
	}
	return c
}

// End is what is known when the replay is over.
type End struct {
	Now    int64            // where it ended, ns since the epoch
	Start  *event.StartInfo // of the recording
	End    *event.EndInfo   // nil if the recording has no end
	Limits []Limits         // of the recording, as GroupLimits makes them
	Rows   []rows.Row       // everything that happened, by flow, ungrouped
	Damage []string         // of the files, in words

	Changes []Setting           // of sysctls, in order
	Names   func(uint32) string // of network namespaces, "" for one without a name
	Zone    *time.Location      // of the times in the forms for people; nil is UTC
}

// Report is the report of all that was added.
func (b *Builder) Report(end End) *Report {
	b.time.at(max(end.Now, b.time.now))
	names := namer(end.Names)
	r := &Report{names: names, zone: zoneAt(b.time.begin, end.Zone), lost: b.lostAt, Schema: Schema, Totals: b.totals, Peaks: b.peaks, Lifetimes: b.lives.report(),
		Begins: b.begins.counts(), Exits: b.exits.counts(), Closes: b.closes.counts(), Series: b.time.series()}
	r.Series.Owners = b.held.series(b.time.steps)
	r.Changes, r.Omitted.Changes = first(b.changes(&end, names), maxChanges)
	r.Trace = b.trace(&end, &r.Omitted.Limits)
	r.Peaks.OpenRate = r.Series.peakOf(r.Series.rates(r.Series.Opened))
	r.Peaks.FailRate = r.Series.peakOf(r.Series.rates(r.Series.Failed))
	if p := r.Peaks.PortsShare; p != nil {
		p.Value = math.Round(p.Value*1e4) / 1e4
	}
	list, found := b.findings.report(names)
	r.Findings, r.Omitted.Findings = first(list, maxFindings)
	r.Storms, r.Omitted.Storms = first(b.storms.report(names), maxStorms)
	r.Omitted.Storms += b.storms.left
	r.Outages, r.Omitted.Outages = first(b.allOutages(names), maxOutages)
	r.Omitted.Outages += b.outages.left
	r.Destinations, r.Omitted.Destinations = first(b.gauges.destinations(end.Rows, names), maxDestinations)
	r.Owners, r.Omitted.Owners = first(owners(end.Rows), maxOwners)
	r.Failures, r.Omitted.Failures = b.failures.report()
	r.Namespaces, r.Omitted.Namespaces = first(b.gauges.namespaces(names), maxNamespaces)
	r.Losses = b.losses(&end, &r.Omitted.Damage)
	r.Verdict = b.verdict(r)
	r.judged = advice.Judge(found, advice.About{Clock: clock.In(r.zone)})
	return r
}

func (b *Builder) trace(end *End, omitted *uint64) Trace {
	s := end.Start
	t := Trace{Host: safe(s.Host), Kernel: safe(s.Kernel), BootID: safe(s.BootID), Version: safe(s.Version),
		Begin: stamp(b.time.begin), End: stamp(b.time.now), Duration: milli(time.Duration(b.time.now - b.time.begin)),
		Filter: safe(s.Filter), Hooks: safeAll(s.Hooks), Missing: safeAll(s.Missing), Limits: []Limits{}}
	list, left := first(end.Limits, maxLimits)
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
	l.Damage, *omitted = first(safeAll(end.Damage), maxDamage)
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
		case event.Crit.String():
			worst = max(worst, event.Crit)
		case event.Warn.String():
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
	case b.limited:
		return "ok"
	}
	return "unknown"
}

// first are the first n of a list; left is how many come after them.
func first[T any](list []T, n int) (head []T, left uint64) {
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
