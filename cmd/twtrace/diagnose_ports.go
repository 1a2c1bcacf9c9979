package main

import (
	"cmp"
	"net/netip"
	"slices"
	"time"

	"github.com/twtrace/twtrace/internal/advice"
	"github.com/twtrace/twtrace/internal/conn"
	"github.com/twtrace/twtrace/internal/event"
	"github.com/twtrace/twtrace/internal/pressure"
)

const (
	// mostDestinations is how many of a namespace are told, if they are far from the
	// limit: the fullest.
	mostDestinations = 16
	// nearShare is how much of its ports a destination must use to be told anyway.
	nearShare = 0.10
)

// destinations adds those of the namespace of f, and the ports that are bound there.
func (d *diagnosis) destinations(f *advice.Facts, snap *conn.Snapshot, gauges map[pressure.Key]*pressure.Gauge) {
	index := make(map[pressure.Key]*advice.Destination)
	for i := range snap.Destinations {
		v := &snap.Destinations[i]
		if v.NetNS != f.NetNS.Inum {
			continue
		}
		key := keyOf(v)
		failed := uint64(0)
		if f.Window > 0 {
			failed = less(refusals(v), d.old.failed[key])
		}
		if !v.Remote.IsValid() {
			key.What = pressure.LocalPorts
			f.Traffic.Bound = append(f.Traffic.Bound, d.bound(v, failed, gauges[key]))
			continue
		}
		if len(f.Destinations) >= mostDestinations && v.Share() < nearShare && failed == 0 {
			continue
		}
		to := advice.Destination{Local: v.Local, Remote: v.Remote, States: uses(v), Failed: failed, Gauge: gauges[key]}
		expiry(&to.Expiry, v.TimeWait, v.Flow)
		if v.Flow != nil {
			for age, n := range v.Flow.Stamped {
				to.Stamped += int(n)
				to.Begun += int(n)
				if time.Duration(age+1)*time.Second <= v.Flow.Known { // of those from before it is not known
					to.Begun += int(v.Flow.Age[age])
				}
			}
			if len(v.Flow.Holders) > 0 {
				to.Owner, to.PIDs = v.Flow.Holders[0].Process, v.Flow.Holders[0].PIDs
			}
		}
		f.Destinations = append(f.Destinations, to)
		index[key] = nil
	}
	f.Destinations = withoutNowhere(f.Destinations)
	for i := range f.Destinations {
		to := &f.Destinations[i]
		index[pressure.Key{NetNS: f.NetNS.Inum, Local: to.Local, Remote: to.Remote}] = to
	}
	d.flows(snap, index)
}

// withoutNowhere leaves out who connects from no known address, where it is known for others
// that connect to the same: a call that began before the trace, and failed.
func withoutNowhere(all []advice.Destination) []advice.Destination {
	known := make(map[netip.AddrPort]bool)
	for i := range all {
		known[all[i].Remote] = known[all[i].Remote] || !all[i].Local.IsUnspecified()
	}
	return slices.DeleteFunc(all, func(d advice.Destination) bool { return d.Local.IsUnspecified() && known[d.Remote] })
}

// fewFree is how many ports of the first parity may be free, of a thousand, for a
// connect() to pass over about a thousand before it finds one.
const fewFree = 1

// searches sets how many ports a connect() passes over, where a client may be searching.
// The kernel tries the ports of the lowest one's parity first (__inet_hash_connect).
func (d *diagnosis) searches(f *advice.Facts) {
	if d.session == nil {
		return
	}
	for i := range f.Destinations {
		to := &f.Destinations[i]
		if !f.Searches(to) {
			continue
		}
		first := func(p uint16) bool { return (p^f.Limits.PortLow)&1 == 0 && f.Limits.Ephemeral(p) }
		taken, all := make(map[uint16]struct{}), 0
		for p := int(f.Limits.PortLow); p <= int(f.Limits.PortHigh); p++ {
			if first(uint16(p)) {
				all++
			}
		}
		for s := range d.session.table.Sockets() {
			if s.NetNS == f.NetNS.Inum && s.Remote == to.Remote && s.Local.Addr() == to.Local && first(s.Local.Port()) {
				taken[s.Local.Port()] = struct{}{}
			}
		}
		if 1000*(all-len(taken)) <= fewFree*all {
			to.Passed = len(taken)
		}
	}
}

