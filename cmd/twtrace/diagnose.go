package main

import (
	"slices"
	"time"

	"github.com/twtrace/twtrace/internal/advice"
	"github.com/twtrace/twtrace/internal/conn"
	"github.com/twtrace/twtrace/internal/event"
	"github.com/twtrace/twtrace/internal/kernel"
	"github.com/twtrace/twtrace/internal/pressure"
	"github.com/twtrace/twtrace/internal/view"
)

// mostDiagnosed is how many network namespaces are looked into, the worst first.
const mostDiagnosed = 4

// diagnosis makes findings of a trace: of one that runs, for the live view or for
// doctor, and of one in files.
type diagnosis struct {
	limits  *limitsCache
	session *session                   // nil: only what the tables show
	spaces  func(*view.State) []uint32 // where to look; nil: fullest
	whole   bool                       // count what happened since the first look, not of late
	old     *mark                      // since when is counted
	young   *mark                      // what takes its place
}

// findings returns what is wrong, the worst first.
func (d *diagnosis) findings(s *view.State, snap *conn.Snapshot) []advice.Finding {
	return advice.DiagnoseAll(d.look(s, snap))
}

// look gathers the facts of the namespaces that are looked at, by a snapshot.
func (d *diagnosis) look(s *view.State, snap *conn.Snapshot) []advice.Facts {
	if d.old == nil {
		d.old = d.firstMark(s.Time, snap)
		d.young = d.old
	}
	if d.limits.tape == nil {
		d.old.time(snap, s.Time)
	}
	if d.session != nil {
		d.session.standing.wanted = true
	}
	spaces := fullest(s)
	if d.spaces != nil {
		spaces = d.spaces(s)
	}
	gauges := make(map[pressure.Key]*pressure.Gauge, len(s.Pressure.Gauges))
	for i := range s.Pressure.Gauges {
		gauges[s.Pressure.Gauges[i].Key] = &s.Pressure.Gauges[i]
	}
	var all []advice.Facts
	for _, inum := range spaces {
		f, ok := d.space(inum, s, snap)
		if !ok {
			continue
		}
		d.destinations(&f, snap, gauges)
		d.timeWait(&f, snap)
		d.traffic(&f, s.Time, snap)
		d.searches(&f)
		all = append(all, f)
	}
	if len(all) > 0 {
		d.exits(&all[0].Traffic, snap)
	}
	d.age(s.Time, snap)
	return all
}

// fullest are the namespaces that are nearest to a limit, from the gauges, which
// come the worst first.
func fullest(s *view.State) []uint32 {
	var out []uint32
	for i := range s.Pressure.Gauges {
		ns := s.Pressure.Gauges[i].NetNS
		if !slices.Contains(out, ns) {
			if out = append(out, ns); len(out) == mostDiagnosed {
				break
			}
		}
	}
	return out
}

// space is what the kernel says of a namespace, or the recording; ok is false if
// nobody says anything.
func (d *diagnosis) space(inum uint32, s *view.State, snap *conn.Snapshot) (f advice.Facts, ok bool) {
	if t := d.limits.tape; t != nil {
		limits, ok := t.space(inum)
		if !ok {
			return f, false
		}
		f = advice.Facts{Time: s.Time, NetNS: kernel.NetNS{Inum: inum}, Limits: limits, Traced: true}
		f.Window = s.Time.Sub(d.old.at)
		if i := slices.IndexFunc(snap.Spaces, func(b conn.Buckets) bool { return b.NetNS == inum }); i >= 0 {
			b := &snap.Spaces[i]
			f.After = kernel.Counters{TimeWait: uint64(b.Used()), TWOverflow: b.Refused}
			f.Before.TWOverflow = d.old.refused[inum]
		}
		return f, true
	}
	ns, limits, ok := d.limits.space(inum)
	if !ok {
		return f, false
	}
	f = advice.Facts{Time: s.Time, NetNS: ns, Enter: ns.Enter(), Limits: limits, Traced: true}
	counted, err := advice.Count(ns)
	if err != nil {
		return f, false
	}
	if f.MemAvailable, err = kernel.MemAvailable(); err != nil {
		return f, false
	}
	d.old.know(inum, counted)
	d.young.know(inum, counted)
	f.Between(d.old.counters[inum], counted)
	f.Traffic.Window = f.Time.Sub(d.old.at)
	return f, true
}

// timeWait adds how long the sockets in TIME_WAIT of the namespace have left.
func (d *diagnosis) timeWait(f *advice.Facts, snap *conn.Snapshot) {
	i := slices.IndexFunc(snap.Spaces, func(b conn.Buckets) bool { return b.NetNS == f.NetNS.Inum })
	if i < 0 {
		return
	}
	b := &snap.Spaces[i]
	expiry(&f.TimeWait, b.TimeWait, b.Flow)
	if b.Flow != nil && len(b.Flow.Holders) > 0 {
		f.Traffic.TimeWaitOwner = b.Flow.Holders[0].Process
	}
}

// expiry adds n sockets in TIME_WAIT by the time they have left.
func expiry(e *pressure.Expiry, n int, flow *conn.Flow) {
	if flow == nil { // a handful
		e.Add(n, time.Minute/2)
		return
	}
	placed := 0
	for age := range flow.Age {
		at := int(flow.Age[age]) + int(flow.Stamped[age])
		placed += at
		e.Add(at, time.Minute-time.Duration(age)*time.Second)
	}
	// What came before the flow was followed is older than that.
	e.Add(max(n-placed, 0), time.Minute-flow.Known)
}

// exits adds what went away with its namespace, which nobody can look into any more.
func (d *diagnosis) exits(t *advice.Traffic, snap *conn.Snapshot) {
	gone := make(map[uint32]bool)
	for i := range snap.Groups {
		g := &snap.Groups[i]
		before := d.old.groups[g.ID]
		if n := less(countsOf(g).exits, before.exits); n > 0 {
			t.NetnsExits += n
			gone[g.NetNS] = true
		}
	}
	t.NetnsGone = len(gone)
}

// less is by how much a count has grown.
func less(now, before uint64) uint64 { return now - min(now, before) }

// uses is the states of a destination, as a look at the sockets would have them.
func uses(d *conn.Destination) (s advice.States) {
	s.Full[event.TimeWait] = uint32(d.TimeWait)
	s.Full[event.Established] = uint32(d.Established)
	s.Full[event.SynSent] = uint32(d.SynSent)
	s.Parked = uint32(d.Parked)
	return s
}
