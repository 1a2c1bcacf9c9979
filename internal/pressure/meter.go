package pressure

import (
	"cmp"
	"math"
	"slices"
	"time"

	"github.com/twtrace/twtrace/internal/conn"
	"github.com/twtrace/twtrace/internal/event"
)

const (
	// minKnown is how long something must have been watched before its rates mean
	// anything.
	minKnown = 3 * time.Second
	// minShare is how much of a limit must be in use for a forecast to be an alarm:
	// a pool that is being filled, or a burst, looks like a storm at first.
	minShare = 0.10
	// leakShare is how much of a limit live connections must hold for their growth
	// to be taken for one without end: below it, they may just live long.
	leakShare = 0.40
	// refusing is for how long a refusal counts as happening now.
	refusing = 5 * time.Second
	// mostGauges bounds what Measure returns, worst first.
	mostGauges = 1024
)

// Meter makes gauges of each snapshot of a table. It remembers only what was
// refused, by gauge.
type Meter struct {
	limits  conn.LimitsFunc
	refused map[Key]refusal
}

type refusal struct {
	count uint64
	last  int64 // ns since the epoch
}

// NewMeter returns a meter; limits may be nil if none is known.
func NewMeter(limits conn.LimitsFunc) *Meter {
	if limits == nil {
		limits = func(uint32) (conn.Limits, bool) { return conn.Limits{}, false }
	}
	return &Meter{limits: limits, refused: make(map[Key]refusal)}
}

// Reading is what a meter showed at one moment.
type Reading struct {
	At     int64   // ns since the epoch
	Gauges []Gauge // the worst first: by severity, then by share of the limit
	Folded uint64  // destinations that are in none of them: there was no room, or they are small
}

// Worst returns the worst gauge of that kind that anything is in use of, nil if
// there is none.
func (r *Reading) Worst(w What) *Gauge {
	for i := range r.Gauges {
		if g := &r.Gauges[i]; g.What == w && g.Used > 0 {
			return g
		}
	}
	return nil
}

// Measure reads all gauges. The result is valid until the table is asked again.
func (m *Meter) Measure(s *conn.Snapshot) Reading {
	r := Reading{At: s.At, Folded: s.Totals.DestinationsRefused}
	before := m.refused
	m.refused = make(map[Key]refusal)
	bound := make(map[uint32]int)
	for i := range s.Destinations {
		if d := &s.Destinations[i]; !d.Remote.IsValid() {
			bound[d.NetNS] += d.Used()
		}
	}
	for i := range s.Destinations {
		d := &s.Destinations[i]
		if len(r.Gauges) >= mostGauges && d.Exhausted == 0 {
			r.Folded++
			continue
		}
		g := m.ports(d, bound[d.NetNS])
		m.judge(&g, before, s.At, d.Flow)
		r.Gauges = append(r.Gauges, g)
	}
	for i := range s.Spaces {
		b := &s.Spaces[i]
		g := m.buckets(b)
		m.judge(&g, before, s.At, b.Flow)
		r.Gauges = append(r.Gauges, g)
	}
	slices.SortFunc(r.Gauges, compare)
	return r
}

func compare(a, b Gauge) int {
	return cmp.Or(
		cmp.Compare(b.Severity, a.Severity),
		cmp.Compare(b.Share(), a.Share()),
		cmp.Compare(b.Held(), a.Held()),
		cmp.Compare(a.What, b.What),
		a.Remote.Compare(b.Remote),
		a.Local.Compare(b.Local),
		cmp.Compare(a.NetNS, b.NetNS))
}

// ports is the gauge of one destination, or of the ports bound at a local address;
// bound is how many ports are bound in the namespace.
func (m *Meter) ports(d *conn.Destination, bound int) Gauge {
	g := Gauge{
		Key:      Key{What: Ports, NetNS: d.NetNS, Local: d.Local, Remote: d.Remote},
		TimeWait: d.TimeWait, Parked: d.Parked, Established: d.Established, SynSent: d.SynSent,
		Fails: d.Fails, Limit: d.Usable, Refused: d.Exhausted,
	}
	if !d.Remote.IsValid() {
		g.What = LocalPorts
		g.Refused = d.Fails.Of(event.Bind, eaddrinuse) + d.Exhausted
	} else if g.Limit > 0 {
		// connect() passes over a port that somebody has bound, whatever it is for.
		g.Bound = min(bound, g.Limit)
		g.Limit -= g.Bound
	}
	load := Load{Limit: float64(g.Limit), Live: float64(g.Parked + g.Established + g.SynSent)}
	flow := d.Flow
	if flow == nil {
		flow = &conn.Flow{}
	}
	g.Holders = flow.Holders
	g.Opens, g.Frees = flow.Long.Opens, flow.Long.Frees+flow.Long.Exits
	now := going(flow)
	in := lasting(now)
	load.Growth = leak(flow, g.Established, g.Limit)
	load.Rate = max(in-load.Growth, 0)
	l, known := m.limits(d.NetNS)
	g.Reuse = reuseOf(d, &l, known)
	g.takeOver(&load, flow, &l)
	g.Outlook = Foresee(load)
	if life := 0.0; g.Limit > 0 {
		if g.Opens > 0 {
			life = float64(g.Established) / g.Opens // Little's law
		}
		g.MaxRate = float64(g.Limit) / (life + cmp.Or(load.Hold, Hold).Seconds())
	}
	return g
}

// eaddrinuse is the errno of bind() when no port is free.
const eaddrinuse = 98

// going are the rates that go on: those of the last seconds if it has become much
// less than it was.
func going(f *conn.Flow) conn.PerSecond {
	if f.Short.Opens < f.Long.Opens/2 {
		return f.Short
	}
	return f.Long
}