// flows adds what the connections to each destination did.
func (d *diagnosis) flows(snap *conn.Snapshot, index map[pressure.Key]*advice.Destination) {
	lives := make(map[*advice.Destination]*conn.Hist)
	opens := make(map[opener]*openerSum)
	for i := range snap.Groups {
		g := &snap.Groups[i]
		to := index[pressure.Key{NetNS: g.NetNS, Local: g.Local.Addr(), Remote: g.Remote}]
		if to == nil || g.Role != event.Client {
			continue
		}
		before := to.Opens
		d.add(&to.Flow, g)
		if n := to.Opens - before; n > 0 && g.Owner.Known() {
			k := opener{to, g.Owner.Comm}
			if opens[k] == nil {
				opens[k] = &openerSum{}
			}
			opens[k].add(n, g.Owner)
		}
		if lives[to] == nil {
			lives[to] = new(conn.Hist)
		}
		lives[to].Merge(&g.Life)
	}
	for to, life := range lives {
		lifetimes(&to.Flow, life)
	}
	most := make(map[*advice.Destination]uint64)
	for k, sum := range opens {
		if sum.opens > most[k.to] {
			most[k.to] = sum.opens
			k.to.Opener, k.to.Openers = sum.process, sum.pids
		}
	}
	for to := range most {
		if to.Opener.Comm == to.Owner.Comm {
			to.Opener, to.Openers = event.Proc{}, 0
		}
	}
}

// opener is the processes of a name that connect to a destination.
type opener struct {
	to   *advice.Destination
	comm string
}

// openerSum adds up their groups.
type openerSum struct {
	opens, most uint64
	process     event.Proc // the one that opened most
	pids        int
}

func (s *openerSum) add(opens uint64, p event.Proc) {
	s.opens += opens
	s.pids++
	if opens > s.most {
		s.most, s.process = opens, p
	}
}

// add adds what happened to the connections of a group since the old mark.
func (d *diagnosis) add(f *advice.Flow, g *conn.Group) {
	before, now := d.old.groups[g.ID], countsOf(g)
	f.Opens += less(now.opens, before.opens)
	f.Ends += less(now.ends, before.ends)
	for i := range f.Closer {
		f.Closer[i] += less(now.closer[i], before.closer[i])
	}
	f.ResetSent += less(now.resetSent, before.resetSent)
	f.ResetReceived += less(now.resetReceived, before.resetReceived)
	f.TimeWaitEnds += less(now.over, before.over)
	f.TimeWaitResets += less(now.byReset, before.byReset)
	f.LongWaits += less(now.long.N, before.long.N)
	f.Rearms += less(now.long.Rearms, before.long.Rearms)
}

// lifetimes sets what is known of them.
func lifetimes(f *advice.Flow, life *conn.Hist) {
	f.LifeP50, _ = life.Quantile(0.5)
	f.Short = life.Share(advice.ShortLived)
}

func keyOf(d *conn.Destination) pressure.Key {
	return pressure.Key{What: pressure.Ports, NetNS: d.NetNS, Local: d.Local, Remote: d.Remote}
}

// bound is the ports that clients have bound at one address.
func (d *diagnosis) bound(v *conn.Destination, failed uint64, g *pressure.Gauge) advice.BoundPorts {
	b := advice.BoundPorts{Local: v.Local, Gauge: g, Failed: failed}
	if v.Flow != nil && len(v.Flow.Holders) > 0 {
		b.Owner = v.Flow.Holders[0].Process
	}
	if d.session != nil && (failed > 0 || v.Share() >= pressure.HalfShare) {
		b.Taken = d.taken(v)
	}
	return b
}

