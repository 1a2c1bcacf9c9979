// Package storm raises a flag early, and for real trouble only: when ports or
// TIME_WAIT buckets run out, by the severities of package pressure, and when one
// group of processes opens and closes short-lived connections fast. A storm starts
// once, is told again while it lasts, and ends once: it has to be over for a while.
// Time is that of the caller.
package storm

import (
	"cmp"
	"maps"
	"net/netip"
	"slices"
	"time"

	"github.com/twtrace/twtrace/internal/event"
	"github.com/twtrace/twtrace/internal/pressure"
)

// Defaults of Options.
const (
	DefaultShortLived = time.Second
	DefaultRate       = 100
	DefaultWindow     = 10 * time.Second
)

// How long things must last to be believed.
const (
	raiseAfter = time.Second      // a severity, unless calls are refused
	calmAfter  = 30 * time.Second // without that severity it is over
	tellEvery  = 10 * time.Second // updates
	// farther is by which share of the time that is left a forecast has to last until
	// it makes a storm crit: rates are those of ten seconds, in which a load that
	// catches up after a pause seems to be a faster one.
	farther = 0.2
)

// Options say what churn is. Zero values mean the defaults.
type Options struct {
	ShortLived time.Duration // a connection that lives no longer is short-lived
	Rate       float64       // short-lived connections per second of one owner group
	Window     time.Duration // for longer than this; at most MaxWindow
}

// Detector finds storms. It is not safe for concurrent use.
type Detector struct {
	opt    Options
	storms map[key]*storm
	groups groups
	seen   bool // any storm, ever
}

// New returns a detector.
func New(o Options) *Detector {
	o.ShortLived = cmp.Or(o.ShortLived, DefaultShortLived)
	o.Rate = cmp.Or(o.Rate, DefaultRate)
	o.Window = min(cmp.Or(o.Window, DefaultWindow), MaxWindow)
	return &Detector{opt: o, storms: make(map[key]*storm), groups: newGroups()}
}

// key names a storm.
type key struct {
	reason event.Reason
	at     pressure.Key // of ports and buckets
	group  groupKey     // of churn
}

// storm is one that goes on, or may be about to.
type storm struct {
	begun    bool
	since    int64 // when the severity was first seen
	severity event.Severity
	lastSev  [event.Crit + 1]int64 // when it was last at that severity or above
	foreseen int64                 // since when the limit will be reached; 0: it will not
	told     int64
	fails    uint64
	last     event.Event // as it was last told
}

// Seen reports whether there was any storm.
func (d *Detector) Seen() bool { return d.seen }

// Active returns the storms that go on, as they were last told, the worst first.
func (d *Detector) Active() []event.Event {
	var out []event.Event
	for _, s := range d.storms {
		if s.begun {
			out = append(out, s.last)
		}
	}
	slices.SortFunc(out, order)
	return out
}

func order(a, b event.Event) int {
	return cmp.Or(
		cmp.Compare(b.Storm.Severity, a.Storm.Severity),
		cmp.Compare(b.Storm.Rate, a.Storm.Rate),
		cmp.Compare(a.Reason, b.Reason),
		a.Remote.Compare(b.Remote), a.Local.Compare(b.Local),
		cmp.Compare(a.NetNS, b.NetNS), cmp.Compare(a.Process.Comm, b.Process.Comm))
}

// Observe takes an event into account, completed by the table of connections.
func (d *Detector) Observe(e *event.Event) { d.groups.observe(e, d.opt.ShortLived) }

// Tick judges a reading, once a second or so, and returns the records of storms
// that began, went on or ended.
func (d *Detector) Tick(r *pressure.Reading) []event.Event {
	d.groups.advance(r.At)
	now := make(map[key]event.Event)
	for i := range r.Gauges {
		g := &r.Gauges[i]
		if g.Severity == event.SeverityNone && d.storms[keyOf(g)] == nil {
			continue
		}
		now[keyOf(g)] = d.ofGauge(g, r.At)
	}
	for k, e := range d.churn(r.At) {
		now[k] = e
	}
	var out []event.Event
	for k, e := range now {
		if d.storms[k] == nil {
			d.storms[k] = &storm{since: r.At}
		}
		out = d.judge(out, k, e, r.At)
	}
	for k, s := range d.storms {
		if _, ok := now[k]; !ok { // what it was about is gone
			e := s.last
			e.Time = r.At
			if e.Storm != nil {
				calm := *e.Storm
				calm.Severity, calm.Rate, calm.ExhaustsIn, calm.Used, calm.Projected = event.SeverityNone, 0, -1, 0, 0
				calm.Fails = 0
				e.Storm = &calm
			}
			out = d.judge(out, k, e, r.At)
		}
	}
	slices.SortFunc(out, order)
	return out
}

