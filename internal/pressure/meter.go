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
	// minKnown is how long the table must have followed a resource before its rates
	// mean anything.
	minKnown = 3 * time.Second
	// minShare is which share of a limit must be in use for a forecast to set a
	// severity: a pool that fills, or a burst, looks like a storm at first.
	minShare = 0.10
	// leakShare is which share of a limit live connections must hold for their growth
	// to count as endless: below it, they may just live long.
	leakShare = 0.40
	// maxGauges limits what Measure returns, worst first.
	maxGauges = 1024
)

// Meter makes gauges from each snapshot of a table. It remembers the refusals, by
// gauge, and when it last read.
type Meter struct {
	limits  conn.LimitsFunc
	refused map[Key]refusals
	at      int64 // the reading before, ns since the epoch
}

// NewMeter returns a meter; limits may be nil if no limit is known.
func NewMeter(limits conn.LimitsFunc) *Meter {
	if limits == nil {
		limits = func(uint32) (conn.Limits, bool) { return conn.Limits{}, false }
	}
	return &Meter{limits: limits, refused: make(map[Key]refusals)}
}

// Reading is all gauges at one moment.
type Reading struct {
	At     int64   // ns since the epoch
	Gauges []Gauge // the worst first: by severity, then by share of the limit
	Folded uint64  // connections and destinations without a gauge: there was no room, or they are small
}

// Worst returns the worst gauge of that kind with anything in use, nil if there is
// none.
func (r *Reading) Worst(w What) *Gauge {
	for i := range r.Gauges {
		if g := &r.Gauges[i]; g.What == w && g.InUse() > 0 {
			return g
		}
	}
	return nil
}