// lasting is how many of the ports taken per second stay taken for a minute after
// their connection: of those that ended, the share that left a mini-socket. As long
// as hardly any has ended it is all of them.
func lasting(r conn.PerSecond) float64 {
	ends := r.Enters + r.Frees
	if ends < r.Opens/5 || ends == 0 {
		return r.Opens
	}
	return r.Opens * r.Enters / ends
}

// leak is by how much live connections grow per second without any end in sight.
func leak(f *conn.Flow, live, limit int) float64 {
	if float64(live) < leakShare*float64(limit) {
		return 0
	}
	grows := func(r conn.PerSecond) float64 { return r.Opens - r.Enters - r.Frees }
	return max(min(grows(f.Long), grows(f.Short)), 0)
}

// takeOver sorts the sockets in TIME_WAIT into those whose ports are blocked, which
// count as load, and those that connect() takes over.
func (g *Gauge) takeOver(load *Load, flow *conn.Flow, l *conn.Limits) {
	delay := l.ReuseDelay.Seconds()
	placed, stamped := 0, 0
	for age := range flow.Age {
		plain, withStamps := int(flow.Age[age]), int(flow.Stamped[age])
		placed += plain + withStamps
		stamped += withStamps
		if g.Reuse == ReuseAll {
			plain, withStamps = 0, plain+withStamps
		} else if g.Reuse != ReuseSome {
			plain, withStamps = plain+withStamps, 0
		}
		left := time.Duration(60-age) * time.Second
		load.TimeWait.Add(plain, left)
		// Those that began in the second just gone are old enough by half.
		old := int(math.Round(float64(withStamps) * min(max(float64(age)-delay+0.5, 0), 1)))
		g.Reusable += old
		load.TimeWait.Add(withStamps-old, max(l.ReuseDelay-time.Duration(age)*time.Second, 0))
	}
	// What came before the flow was followed is older than that.
	before := max(g.TimeWait-placed, 0)
	if g.Reuse == ReuseAll {
		g.Reusable += before
		before = 0
	}
	load.TimeWait.Add(before, time.Minute-flow.Known)
	switch {
	case g.Reuse == ReuseAll:
		load.Hold = l.ReuseDelay
	case g.Reuse == ReuseSome && placed > 0:
		// Those with timestamps block their port for the delay only.
		share := float64(stamped) / float64(placed)
		load.Live += load.Rate * share * delay
		load.Rate *= 1 - share
	}
}

// reuseOf tells whether connect() takes over ports in TIME_WAIT to d, as
// tcp_twsk_unique has it: by the addresses, so the host's other ones do not count
// as loopback. There, both ends have timestamps.
func reuseOf(d *conn.Destination, l *conn.Limits, known bool) Reuse {
	loopback := d.Local.IsLoopback() || d.Remote.Addr().IsLoopback()
	switch {
	case !d.Remote.IsValid(): // bind() does not
		return ReuseOff
	case !known:
		return ReuseUnknown
	case !l.Timestamps, l.TWReuse == 0, l.TWReuse == 2 && !loopback:
		return ReuseOff
	case loopback:
		return ReuseAll
	case d.Flow == nil:
		return ReuseSome
	}
	plain, stamped := 0, 0
	for i := range d.Flow.Age {
		plain += int(d.Flow.Age[i])
		stamped += int(d.Flow.Stamped[i])
	}
	switch {
	case stamped == 0 && plain > 0:
		return ReuseNone
	case plain == 0 && stamped > 0:
		return ReuseAll
	}
	return ReuseSome
}

// buckets is the gauge of a namespace's TIME_WAIT sockets.
func (m *Meter) buckets(b *conn.Buckets) Gauge {
	g := Gauge{
		Key:      Key{What: Buckets, NetNS: b.NetNS},
		TimeWait: b.TimeWait, Parked: b.Parked, Refused: b.Refused,
		Opens:  b.Flow.Long.Enters,
		Frees:  b.Flow.Long.Exits,
		Memory: uint64(b.OfClient)*ClientTWBytes + uint64(b.Used()-b.OfClient)*ServerTWBytes,
	}
	g.Holders = b.Flow.Holders
	if l, ok := m.limits(b.NetNS); ok {
		g.Limit = int(min(l.MaxTW, math.MaxInt32))
	}
	load := Load{Limit: float64(g.Limit), Live: float64(g.Parked), Rate: b.Flow.Long.Enters}
	if b.Flow.Short.Enters < load.Rate/2 {
		load.Rate = b.Flow.Short.Enters
	}
	g.Reuse = ReuseOff
	g.takeOver(&load, b.Flow, &conn.Limits{})
	g.Outlook = Foresee(load)
	if g.Limit > 0 {
		g.MaxRate = float64(g.Limit) / Hold.Seconds()
	}
	return g
}

// judge sets the severity of g, and makes its Refused what was refused since before.
func (m *Meter) judge(g *Gauge, before map[Key]refusal, at int64, flow *conn.Flow) {
	was := before[g.Key]
	if g.Refused > was.count {
		was.last = at
	}
	if g.Refused > 0 {
		m.refused[g.Key] = refusal{g.Refused, was.last}
	}
	g.Refused -= min(was.count, g.Refused)
	switch {
	case was.last != 0 && at-was.last < int64(refusing):
		g.Severity = event.Crit
	case g.Limit > 0 && g.Used >= float64(g.Limit):
		g.Severity = event.Crit
	case flow != nil && flow.Known >= minKnown && g.Share() >= minShare:
		g.Severity = g.Outlook.Severity()
	case g.Share() >= HighShare:
		g.Severity = event.Warn
	}
}
