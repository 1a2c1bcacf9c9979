// Package storm reports storms early, and real ones only: when ports or TIME_WAIT
// buckets run out, by the severities of package pressure, and when one group of
// processes opens and closes short-lived connections fast. A storm starts once, has
// updates while it lasts, and ends once, after a calm time. Time is that of the
// caller.
package storm

import (
	"cmp"
	"maps"
	"net/netip"
	"slices"
	"time"

	"github.com/twtrace/twtrace/internal/conn"
	"github.com/twtrace/twtrace/internal/event"
	"github.com/twtrace/twtrace/internal/pressure"
)

// Defaults of Options.
const (
	DefaultShortLived = time.Second
	DefaultRate       = 100
	DefaultWindow     = 10 * time.Second
)

// How long a state must last before it counts.
const (
	raiseAfter  = time.Second      // a severity starts a storm, unless calls fail: then at once
	calmAfter   = 30 * time.Second // time without a severity that ends it
	critAfter   = 2 * time.Second  // time without a forecast that it will be crit; an outage that is over ends crit at once
	updateEvery = 10 * time.Second
	// confirmShare is for which share of the time left a forecast has to last before
	// it makes a storm crit: rates are over ten seconds, and a load that catches up
	// after a pause looks like a faster one in them.
	confirmShare = 0.2
)

// Options say what churn is. Zero values mean the defaults.
type Options struct {
	ShortLived time.Duration // a connection that lives no longer is short-lived
	Rate       float64       // short-lived connections per second of one owner group
	Window     time.Duration // how long that rate has to last; at most MaxWindow
}

// Detector finds storms. It is not safe for concurrent use.
type Detector struct {
	opt    Options
	storms map[key]*storm
	groups groups
}

// New returns a detector.
func New(o Options) *Detector {
	d := &Detector{storms: make(map[key]*storm), groups: newGroups()}
	d.Set(o)
	return d
}

// Set changes the options. Storms that last go on, and are judged by these.
func (d *Detector) Set(o Options) {
	o.ShortLived = cmp.Or(o.ShortLived, DefaultShortLived)
	o.Rate = cmp.Or(o.Rate, DefaultRate)
	o.Window = min(cmp.Or(o.Window, DefaultWindow), MaxWindow)
	d.opt = o
}

// key names a storm.
type key struct {
	reason event.Reason
	at     pressure.Key // of ports and buckets
	group  groupKey     // of churn
}

// storm is a storm that lasts, or may start.
type storm struct {
	started  bool
	since    int64 // when the severity was first seen
	severity event.Severity
	lastSev  [event.Crit + 1]int64 // when it was last at that severity or above
	forecast int64                 // since when a forecast says that the limit will be reached; 0: none does
	reported int64                 // when its last record was made
	fails    uint64
	last     event.Event // its last record
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
// that started, have an update or ended, the worst first.
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
		if _, ok := now[k]; !ok { // its gauge or group is gone
			e := s.last
			e.Time = r.At
			if e.Storm != nil {
				calm := *e.Storm
				calm.Severity, calm.Rate, calm.Demand, calm.ExhaustsIn, calm.Used, calm.Projected = event.SeverityNone, 0, 0, -1, 0, 0
				calm.Fails, calm.Resolved = 0, calm.Outage >= 0
				e.Storm = &calm
			}
			out = d.judge(out, k, e, r.At)
		}
	}
	slices.SortFunc(out, order)
	return out
}

// judge moves a storm on by its present state e, and appends the record of that if
// it needs one.
func (d *Detector) judge(out []event.Event, k key, e event.Event, at int64) []event.Event {
	s := d.storms[k]
	seen := event.SeverityNone
	refused := uint64(0)
	if e.Storm != nil {
		seen, refused = s.confirm(e.Storm, at), e.Storm.Fails
	}
	for v := event.Warn; v <= seen; v++ {
		s.lastSev[v] = at
	}
	s.fails += refused
	if !s.started {
		switch {
		case seen == event.SeverityNone:
			delete(d.storms, k) // it never started
		case refused > 0 || at-s.since >= int64(raiseAfter):
			s.started, s.severity = true, seen
			return append(out, s.record(e, event.StormStart, at))
		}
		return out
	}
	switch {
	case seen > s.severity, refused > 0 && s.fails == refused:
		s.severity = max(s.severity, seen)
		return append(out, s.record(e, event.StormUpdate, at))
	case at-s.lastSev[event.Warn] >= int64(calmAfter):
		delete(d.storms, k)
		return append(out, s.record(e, event.StormEnd, at))
	case s.severity == event.Crit && seen < event.Crit && (e.Storm.Resolved || at-s.lastSev[event.Crit] >= int64(critAfter)):
		s.severity = event.Warn
		return append(out, s.record(e, event.StormUpdate, at))
	case at-s.reported >= int64(updateEvery):
		return append(out, s.record(e, event.StormUpdate, at))
	}
	return out
}

