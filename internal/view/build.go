package view

import (
	"maps"
	"math"
	"time"

	"github.com/twtrace/twtrace/internal/conn"
	"github.com/twtrace/twtrace/internal/event"
	"github.com/twtrace/twtrace/internal/pressure"
)

// linger is how long a row stays, in nanoseconds, when nothing is alive in it and
// nothing happens any more. One that has nothing left to tell, because its
// connections moved to a better known owner, does not stay.
const linger = int64(10 * time.Second)

// historyLen is how many intervals the sparkline spans.
const historyLen = 120

// Builder makes a State of each snapshot of a table, with rates from what
// changed since the one before. The zero Builder is ready.
type Builder struct {
	Host   string
	Begin  time.Time                 // of the trace
	Limits conn.LimitsFunc           // nil if no limit is known
	Name   func(netns uint32) string // nil if no namespace has one
	NetNS  uint32                    // whose limits to show where nothing was seen yet

	at      int64
	total   conn.Counters
	meter   *pressure.Meter
	groups  map[uint64]*memory
	history []uint64
	opened  []uint64
}

// memory is what is known of a group's last snapshots.
type memory struct {
	past
	minute
	at int64 // the last one
}

// past is what rates need of a group's last snapshot.
type past struct{ open, end, in, out, fail uint64 }

func pastOf(c *conn.Counters) past {
	return past{c.Opens, c.Ends, c.Enters, c.Exit(), c.Fails.Total()}
}

// Forget begins the histories anew.
func (b *Builder) Forget() { b.history, b.opened = nil, nil }

// Build makes the state of s. What no table knows (SelfCPU, SelfRSS, findings,
// how to group and sort) is left to the caller. SelfCPU is set to unknown.
func (b *Builder) Build(s *conn.Snapshot) *State {
	over := float64(s.At-b.at) / float64(time.Second)
	if b.at == 0 {
		over = math.NaN()
	}
	st := &State{
		Time: time.Unix(0, s.At), Host: b.Host, Mode: "LIVE", SelfCPU: -1,
		Lost:     s.Totals.Lost,
		TimeWait: s.Totals.TimeWait, Parked: s.Totals.Parked, Established: s.Totals.Established,
		Rates: rates(pastOf(&b.total), pastOf(&s.Totals.Counters), over),
	}
	if !b.Begin.IsZero() {
		st.Uptime = st.Time.Sub(b.Begin)
	}
	if b.at != 0 {
		st.Interval = time.Duration(s.At - b.at)
	}
	b.history = remember(b.history, st.TimeWait)
	st.History = append(st.History, b.history...)
	if known(st.Rates.Open) {
		b.opened = remember(b.opened, uint64(math.Round(st.Rates.Open)))
	}
	st.Opened = append(st.Opened, b.opened...)
	if b.meter == nil {
		b.meter = pressure.NewMeter(b.Limits)
	}
	st.Pressure = b.meter.Measure(s)
	st.Worst = worst(&st.Pressure)
	b.rows(s, st, over)
	st.Buckets = b.buckets(&st.Pressure)
	b.at, b.total = s.At, s.Totals.Counters
	return st
}

// remember appends v to the last values.
func remember(last []uint64, v uint64) []uint64 {
	if n := len(last) - historyLen + 1; n > 0 {
		last = append(last[:0], last[n:]...)
	}
	return append(last, v)
}

// rates tells what changed; a counter that shrank because a connection's owner
// became better known counts as no change.
func rates(was, now past, over float64) Rates {
	per := func(was, now uint64) float64 {
		if now < was {
			now = was
		}
		return float64(now-was) / over
	}
	return Rates{
		In: per(was.in, now.in), Out: per(was.out, now.out), Open: per(was.open, now.open),
		Close: per(was.end, now.end), Fail: per(was.fail, now.fail),
	}
}