// Measure reads all gauges. The result is valid until s is filled again.
func (m *Meter) Measure(s *conn.Snapshot) Reading {
	r := Reading{At: s.At, Folded: s.Totals.DestinationsRefused,
		Gauges: make([]Gauge, 0, min(len(s.Destinations), maxGauges)+len(s.Buckets))} // others keep it
	before := m.refused
	m.refused = make(map[Key]refusals)
	for i := range s.Destinations {
		d := &s.Destinations[i]
		if len(r.Gauges) >= maxGauges && d.Exhausted == 0 {
			r.Folded++
			continue
		}
		g := m.ports(d)
		m.judge(&g, before, s.At, d.LastNone, d.Flow != nil && d.Flow.Known >= minKnown)
		r.Gauges = append(r.Gauges, g)
	}
	for i := range s.Buckets {
		b := &s.Buckets[i]
		g := m.buckets(b)
		m.judge(&g, before, s.At, b.LastNone, b.Flow.Known >= minKnown)
		r.Gauges = append(r.Gauges, g)
	}
	m.at = s.At
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

// ports is the gauge of one destination, or of the ports bound at a local address.
func (m *Meter) ports(d *conn.Destination) Gauge {
	g := Gauge{
		Key:      Key{What: Ports, NetNS: d.NetNS, Local: d.Local, Remote: d.Remote},
		TimeWait: d.TimeWait, Parked: d.Parked, Established: d.Established, CloseWait: d.CloseWait, SynSent: d.SynSent,
		Fails: d.Fails, Limit: d.Usable, Limited: d.Limited, Refused: d.Exhausted, Failer: d.Failer,
	}
	if !d.Remote.IsValid() {
		g.What = LocalPorts
		g.Refused = d.Fails.Of(event.Bind, event.EADDRINUSE) + d.Exhausted
	} else if g.Limit > 0 {
		// connect() skips a port that a program has bound, for any destination.
		if g.Bound = min(d.Taken, g.Limit); g.Bound < g.Limit {
			g.Limit -= g.Bound
		}
	}
	load := Load{Limit: float64(g.Limit), Live: float64(g.Parked + g.Open() + g.SynSent)}
	if g.What == Ports && g.Bound >= g.Limit {
		load.Live = float64(g.Bound)
	}
	flow := d.Flow
	if flow == nil {
		flow = &conn.Flow{}
	}
	g.Holders = d.Holders
	g.Opens, g.Frees = flow.Long.Opens, flow.Long.Frees+flow.Long.Exits
	now := present(flow)
	g.Demand = now.Demand()
	in := lasting(now)
	load.Growth = leak(flow, g.Open(), g.Limit)
	load.Rate = max(in-load.Growth, 0)
	l, known := m.limits(d.NetNS)
	g.Reuse = reuseOf(d, &l, known)
	g.takeOver(&load, flow, &l)
	g.Outlook = Forecast(load)
	if life := 0.0; g.Limit > 0 {
		if g.Opens > 0 {
			life = float64(g.Open()) / g.Opens // Little's law
		}
		g.MaxRate = float64(g.Limit) / (life + cmp.Or(load.Hold, Hold).Seconds())
	}
	return g
}

// present are the present rates: over the last seconds where they are much lower
// than before.
func present(f *conn.Flow) conn.PerSecond {
	if f.Short.Demand() < f.Long.Demand()/2 {
		return f.Short
	}
	return f.Long
}

// lasting is how many of the ports wanted per second would stay in use for a minute
// after their connection, by the share of connections that leave a mini-socket at their
// end. While hardly any has ended, that is all.
func lasting(r conn.PerSecond) float64 {
	ends := r.Enters + r.Frees
	if ends < r.Opens/5 || ends == 0 {
		return r.Demand()
	}
	return r.Demand() * r.Enters / ends
}

// leak is the endless growth of live connections per second, 0 if there is none.
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
		if placed += plain + withStamps; placed > 0 && g.FreeIn == 0 { // the youngest leave last
			g.FreeIn = event.TimeWaitLen + Lateness - time.Duration(age)*time.Second
		}
		stamped += withStamps
		if g.Reuse == ReuseAll {
			plain, withStamps = 0, plain+withStamps
		} else if g.Reuse != ReuseSome {
			plain, withStamps = plain+withStamps, 0
		}
		left := event.TimeWaitLen - time.Duration(age)*time.Second
		load.TimeWait.Add(plain, left)
		// Of those in the second at the border, half are old enough.
		old := int(math.Round(float64(withStamps) * min(max(float64(age)-delay+0.5, 0), 1)))
		g.Reusable += old
		load.TimeWait.Add(withStamps-old, max(l.ReuseDelay-time.Duration(age)*time.Second, 0))
	}
	// Sockets that the flow does not count are older than it.
	before := max(g.TimeWait-placed, 0)
	if g.Reuse == ReuseAll {
		g.Reusable += before
		before = 0
	}
	load.TimeWait.Add(before, event.TimeWaitLen-flow.Known)
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

// reuseOf says whether connect() takes over ports in TIME_WAIT to d, by the rules of
// tcp_twsk_unique: loopback means loopback addresses, not the host's other ones. On
// loopback both ends have timestamps.
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
	g.Demand = b.Flow.Long.Enters + b.Flow.Long.None
	if short := b.Flow.Short.Enters + b.Flow.Short.None; short < g.Demand/2 {
		g.Demand = short
	}
	g.Holders = b.Holders
	if l, ok := m.limits(b.NetNS); ok {
		g.Limit, g.Limited, g.Unlimited = int(min(max(l.MaxTW, 0), math.MaxInt32)), l.MaxTW >= 0, l.MaxTW < 0
	}
	load := Load{Limit: float64(g.Limit), Live: float64(g.Parked), Rate: g.Demand}
	g.Reuse = ReuseOff
	g.takeOver(&load, b.Flow, &conn.Limits{})
	g.Outlook = Forecast(load)
	if g.Limit > 0 {
		g.MaxRate = float64(g.Limit) / Hold.Seconds()
	}
	return g
}
