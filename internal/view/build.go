package view

import (
	"math"
	"net/netip"
	"time"

	"github.com/twtrace/twtrace/internal/conn"
	"github.com/twtrace/twtrace/internal/event"
)

// warnShare is from where on use of a limit is marked; playbooks call for a
// warning when the steady state reaches 80 %.
const warnShare = 0.8

// linger is how long a row stays, in nanoseconds, when nothing is alive in it and
// nothing happens any more. One that has nothing left to tell, because its
// connections moved to a better known owner, does not stay.
const linger = int64(10 * time.Second)

// historyLen is how many intervals the sparkline spans.
const historyLen = 60

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
	refused map[uint32]uint64
	groups  map[uint64]past
	dests   map[destKey]uint64 // exhausted
	history []uint64
}

// past is what rates need of a group's last snapshot.
type past struct{ open, end, in, out, fail uint64 }

type destKey struct {
	netns  uint32
	local  netip.Addr
	remote netip.AddrPort
}

func pastOf(c *conn.Counters) past {
	return past{c.Opens, c.Ends, c.Enters, c.Exit(), c.Fails.Total()}
}

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
	b.history = append(b.history, st.TimeWait)
	if n := len(b.history) - historyLen; n > 0 {
		b.history = append(b.history[:0], b.history[n:]...)
	}
	st.History = append(st.History, b.history...)
	marks := b.destinations(s, st)
	b.rows(s, st, over, marks)
	st.Buckets = b.buckets(s)
	b.at, b.total = s.At, s.Totals.Counters
	return st
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

// destMark is what a row shows of its destination.
type destMark struct {
	Severity     Severity
	used, usable int
}

// destinations sets the worst one, and returns the marks of all.
func (b *Builder) destinations(s *conn.Snapshot, st *State) map[destKey]destMark {
	marks := make(map[destKey]destMark, len(s.Destinations))
	exhausted := make(map[destKey]uint64)
	for i := range s.Destinations {
		d := &s.Destinations[i]
		k := destKey{d.NetNS, d.Local, d.Remote}
		m := destMark{used: d.Used(), usable: d.Usable}
		if d.Exhausted > 0 {
			exhausted[k] = d.Exhausted
		}
		switch {
		case b.at != 0 && d.Exhausted > b.dests[k]:
			m.Severity = Crit
		case d.Share() >= warnShare:
			m.Severity = Warn
		}
		marks[k] = m
	}
	if len(s.Destinations) > 0 && s.Destinations[0].Used() > 0 {
		worst := s.Destinations[0]
		st.Worst = &worst
	}
	b.dests = exhausted
	return marks
}

func (b *Builder) rows(s *conn.Snapshot, st *State, over float64, marks map[destKey]destMark) {
	groups := make(map[uint64]past, len(s.Groups))
	st.Rows = make([]Row, 0, len(s.Groups))
	for i := range s.Groups {
		g := &s.Groups[i]
		now := pastOf(&g.Counters)
		groups[g.ID] = now
		if g.Alive() == 0 && (now == past{} && g.Snapshots == 0 || g.Last < s.At-max(s.At-b.at, linger)) {
			continue
		}
		r := Row{
			NetNS: g.NetNS, Kind: g.Kind, Owner: g.Owner, PIDs: g.PIDs, Role: g.Role,
			PreStart: preStart(g),
			Local:    g.Local, Remote: g.Remote, Owners: 1, Peers: 1, Clients: g.Clients,
			TimeWait: g.TimeWait, Parked: g.Parked, Established: g.Established,
			Rates: rates(b.groups[g.ID], now, over), Life: g.Life, Closer: g.Closer,
		}
		if m, ok := marks[destKey{g.NetNS, g.Local.Addr(), g.Remote}]; ok {
			r.Severity, r.Ports, r.Usable = m.Severity, m.used, m.usable
		}
		st.Rows = append(st.Rows, r)
	}
	b.groups = groups
}

// preStart tells whether the group is of sockets from before the trace: they
// were there in the first snapshot, or only their ends were seen.
func preStart(g *conn.Group) bool {
	return g.Kind == conn.GroupProcess && !g.Owner.Known() &&
		(g.Snapshots > 0 || g.Exit() > 0 && g.Opens+g.Parks+g.Enters == 0)
}

// buckets finds the namespace that is nearest to its limit, of those whose
// limit is known the one with the largest share.
func (b *Builder) buckets(s *conn.Snapshot) Buckets {
	used, refused := make(map[uint32]uint64), make(map[uint32]uint64)
	for i := range s.Groups {
		g := &s.Groups[i]
		if g.Kind != conn.GroupOther {
			used[g.NetNS] += g.TimeWait + g.Parked
		}
		if g.Refused > 0 {
			refused[g.NetNS] += g.Refused
		}
	}
	if len(used) == 0 {
		used[b.NetNS] = 0
	}
	var worst Buckets
	first := true
	for ns, n := range used {
		v := Buckets{NetNS: ns, Used: n, Only: len(used) == 1}
		if b.Limits != nil {
			if l, ok := b.Limits(ns); ok {
				v.Max = l.MaxTW
			}
		}
		switch {
		case b.at != 0 && refused[ns] > b.refused[ns]:
			v.Severity = Crit
		case v.Max > 0 && float64(n) >= warnShare*float64(v.Max):
			v.Severity = Warn
		}
		if first || worse(&v, &worst) {
			worst, first = v, false
		}
	}
	b.refused = refused
	if b.Name != nil {
		worst.Name = b.Name(worst.NetNS)
	}
	return worst
}

func worse(a, b *Buckets) bool {
	share := func(v *Buckets) float64 {
		if v.Max == 0 {
			return -1
		}
		return float64(v.Used) / float64(v.Max)
	}
	if a.Severity != b.Severity {
		return a.Severity > b.Severity
	}
	if sa, sb := share(a), share(b); sa != sb {
		return sa > sb
	}
	return a.Used > b.Used || a.Used == b.Used && a.NetNS < b.NetNS
}

// lost is the sum of all stages.
func lost(l *[event.StageQueue + 1]uint64) uint64 {
	var n uint64
	for _, v := range l {
		n += v
	}
	return n
}