// worst is the fullest gauge of ports that anything is in use of, of the worst
// severity.
func worst(r *pressure.Reading) *pressure.Gauge {
	ports, local := r.Worst(pressure.Ports), r.Worst(pressure.LocalPorts)
	switch {
	case ports == nil:
		return local
	case local != nil && (local.Severity > ports.Severity || local.Severity == ports.Severity && local.Share() > ports.Share()):
		return local
	}
	return ports
}

func (b *Builder) rows(s *conn.Snapshot, st *State, over float64) {
	gauges := make(map[pressure.Key]*pressure.Gauge, len(st.Pressure.Gauges))
	for i := range st.Pressure.Gauges {
		gauges[st.Pressure.Gauges[i].Key] = &st.Pressure.Gauges[i]
	}
	if b.groups == nil {
		b.groups = make(map[uint64]*memory, len(s.Groups))
	}
	st.Rows = make([]Row, 0, len(s.Groups))
	for i := range s.Groups {
		g := &s.Groups[i]
		m := b.groups[g.ID]
		if m == nil {
			m = new(memory)
			b.groups[g.ID] = m
		}
		was, now := m.past, pastOf(&g.Counters)
		m.past, m.at = now, s.At
		m.add(s.At, g.TimeWait)
		if g.Alive() == 0 && (now == past{} && g.Snapshots == 0 || g.Last < s.At-max(s.At-b.at, linger)) {
			continue
		}
		st.Rows = append(st.Rows, Row{
			NetNS: g.NetNS, Kind: g.Kind, Owner: g.Owner, PIDs: g.PIDs, About: g.About, Role: g.Role,
			PreStart: preStart(g),
			Local:    g.Local, Remote: g.Remote, Owners: 1, Peers: 1, Clients: g.Clients,
			TimeWait: g.TimeWait, Parked: g.Parked, Established: g.Established,
			Rates: rates(was, now, over), Life: g.Life, Closer: g.Closer,
			Total: g.Counters, First: g.First, Recent: g.Recent, Minute: m.bins,
		})
		r := &st.Rows[len(st.Rows)-1]
		if v := gauges[pressure.Key{What: pressure.Ports, NetNS: g.NetNS, Local: g.Local.Addr(), Remote: g.Remote}]; v != nil {
			r.Severity, r.Ports, r.Usable = Severity(v.Severity), int(v.Used), v.Limit
		}
		r.id = r.key(ByFlow)
	}
	if len(b.groups) > len(s.Groups) {
		maps.DeleteFunc(b.groups, func(_ uint64, m *memory) bool { return m.at != s.At })
	}
}

// preStart tells whether the group is of sockets from before the trace: they
// were there in the first snapshot, or only their ends were seen.
func preStart(g *conn.Group) bool {
	return g.Kind == conn.GroupProcess && !g.Owner.Known() &&
		(g.Snapshots > 0 || g.Exit() > 0 && g.Opens+g.Parks+g.Enters == 0)
}

// buckets is the namespace that is nearest to its limit.
func (b *Builder) buckets(r *pressure.Reading) Buckets {
	var v Buckets
	first := true
	for i := range r.Gauges {
		g := &r.Gauges[i]
		if g.What != pressure.Buckets {
			continue
		}
		if !first {
			v.Only = false
			break
		}
		first = false
		v = Buckets{Severity: Severity(g.Severity), NetNS: g.NetNS, Used: uint64(g.Used), Max: uint64(g.Limit),
			Refusing: g.Refused > 0, Only: true}
	}
	if first {
		v = Buckets{NetNS: b.NetNS, Only: true}
		if b.Limits != nil {
			if l, ok := b.Limits(b.NetNS); ok {
				v.Max = l.MaxTW
			}
		}
	}
	if b.Name != nil {
		v.Name = b.Name(v.NetNS)
	}
	return v
}

// lost is the sum of all stages.
func lost(l *[event.StageQueue + 1]uint64) uint64 {
	var n uint64
	for _, v := range l {
		n += v
	}
	return n
}
