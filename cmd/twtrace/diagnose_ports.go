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

// listeners adds who listens in the namespace of f, and what they have accepted.
func (d *diagnosis) listeners(f *advice.Facts, snap *conn.Snapshot) {
	at := make(map[netip.AddrPort]*serverSum)
	of := func(local netip.AddrPort) *serverSum {
		l := at[local]
		if l == nil {
			l = &serverSum{Listener: advice.Listener{Local: local}}
			at[local] = l
		}
		return l
	}
	for i := range snap.Groups {
		if g := &snap.Groups[i]; g.NetNS == f.NetNS.Inum && g.Role == event.Server && g.Local.Port() != 0 {
			d.accepted(of(g.Local), g)
		}
	}
	if d.session != nil {
		for _, k := range d.session.table.Listeners(f.NetNS.Inum) {
			if l := of(k.Local); !l.Owner.Known() {
				l.Owner = k.Process
			}
		}
	}
	list := make([]*serverSum, 0, len(at))
	for _, l := range at {
		l.alive = l.States.All()
		list = append(list, l)
	}
	slices.SortFunc(list, func(a, b *serverSum) int { return cmp.Or(cmp.Compare(b.alive, a.alive), a.Local.Compare(b.Local)) })
	f.Listeners = make([]advice.Listener, len(list))
	for i, l := range list {
		if l.life != nil {
			lifetimes(&l.Flow, l.life)
		}
		f.Listeners[i] = l.Listener
	}
}

// serverSum adds up the groups of a listener.
type serverSum struct {
	advice.Listener
	life  *conn.Hist // the only group's own; nil if there is none
	mixed bool       // it is not
	most  uint64
	alive int
}

// accepted adds a group to its listener.
func (d *diagnosis) accepted(l *serverSum, g *conn.Group) {
	l.States.Full[event.TimeWait] += uint32(g.TimeWait)
	l.States.Full[event.Established] += uint32(g.Established)
	l.States.Parked += uint32(g.Parked)
	opens := l.Opens
	d.add(&l.Flow, g)
	if opens = l.Opens - opens; g.Owner.Known() && (opens > l.most || !l.Owner.Known()) {
		l.most, l.Owner = opens, g.Owner
	}
	switch {
	case l.life == nil:
		l.life = &g.Life
		return
	case !l.mixed:
		both := *l.life
		l.life, l.mixed = &both, true
	}
	l.life.Merge(&g.Life)
}