// confirm is the severity that counts: crit by a forecast is warn until the forecast
// has lasted. While calls fail it is crit.
func (s *storm) confirm(i *event.StormInfo, at int64) event.Severity {
	if i.Severity != event.Crit {
		s.forecast = 0
		return i.Severity
	}
	if s.forecast == 0 {
		s.forecast = at
	}
	if i.Outage >= 0 && !i.Resolved {
		return event.Crit
	}
	if float64(at-s.forecast) < confirmShare*i.ExhaustsIn*float64(time.Second) {
		return event.Warn
	}
	return event.Crit
}

// record makes a record of the storm.
func (s *storm) record(e event.Event, kind event.Kind, at int64) event.Event {
	e.Kind, e.Time = kind, at
	info := *e.Storm
	info.Severity, info.Fails = s.severity, s.fails
	if last := &s.last; e.Process.Comm == "" && last.Storm != nil { // its owner holds nothing any more
		e.Process, e.Owner, info.PIDs = last.Process, last.Owner, last.Storm.PIDs
	}
	info.Resolved = info.Resolved && s.severity < event.Crit
	e.Storm = &info
	s.reported, s.last = at, e
	return e
}

func keyOf(g *pressure.Gauge) key {
	if g.What == pressure.Buckets {
		return key{reason: event.Buckets, at: g.Key}
	}
	return key{reason: event.Ports, at: g.Key}
}

// ofGauge is the state of a storm of ports or buckets, from its gauge.
func (d *Detector) ofGauge(g *pressure.Gauge, at int64) event.Event {
	info := event.NewStorm()
	info.Severity, info.Rate, info.Demand, info.Fails = g.Severity, g.Opens, g.Demand, g.Refused
	info.Used, info.Usable, info.Projected = uint64(g.InUse()), uint64(g.Limit), uint64(g.Steady)
	if g.Outage.From != 0 {
		info.Outage, info.Resolved = g.Outage.Length(at).Seconds(), g.Outage.Over()
	}
	switch {
	case g.Outage.Lasts():
		info.ExhaustsIn = 0
	case g.Full:
		info.ExhaustsIn = g.In.Seconds()
	}
	e := event.Event{Time: at, NetNS: g.NetNS, Reason: event.Buckets, Remote: g.Remote, Storm: info}
	if g.What != pressure.Buckets {
		e.Reason, e.Role = event.Ports, event.Client
		e.Local = netip.AddrPortFrom(g.Local, 0)
	}
	holders := g.Holders
	if len(holders) == 0 && g.Held() == 0 && g.Failer.Known() { // where others hold them, it is the victim
		holders = []conn.Holder{{Process: g.Failer, PIDs: 1}}
	}
	if len(holders) > 0 {
		h := &holders[0]
		info.PIDs, info.Held, info.Others = uint32(h.PIDs), h.N, uint32(len(holders)-1)
		e.Process, e.Owner = alone(h.Process, info.PIDs), event.Inferred
		if e.Role == event.Client && 2*h.Guessed <= h.N {
			e.Owner = event.ByConnect
		}
		if v := d.groups.of(groupOf(g.NetNS, h.Process)); v != nil {
			v.evidence(info)
		}
	}
	return e
}

// churn is the state of each storm of churn, from its group.
func (d *Detector) churn(at int64) map[key]event.Event {
	out := make(map[key]event.Event)
	for _, k := range slices.SortedFunc(maps.Keys(d.groups.all), compareGroups) {
		g := d.groups.all[k]
		sk := key{reason: event.Churn, group: k}
		known := d.storms[sk]
		churns := g.judge(at, d.opt, known != nil && known.started)
		if !churns && known == nil {
			continue
		}
		info := event.NewStorm()
		info.Rate, info.PIDs = g.rate(d.opt.Window), uint32(g.pids())
		info.Demand = info.Rate
		if churns {
			info.Severity = event.Warn
		}
		g.evidence(info)
		e := event.Event{Time: at, NetNS: k.netns, Reason: event.Churn, Role: event.Client,
			Process: alone(g.proc, info.PIDs), Owner: event.ByConnect, Storm: info}
		e.Local, e.Remote = g.where()
		out[sk] = e
	}
	return out
}

// alone is p, without its pid if it is one of several processes.
func alone(p event.Proc, processes uint32) event.Proc {
	if processes > 1 {
		p.PID = 0
	}
	return p
}
