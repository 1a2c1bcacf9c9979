package pressure

import (
	"time"

	"github.com/twtrace/twtrace/internal/event"
)

const (
	// refusingFirst is how long after a refusal it counts as happening now, where the
	// time between readings is not known yet; else it is two of these intervals, but
	// not less nor more than that.
	refusingFirst = 5 * time.Second
	refusingLeast = 2 * time.Second
	refusingMost  = 10 * time.Second
	// stuckFor is how long a refusal shows that a use as high leaves nothing free: then
	// each port in TIME_WAIT has ended.
	stuckFor = Hold
	// stuckShare is which share of the limit must be in use for that.
	stuckShare = 0.95
	// resolvedFor is how long an outage that is over is remembered.
	resolvedFor = time.Minute
)

// Outage is a time in which calls found no free port, or the kernel refused TIME_WAIT.
// It lasts for as long as that happens, or nothing is free: who asks seldom fails seldom.
type Outage struct {
	From    int64  // the first refusal, ns since the epoch; 0: there is no outage
	To      int64  // when it was over; 0: it lasts
	Refused uint64 // how often
}

// Lasts reports whether calls fail now.
func (o *Outage) Lasts() bool { return o.From != 0 && o.To == 0 }

// Over reports whether there was an outage, and it has ended.
func (o *Outage) Over() bool { return o.To != 0 }

// Length is how long it lasted, or has so far at now.
func (o *Outage) Length(now int64) time.Duration {
	switch {
	case o.From == 0:
		return 0
	case o.Over():
		now = o.To
	}
	return time.Duration(max(now-o.From, 0))
}

// refusals is what a meter remembers of a gauge.
type refusals struct {
	count  uint64 // so far
	last   int64  // ns since the epoch
	level  float64
	limit  int   // level is what was in use at the last refusal, of so many
	busy   int64 // when the last reading found that nothing was free
	outage Outage
}

// window is how long after a refusal it counts as happening now, at a reading.
func (m *Meter) window(at int64) int64 {
	if m.at == 0 {
		return int64(refusingFirst)
	}
	return min(max(2*(at-m.at), int64(refusingLeast)), int64(refusingMost))
}

// judge sets the outage and the severity of g, and reduces its Refused to the refusals
// since the reading before. last is the time of the last refusal; enough reports whether
// g was followed for long enough for a forecast.
func (m *Meter) judge(g *Gauge, before map[Key]refusals, at, last int64, enough bool) {
	v := before[g.Key]
	refused := g.Refused - min(v.count, g.Refused)
	v.count, g.Refused = g.Refused, refused
	if refused > 0 {
		v.last, v.level, v.limit = min(max(last, v.last), at), g.Used, g.Limit
	}
	full := g.Limit > 0 && g.Used >= float64(g.Limit)
	v.follow(refused, full || v.stuck(g, at), at, m.window(at))
	if v.count > 0 {
		m.refused[g.Key] = v
	}
	g.Outage = v.outage
	switch {
	case g.Outage.Lasts(), full:
		g.Severity = event.Crit
	case enough && g.Share() >= minShare:
		g.Severity = g.Outlook.Severity()
	case g.Share() >= HighShare:
		g.Severity = event.Warn
	}
}

// stuck reports whether as much is in use as at the last refusal, so that nothing can
// be free.
func (v *refusals) stuck(g *Gauge, at int64) bool {
	return v.last != 0 && at-v.last < int64(stuckFor) && g.Used >= v.level && g.Limit <= v.limit && v.level >= stuckShare*float64(v.limit)
}

// follow starts, continues or ends the outage.
func (v *refusals) follow(refused uint64, none bool, at, window int64) {
	o := &v.outage
	if refused > 0 && !o.Lasts() {
		*o = Outage{From: v.last}
	}
	o.Refused += refused
	switch {
	case !o.Lasts():
	case none:
		v.busy = at
		return
	case at-v.last < window:
		return
	default:
		o.To = max(v.busy, v.last)
	}
	if o.Over() && at-o.To >= int64(resolvedFor) {
		*o = Outage{}
	}
}
