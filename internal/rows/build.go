package rows

import (
	"maps"
	"math"
	"time"

	"github.com/twtrace/twtrace/internal/conn"
	"github.com/twtrace/twtrace/internal/pressure"
)

// linger is how long a row stays, in nanoseconds, when nothing is alive in it and
// nothing happens any more. A row that became empty because its connections moved to
// a better known owner does not stay.
const linger = int64(10 * time.Second)

// Builder makes rows of each snapshot of a table, with rates from what changed since
// the one before. The zero Builder is ready.
type Builder struct {
	Name func(netns uint32) string // of network namespaces; nil if none has one

	at     int64 // the last snapshot's
	total  conn.Counters
	groups map[uint64]*memory
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

// Build makes the rows of s, one for each group in which something is alive or
// happened in the last seconds, and the rates of all connections together. The use of
// ports and the severity of rows are those that r has, which may be nil. Rows stay as
// they are when the next ones are built.
func (b *Builder) Build(s *conn.Snapshot, r *pressure.Reading) ([]Row, Rates) {
	over := float64(s.At-b.at) / float64(time.Second)
	if b.at == 0 {
		over = math.NaN()
	}
	gauges := gaugesOf(r)
	if b.groups == nil {
		b.groups = make(map[uint64]*memory, len(s.Groups))
	}
	shown := 0
	for i := range s.Groups {
		if b.shows(&s.Groups[i], s.At) {
			shown++
		}
	}
	list := make([]Row, 0, shown) // others keep it: no more than that
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
		if !b.shows(g, s.At) {
			continue
		}
		list = append(list, rowOf(g))
		row := &list[len(list)-1]
		row.Space, row.Polled = b.name(g.NetNS), s.Totals.CloseWaitAt != 0
		row.Rates, row.Minute = rates(was, now, over), m.bins
		if v := gauges[pressure.Key{What: pressure.Ports, NetNS: g.NetNS, Local: g.Local.Addr(), Remote: g.Remote}]; v != nil {
			row.Severity, row.Ports, row.Usable = v.Severity, v.InUse(), v.Limit
		}
		row.ID = row.KeyBy(ByFlow)
	}
	if len(b.groups) > len(s.Groups) {
		maps.DeleteFunc(b.groups, func(_ uint64, m *memory) bool { return m.at != s.At })
	}
	all := rates(pastOf(&b.total), pastOf(&s.Totals.Counters), over)
	b.at, b.total = s.At, s.Totals.Counters
	return list, all
}

func (b *Builder) name(netns uint32) string {
	if b.Name == nil {
		return ""
	}
	return b.Name(netns)
}

// shows reports whether a group has a row at a snapshot.
func (b *Builder) shows(g *conn.Group, at int64) bool {
	return g.Alive() > 0 || g.Last >= at-max(at-b.at, linger) && (pastOf(&g.Counters) != past{} || g.Snapshots > 0)
}

// gaugesOf finds the gauges of a reading by what they measure.
func gaugesOf(r *pressure.Reading) map[pressure.Key]*pressure.Gauge {
	if r == nil {
		return nil
	}
	gauges := make(map[pressure.Key]*pressure.Gauge, len(r.Gauges))
	for i := range r.Gauges {
		gauges[r.Gauges[i].Key] = &r.Gauges[i]
	}
	return gauges
}

// rowOf is what a group says of itself.
func rowOf(g *conn.Group) Row {
	return Row{
		NetNS: g.NetNS, Kind: g.Kind, Owner: g.Owner, PIDs: g.PIDs, About: g.About, Role: g.Role,
		PreStart: preStart(g),
		Local:    g.Local, Listen: g.Listen, Remote: g.Remote, Owners: 1, Peers: 1, Clients: g.Clients,
		TimeWait: g.TimeWait, Parked: g.Parked, Established: g.Established, CloseWait: g.CloseWait,
		Life: g.Life, Closer: g.Closer,
		Total: g.Counters, First: g.First, Recent: g.Recent,
	}
}

// rates counts what changed; a counter that shrank because a connection's owner
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

// preStart reports whether the group is of sockets from before the trace: they
// were there in the first snapshot, or only their ends were seen.
func preStart(g *conn.Group) bool {
	return g.Kind == conn.GroupProcess && !g.Owner.Known() &&
		(g.Snapshots > 0 || g.Exit() > 0 && g.Opens+g.Parks+g.Enters == 0)
}
