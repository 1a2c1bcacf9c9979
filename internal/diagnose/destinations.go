package diagnose

import (
	"net/netip"
	"slices"
	"time"

	"github.com/twtrace/twtrace/internal/advice"
	"github.com/twtrace/twtrace/internal/conn"
	"github.com/twtrace/twtrace/internal/event"
	"github.com/twtrace/twtrace/internal/pressure"
)

const (
	// maxDestinations is how many of a namespace are reported, if they are far from the
	// limit: the fullest.
	maxDestinations = 16
	// nearShare is how much of its ports a destination must use to be reported anyway.
	nearShare = 0.10
)

// destinations adds those of the namespace of f, and the ports that are bound there.
func (d *Diagnosis) destinations(f *advice.Facts, snap *conn.Snapshot, gauges map[pressure.Key]*pressure.Gauge) {
	index := make(map[pressure.Key]*client)
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
			f.Traffic.Bound = append(f.Traffic.Bound, d.bound(v, failed, gauges[key], snap))
			continue
		}
		if len(f.Destinations) >= maxDestinations && v.Share() < nearShare && failed == 0 && !d.silent(v) {
			continue
		}
		to := advice.Destination{Local: v.Local, Remote: v.Remote, States: uses(v), Resent: uint32(v.Resent), Failed: failed, Gauge: gauges[key]}
		expiry(&to.Expiry, v.TimeWait, v.Flow)
		if v.Flow != nil {
			for age, n := range v.Flow.Stamped {
				to.Stamped += int(n)
				to.Begun += int(n)
				if time.Duration(age+1)*time.Second <= v.Flow.Known { // of those from before it is not known
					to.Begun += int(v.Flow.Age[age])
				}
			}
		}
		f.Destinations = append(f.Destinations, to)
		index[key] = &client{counted: v}
	}
	f.Destinations = withoutNowhere(f.Destinations)
	for i := range f.Destinations {
		to := &f.Destinations[i]
		index[pressure.Key{What: pressure.Ports, NetNS: f.NetNS.Inum, Local: to.Local, Remote: to.Remote}].to = to
	}
	d.flows(snap, index)
}

// silent reports whether connects to a destination wait for an answer for long, or failed in
// the window.
func (d *Diagnosis) silent(v *conn.Destination) bool {
	return v.Resent > 0 || v.Fails.Total() > d.old.fails[keyOf(v)]
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
func (d *Diagnosis) searches(f *advice.Facts) {
	if d.opt.TablesOnly {
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
		for s := range d.session.Table().Sockets() {
			if s.NetNS == f.NetNS.Inum && s.Remote == to.Remote && s.Local.Addr() == to.Local && first(s.Local.Port()) {
				taken[s.Local.Port()] = struct{}{}
			}
		}
		if 1000*(all-len(taken)) <= fewFree*all {
			to.Passed = len(taken)
		}
	}
}

// client is a destination while its groups are added up.
type client struct {
	to      *advice.Destination // nil if it is left out
	counted *conn.Destination
	life    conn.Hist
	shares  destinationShares
}

// flows adds what the connections to each destination did, and whose they are.
func (d *Diagnosis) flows(snap *conn.Snapshot, index map[pressure.Key]*client) {
	for i := range snap.Groups {
		g := &snap.Groups[i]
		c := index[pressure.Key{What: pressure.Ports, NetNS: g.NetNS, Local: g.Local.Addr(), Remote: g.Remote}]
		if c == nil || c.to == nil || g.Role != event.Client {
			continue
		}
		d.add(&c.to.Flow, g)
		c.life.Merge(&g.Life)
		c.shares.add(d, g)
	}
	for key, c := range index {
		if c.to == nil {
			continue
		}
		lifetimes(&c.to.Flow, &c.life)
		c.shares.waiting(c.counted)
		if snap.Totals.GroupsRefused > 0 && d.old.opened != nil { // some found no room for a group
			c.to.Opens = max(c.to.Opens, less(c.counted.Opens, d.old.opened[key]))
		}
		c.to.Openers = c.shares.opens.contributors(c.to.Opens)
		d.learn(c.to.Openers.List)
		c.to.Failers = c.shares.fails.contributors(c.to.Failed)
		c.to.Holders = c.shares.holds.contributors(uint64(c.counted.Used()))
	}
}

// add adds what happened to the connections of a group since the old mark.
func (d *Diagnosis) add(f *advice.Flow, g *conn.Group) {
	before, now := d.old.groups[g.ID], countsOf(g)
	f.Opens += less(now.opens, before.opens)
	f.Ends += less(now.ends, before.ends)
	for i := range f.Closer {
		f.Closer[i] += less(now.closer[i], before.closer[i])
	}
	f.ResetSent += less(now.resetSent, before.resetSent)
	f.ResetReceived += less(now.resetReceived, before.resetReceived)
	f.IdleResets += less(now.idleResets, before.idleResets)
	f.DataLost += less(now.dataLost, before.dataLost)
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
func (d *Diagnosis) bound(v *conn.Destination, failed uint64, g *pressure.Gauge, snap *conn.Snapshot) advice.BoundPorts {
	b := advice.BoundPorts{Local: v.Local, Gauge: g, Failed: failed}
	d.boundShares(&b, v, snap)
	if !d.opt.TablesOnly && (failed > 0 || v.Share() >= pressure.HalfShare) {
		b.Taken = d.taken(v)
	}
	return b
}

// taken counts the ports of the range that any socket of the namespace holds.
func (d *Diagnosis) taken(v *conn.Destination) int {
	seen := make([]bool, 1<<16)
	n := 0
	for s := range d.session.Table().Sockets() {
		if p := s.Local.Port(); s.NetNS == v.NetNS && p >= v.Low && p <= v.High && !seen[p] {
			seen[p] = true
			n++
		}
	}
	return n
}
