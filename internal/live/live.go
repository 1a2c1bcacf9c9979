// Package live is a session.Source over the running kernel: the tracer's events with
// the names of their processes, the sockets from before the trace, and what is asked
// of the kernel beside the events: counters, sockets, limits.
package live

import (
	"context"
	"errors"
	"io"
	"maps"
	"runtime/debug"
	"slices"
	"time"

	"github.com/twtrace/twtrace/internal/conn"
	"github.com/twtrace/twtrace/internal/event"
	"github.com/twtrace/twtrace/internal/filter"
	"github.com/twtrace/twtrace/internal/kernel"
	"github.com/twtrace/twtrace/internal/output"
	"github.com/twtrace/twtrace/internal/process"
	"github.com/twtrace/twtrace/internal/session"
	"github.com/twtrace/twtrace/internal/tracer"
)

// lossInterval is the time between two reads of the loss counters.
const lossInterval = time.Second

// Options of a trace.
type Options struct {
	Version string // of twtrace, for the start record
	Tracer  tracer.Options
	Process process.Options
	Named   []kernel.NetNS // network namespaces that the user named, to see these alone; nil for all

	// CountWaiting polls the clients in SYN_SENT every second, however few there are:
	// their number is what the user asked for.
	CountWaiting bool
	// Sparing polls them less often while they are few: the trace goes on for ever.
	Sparing bool
	// Progress is called with how many of all network namespaces the first dump has
	// read, up to all of them; nil if nobody watches. It is called by one goroutine.
	Progress func(done, all int)
	// Shown is the filter that the start record names, nil if that is the tracer's.
	Shown *filter.Filter
	// Talk prints a line on stderr; nil prints nothing.
	Talk func(format string, a ...any)
}

// Trace is a running trace. It is a session.Source.
type Trace struct {
	opt    Options
	tracer hooks
	start  time.Time            // of the hooks: every event is later
	needs  []tracer.Requirement // of the hooks
	state  []tracer.Hook        // of each of them
	stream *namer               // the events of tracer, with the names of their processes
	limits limits
	table  *conn.Table // the session's
	filter *filter.Filter
	static filter.Filter           // the part of it that a socket alone decides
	wanted func(*event.Event) bool // what the table is to hold, of what static accepts

	names map[uint32]string // of the network namespaces there are; "" for one that has none

	began       time.Time
	ownersKnown time.Time
	backlog     backlog             // sockets from before, and what was read meanwhile
	adopted     map[uint64]struct{} // cookies of the parked ones from before
	seen        int64               // the latest event, ns since the epoch
	reconcile   reconciler
	sweeper     sweeper
	waiters     waiters
	lingering   lingering

	lost    map[event.Stage]uint64 // reported so far
	late    uint64                 // starts of TIME_WAIT that were found at its end only
	vitals  event.Vitals           // as of the last reading of the losses
	lossDue time.Time
	drift   []event.Drift // that lasts, as of the last comparison

	finish finish
	over   bool // io.EOF was returned
}

var _ session.Source = (*Trace)(nil)

// hooks is what a Trace needs of a tracer.Tracer.
type hooks interface {
	Read(*event.Event) error
	Emptied() time.Time
	Survey([]kernel.NetNS) tracer.Survey
	Compare(tracer.Survey) ([]event.Drift, error)
	Drift() []event.Drift
	Account() (tracer.Account, error)
	Follows(event.Proc) bool
	Adopt(*event.Event) error
	Disown(cookie uint64) error
	Owned(f func(cookie uint64, netns uint32, last int64)) error
	StartInfo(version, filter string, ns kernel.NetNS) (*event.StartInfo, error)
	EndInfo(why string) (*event.EndInfo, error)
	Missing() []string
	Stop()
	Close()
}

// Open attaches the hooks, which count and report from then on. The error is a
// *tracer.HostError where this host cannot be traced.
func Open(o Options) (*Trace, error) {
	t := newTrace(o)
	t.limits.refresh()
	if err := t.makeCookies(); err != nil {
		return nil, err
	}
	h, err := tracer.Open(o.Tracer)
	if err != nil {
		return nil, err
	}
	t.start, t.needs, t.state = h.Began, h.Requirements(), h.Hooks
	t.attached(h)
	return t, nil
}

// newTrace returns a trace that has no hooks yet.
func newTrace(o Options) *Trace {
	t := &Trace{opt: o, filter: o.Tracer.Filter, adopted: make(map[uint64]struct{}),
		lost: make(map[event.Stage]uint64), reconcile: reconciler{known: make(map[uint32]bool)}}
	if f := t.filter; f != nil {
		t.static = *f.Sockets()
	}
	return t
}

// attached has the trace read h from now on.
func (t *Trace) attached(h hooks) {
	t.tracer = h
	t.stream = newNamer(h.Read, t.opt.Process)
	t.began = time.Now()
}

// Begin dumps the sockets that are there already.
func (t *Trace) Begin(table *conn.Table, wanted func(*event.Event) bool) error {
	t.table, t.wanted = table, wanted
	if err := t.addPreexisting(); err != nil {
		return err
	}
	debug.FreeOSMemory() // the kernel's types and the dump took several times what stays
	now := time.Now()
	t.reconcile.begun, t.reconcile.due = now, now.Add(reconcileEvery)
	t.sweeper.due = now.Add(sweepEvery)
	return nil
}

