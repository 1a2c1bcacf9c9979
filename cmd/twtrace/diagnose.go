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

// diagnosis makes findings of a running trace.
type diagnosis struct {
	limits *limitsCache
	spaces func(*view.State) []uint32 // where to look; nil: fullest
	whole  bool                       // count what happened since the first look, not since the last one
	last   map[uint32]counted
	failed map[pressure.Key]uint64 // EADDRNOTAVAIL so far
}

// counted is the kernel's counters of a namespace, and when they were read.
type counted struct {
	at time.Time
	kernel.Counters
}

// findings returns what is wrong, the worst first.
func (d *diagnosis) findings(s *view.State, snap *conn.Snapshot) []advice.Finding {
	return advice.DiagnoseAll(d.look(s, snap))
}

// look gathers the facts of the namespaces that are looked at, by a snapshot.
func (d *diagnosis) look(s *view.State, snap *conn.Snapshot) []advice.Facts {
	failed := make(map[pressure.Key]uint64)
	for i := range snap.Destinations {
		if v := &snap.Destinations[i]; v.Exhausted > 0 {
			failed[keyOf(v)] = v.Exhausted
		}
	}
	spaces := fullest(s)
	if d.spaces != nil {
		spaces = d.spaces(s)
	}
	now := make(map[uint32]counted)
	var all []advice.Facts
	for _, inum := range spaces {
		if f, ok := d.facts(inum, s, snap, failed); ok {
			now[inum] = counted{f.Time, f.After}
			all = append(all, f)
		}
	}
	if d.failed == nil || !d.whole {
		d.last, d.failed = now, failed
		return all
	}
	for inum, c := range now { // those that have come since
		if _, ok := d.last[inum]; !ok {
			d.last[inum] = c
		}
	}
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

// facts are what advice needs of a namespace; ok is false if it cannot be read.
func (d *diagnosis) facts(inum uint32, s *view.State, snap *conn.Snapshot, failed map[pressure.Key]uint64) (f advice.Facts, ok bool) {
	if t := d.limits.tape; t != nil {
		limits, ok := t.space(inum)
		if !ok {
			return f, false
		}
		f = advice.Facts{Time: s.Time, NetNS: kernel.NetNS{Inum: inum}, Limits: limits, Traced: true}
		d.destinations(&f, snap, failed)
		return f, true
	}
	ns, limits, ok := d.limits.space(inum)
	if !ok {
		return f, false
	}
	f = advice.Facts{Time: s.Time, NetNS: ns, Enter: ns.Enter(), Limits: limits, Traced: true}
	var err error
	if f.After, err = ns.Counters(); err != nil {
		return f, false
	}
	if f.MemAvailable, err = kernel.MemAvailable(); err != nil {
		return f, false
	}
	f.Before = f.After
	if before, ok := d.last[inum]; ok {
		f.Before, f.Window = before.Counters, f.Time.Sub(before.at)
	}
	d.destinations(&f, snap, failed)
	return f, true
}

// destinations adds those of the namespace of f.
func (d *diagnosis) destinations(f *advice.Facts, snap *conn.Snapshot, failed map[pressure.Key]uint64) {
	for i := range snap.Destinations {
		v := &snap.Destinations[i]
		if v.NetNS != f.NetNS.Inum {
			continue
		}
		to := destinationFacts(v)
		if k := keyOf(v); d.failed != nil && f.Window > 0 {
			to.Failed = failed[k] - min(d.failed[k], failed[k])
		}
		for i, n := range to.Expiry {
			f.TimeWait[i] += n
		}
		f.Destinations = append(f.Destinations, to)
	}
}

func keyOf(d *conn.Destination) pressure.Key {
	return pressure.Key{What: pressure.Ports, NetNS: d.NetNS, Local: d.Local, Remote: d.Remote}
}

// destinationFacts words what the table knows as a look at the sockets would.
func destinationFacts(d *conn.Destination) advice.Destination {
	v := advice.Destination{Local: d.Local, Remote: d.Remote}
	v.States.Full[event.TimeWait] = uint32(d.TimeWait)
	v.States.Full[event.Established] = uint32(d.Established)
	v.States.Full[event.SynSent] = uint32(d.SynSent)
	v.States.Parked = uint32(d.Parked)
	if d.Flow == nil { // a handful
		v.Expiry.Add(d.TimeWait, 30*time.Second)
		return v
	}
	for age := range d.Flow.Age {
		n := int(d.Flow.Age[age]) + int(d.Flow.Stamped[age])
		v.Expiry.Add(n, 60*time.Second-time.Duration(age)*time.Second)
	}
	if len(d.Flow.Holders) > 0 {
		v.Owner = d.Flow.Holders[0].Process
	}
	return v
}