// judge moves a storm on by what is seen of it now, and appends what is to be told.
func (d *Detector) judge(out []event.Event, k key, e event.Event, at int64) []event.Event {
	s := d.storms[k]
	seen := event.SeverityNone
	refused := uint64(0)
	if e.Storm != nil {
		seen, refused = s.believe(e.Storm, at), e.Storm.Fails
	}
	for v := event.Warn; v <= seen; v++ {
		s.lastSev[v] = at
	}
	s.fails += refused
	if !s.begun {
		switch {
		case seen == event.SeverityNone:
			delete(d.storms, k) // it was nothing
		case refused > 0 || at-s.since >= int64(raiseAfter):
			s.begun, s.severity, d.seen = true, seen, true
			return append(out, s.tell(e, event.StormStart, at))
		}
		return out
	}
	switch {
	case seen > s.severity, refused > 0 && s.fails == refused:
		s.severity = max(s.severity, seen)
		return append(out, s.tell(e, event.StormUpdate, at))
	case at-s.lastSev[event.Warn] >= int64(calmAfter):
		delete(d.storms, k)
		return append(out, s.tell(e, event.StormEnd, at))
	case s.severity == event.Crit && at-s.lastSev[event.Crit] >= int64(calmAfter):
		s.severity = event.Warn
		return append(out, s.tell(e, event.StormUpdate, at))
	case at-s.told >= int64(tellEvery):
		return append(out, s.tell(e, event.StormUpdate, at))
	}
	return out
}

// believe is the severity of what is seen: crit by a forecast is warn until that has
// lasted.
func (s *storm) believe(i *event.StormInfo, at int64) event.Severity {
	if i.Severity != event.Crit {
		s.foreseen = 0
		return i.Severity
	}
	if s.foreseen == 0 {
		s.foreseen = at
	}
	if float64(at-s.foreseen) < farther*i.ExhaustsIn*float64(time.Second) {
		return event.Warn
	}
	return event.Crit
}

// tell makes the record of a storm.
func (s *storm) tell(e event.Event, kind event.Kind, at int64) event.Event {
	e.Kind, e.Time = kind, at
	info := *e.Storm
	info.Severity, info.Fails = s.severity, s.fails
	e.Storm = &info
	s.told, s.last = at, e
	return e
}

func keyOf(g *pressure.Gauge) key {
	if g.What == pressure.Buckets {
		return key{reason: event.Buckets, at: g.Key}
	}
	return key{reason: event.Ports, at: g.Key}
}

// ofGauge is what a gauge says of a storm.
func (d *Detector) ofGauge(g *pressure.Gauge, at int64) event.Event {
	info := event.NewStorm()
	info.Severity, info.Rate, info.Fails = g.Severity, g.Opens, g.Refused
	info.Used, info.Usable, info.Projected = uint64(g.Used), uint64(g.Limit), uint64(g.Steady)
	switch {
	case g.Refused > 0:
		info.ExhaustsIn = 0
	case g.Full:
		info.ExhaustsIn = g.In.Seconds()
	}
	e := event.Event{Time: at, NetNS: g.NetNS, Reason: event.Buckets, Remote: g.Remote, Storm: info}
	if g.What != pressure.Buckets {
		e.Reason, e.Role = event.Ports, event.Client
		e.Local = netip.AddrPortFrom(g.Local, 0)
	}
	if len(g.Holders) > 0 {
		h := &g.Holders[0]
		e.Process, e.Owner, info.PIDs = h.Process, event.Inferred, uint32(h.PIDs)
		if e.Role == event.Client {
			e.Owner = event.ByConnect
		}
		if v := d.groups.of(groupOf(g.NetNS, h.Process)); v != nil {
			v.evidence(info)
		}
	}
	return e
}

// churn is what the groups that churn say of it.
func (d *Detector) churn(at int64) map[key]event.Event {
	out := make(map[key]event.Event)
	for _, k := range slices.SortedFunc(maps.Keys(d.groups.all), compareGroups) {
		g := d.groups.all[k]
		sk := key{reason: event.Churn, group: k}
		known := d.storms[sk]
		churns := g.judge(at, d.opt, known != nil && known.begun)
		if !churns && known == nil {
			continue
		}
		info := event.NewStorm()
		info.Rate, info.PIDs = g.rate(d.opt.Window), uint32(g.pids())
		if churns {
			info.Severity = event.Warn
		}
		g.evidence(info)
		e := event.Event{Time: at, NetNS: k.netns, Reason: event.Churn, Role: event.Client,
			Process: g.proc, Owner: event.ByConnect, Storm: info}
		e.Local, e.Remote = g.where()
		out[sk] = e
	}
	return out
}