// Close detaches the hooks.
func (t *Trace) Close() {
	t.reconcile.wait()
	t.waiters.wait()
	t.stream.stop()
	t.tracer.Close()
}

// Next returns the sockets from before, then the stream.
func (t *Trace) Next(_ context.Context, e *event.Event) error {
	if t.backlog.next(e) {
		t.stream.who.Complete(e)
		t.witness(e)
		return nil
	}
	if t.finish.wanted {
		t.finishWell()
	}
	err := t.stream.next(e)
	switch {
	case err == nil:
		if e.Kind == event.Fail && e.Errno == event.EADDRNOTAVAIL {
			t.limits.failed = time.Now()
		}
		t.witness(e)
	case errors.Is(err, tracer.ErrIdle):
		err = session.ErrIdle
	case errors.Is(err, io.EOF):
		t.over = true
	}
	return err
}

// Early reports whether what Next returns was there, or happened, before Begin was over.
func (t *Trace) Early() bool { return !t.backlog.empty() }

// Tend polls and compares what is due.
func (t *Trace) Tend(idle bool, found func(*event.Event) error) error {
	if t.over {
		t.lossDue = time.Time{}
		return t.reportLosses(found)
	}
	t.limits.refresh()
	if err := t.reportLosses(found); err != nil {
		return err
	}
	t.countWaiting()
	return t.reconcileTable(idle, found)
}

// reportLosses makes lost events of what was lost since the last time.
func (t *Trace) reportLosses(found func(*event.Event) error) error {
	now := time.Now()
	if now.Before(t.lossDue) {
		return nil
	}
	t.lossDue = now.Add(lossInterval)
	a, err := t.tracer.Account()
	if err != nil {
		return err
	}
	t.late, t.vitals = a.Late, a.Vitals
	for _, stage := range slices.Sorted(maps.Keys(a.Lost)) {
		if n := a.Lost[stage]; n > t.lost[stage] {
			e := event.Event{Time: now.UnixNano(), Kind: event.Lost, Stage: stage, Count: n - t.lost[stage]}
			t.lost[stage] = n
			t.reconcile.lostSome()
			t.table.Apply(&e)
			if err := found(&e); err != nil {
				return err
			}
		}
	}
	return nil
}

// tracesSocket reports whether the hooks report what happens to the socket of e.
func (t *Trace) tracesSocket(e *event.Event) bool { return t.static.Match(e) }

// Traces reports whether the filter accepts a network namespace.
func (t *Trace) Traces(netns uint32) bool {
	return t.static.Spaces().Match(&event.Event{NetNS: netns})
}

// Start is the first record of the trace.
func (t *Trace) Start() (event.Event, error) {
	home, err := t.home()
	if err != nil {
		return event.Event{}, err
	}
	shown := t.filter
	if t.opt.Shown != nil {
		shown = t.opt.Shown
	}
	info, err := t.tracer.StartInfo(t.opt.Version, shown.String(), home)
	if err != nil {
		return event.Event{}, err
	}
	info.Schema = output.Schema
	info.Missing = append(info.Missing, unnamed()...)
	return event.Event{Time: t.start.UnixNano(), Kind: event.Start, Start: info}, nil
}

// home is the namespace whose limits are those of the trace: the one that is
// traced alone, else that of this process.
func (t *Trace) home() (kernel.NetNS, error) {
	if len(t.opt.Named) == 1 {
		return t.opt.Named[0], nil
	}
	return kernel.CurrentNetNS()
}

// End is the last record of the trace.
func (t *Trace) End(why string) (event.Event, error) {
	info, err := t.tracer.EndInfo(why)
	if err != nil {
		return event.Event{}, err
	}
	info.Unnamed = t.stream.unnamed()
	return event.Event{Time: time.Now().UnixNano(), Kind: event.End, End: info}, nil
}

// Check returns the requirements and the hooks of the trace, as tracer.Check does.
func (t *Trace) Check() ([]tracer.Requirement, []tracer.Hook, error) {
	return t.needs, t.state, nil
}

// Vitals is how the kernel side is doing, as Tend has read it within the last second.
func (t *Trace) Vitals() event.Vitals {
	v := t.vitals
	v.Conns, v.Unnamed = uint64(t.sweeper.owned), t.stream.unnamed()
	return v
}

// RefreshLimits reads the limits of all network namespaces, if they are older than a
// second.
func (t *Trace) RefreshLimits() {
	t.limits.missed = true
	t.limits.refresh()
}

func (t *Trace) Now() time.Time                { return time.Now() }
func (t *Trace) Began() time.Time              { return t.began }
func (t *Trace) Shows(*event.Event) bool       { return true }
func (t *Trace) Storms() bool                  { return false }
func (t *Trace) Mode() string                  { return "LIVE" }
func (t *Trace) NetNSName(netns uint32) string { return t.names[netns] }
func (t *Trace) Missing() []string             { return t.tracer.Missing() }
func (t *Trace) OwnersKnown() time.Time        { return t.ownersKnown }
func (t *Trace) Drift() []event.Drift          { return t.drift }
func (t *Trace) Damage() error                 { return nil }

func (t *Trace) progress(done, all int) {
	if t.opt.Progress != nil {
		t.opt.Progress(done, all)
	}
}

func (t *Trace) talk(format string, a ...any) {
	if t.opt.Talk != nil {
		t.opt.Talk(format, a...)
	}
}