// taken counts the ports of the range that any socket of the namespace holds.
func (d *diagnosis) taken(v *conn.Destination) int {
	seen := make([]bool, 1<<16)
	n := 0
	for s := range d.session.table.Sockets() {
		if p := s.Local.Port(); s.NetNS == v.NetNS && p >= v.Low && p <= v.High && !seen[p] {
			seen[p] = true
			n++
		}
	}
	return n
}

// takenPort says who has the port that a bind() did not get.
func (d *diagnosis) takenPort(fail advice.Fail, f *advice.Facts, now time.Time) advice.TakenPort {
	p := advice.TakenPort{Local: fail.Local, By: fail.Process, N: fail.N}
	if d.session == nil {
		return p
	}
	t, netns, begin := d.session.table, f.NetNS.Inum, d.old.at.UnixNano()
	for _, l := range t.Listeners(netns) {
		if l.Since >= begin && l.Local.Port() != fail.Local.Port() && l.Process.Is(fail.Process) {
			p.Instead = l.Local
		}
	}
	p.Listener, p.Listens = t.Listening(netns, fail.Local)
	left := make(map[string]int)
	last := int64(0)
	for s := range t.Sockets() {
		if s.NetNS == netns && s.Role == event.Client && s.Since >= begin && s.Local.Port() != fail.Local.Port() &&
			!f.Limits.Ephemeral(s.Local.Port()) && s.Process.Is(fail.Process) {
			p.Instead = s.Local
		}
		if s.NetNS != netns || s.State != event.TimeWait || s.Local.Port() != fail.Local.Port() || !inTheWay(s.Local.Addr(), fail.Local.Addr()) {
			continue
		}
		p.TimeWait++
		last = max(last, s.Since)
		if s.Process.Known() {
			if left[s.Process.Comm]++; left[s.Process.Comm] > left[p.Left.Comm] || !p.Left.Known() {
				p.Left = s.Process
			}
		}
	}
	if p.TimeWait > 0 {
		p.FreeIn = max(time.Unix(0, last).Add(pressure.Hold).Sub(now), 0)
	}
	return p
}

// inTheWay tells whether a socket at the one address keeps the other from its port.
func inTheWay(a, b netip.Addr) bool { return a == b || a.IsUnspecified() || b.IsUnspecified() }

// listeners adds who listens in the namespace of f, and what they have accepted.
func (d *diagnosis) listeners(f *advice.Facts, snap *conn.Snapshot) {
	at := make(map[netip.AddrPort]*serverSum)
	of := func(local netip.AddrPort) *serverSum {
		if at[local] == nil {
			at[local] = &serverSum{Listener: advice.Listener{Local: local}}
		}
		return at[local]
	}
	for i := range snap.Groups {
		g := &snap.Groups[i]
		if g.NetNS != f.NetNS.Inum || g.Role != event.Server || g.Local.Port() == 0 {
			continue
		}
		l := of(g.Local)
		l.States.Full[event.TimeWait] += uint32(g.TimeWait)
		l.States.Full[event.Established] += uint32(g.Established)
		l.States.Parked += uint32(g.Parked)
		opens := l.Opens
		d.add(&l.Flow, g)
		if opens = l.Opens - opens; g.Owner.Known() && (opens > l.most || !l.Owner.Known()) {
			l.most, l.Owner = opens, g.Owner
		}
		l.life.Merge(&g.Life)
	}
	if d.session != nil {
		for _, k := range d.session.table.Listeners(f.NetNS.Inum) {
			if l := of(k.Local); !l.Owner.Known() {
				l.Owner = k.Process
			}
		}
	}
	for _, l := range at {
		lifetimes(&l.Flow, &l.life)
		f.Listeners = append(f.Listeners, l.Listener)
	}
	slices.SortFunc(f.Listeners, func(a, b advice.Listener) int {
		return cmp.Or(cmp.Compare(b.States.All(), a.States.All()), a.Local.Compare(b.Local))
	})
}

// serverSum adds up the groups of a listener.
type serverSum struct {
	advice.Listener
	life conn.Hist
	most uint64
}
