package main

import (
	"cmp"
	"net/netip"
	"slices"
	"time"

	"github.com/twtrace/twtrace/internal/advice"
	"github.com/twtrace/twtrace/internal/conn"
	"github.com/twtrace/twtrace/internal/event"
)

// mostOwners bounds the owners that are told: those that open most.
const mostOwners = 64

// ownerKey is what processes have in common that count as one owner. Their parents
// may differ: a cron job has another one each time.
type ownerKey struct {
	comm   string
	uid    uint32
	cgroup uint64
	role   event.Role
}

// ownerSum adds up the groups of an owner.
type ownerSum struct {
	advice.Owner
	life    conn.Hist
	most    uint64                      // connections opened by Process
	pids    map[uint64]struct{}         // of the processes with groups of their own, with their start
	crowd   int                         // the most processes that a group of many has
	came    int                         // of these, the ones that came in the window
	young   []uint32                    // pids with groups of their own that came in the window
	remotes map[netip.AddrPort]struct{} // in the window
	locals  map[netip.AddrPort]struct{}
	ports   map[uint16]uint64 // opened, by remote port
	fails   map[failKey]*advice.Fail
}

type failKey struct {
	call          event.Call
	errno         uint16
	local, remote netip.AddrPort
}

// traffic adds who does what in the namespace of f.
func (d *diagnosis) traffic(f *advice.Facts, now time.Time, snap *conn.Snapshot) {
	sums := make(map[ownerKey]*ownerSum)
	for i := range snap.Groups {
		g := &snap.Groups[i]
		if g.NetNS != f.NetNS.Inum || g.Kind == conn.GroupOther || !g.Owner.Known() && g.Kind != conn.GroupComm {
			continue
		}
		k := keyOfOwner(g)
		sum := sums[k]
		if sum == nil {
			sum = newOwnerSum(g)
			sums[k] = sum
		}
		d.count(sum, g)
	}
	t := &f.Traffic
	for k, sum := range sums {
		for _, fail := range sum.fails {
			if fail.Call == event.Connect {
				fail.Opens = sum.opened(sums, k, fail.Remote.Port())
			}
			t.Fails = append(t.Fails, *fail)
		}
		t.Owners = append(t.Owners, d.owner(sum, now))
	}
	slices.SortFunc(t.Fails, func(a, b advice.Fail) int {
		return cmp.Or(cmp.Compare(b.N, a.N), cmp.Compare(a.Process.PID, b.Process.PID), a.Remote.Compare(b.Remote), a.Local.Compare(b.Local))
	})
	t.Taken = d.takenPorts(f, now)
	slices.SortFunc(t.Owners, func(a, b advice.Owner) int {
		return cmp.Or(cmp.Compare(b.Opens, a.Opens), cmp.Compare(b.TimeWait+b.Established, a.TimeWait+a.Established),
			cmp.Compare(a.Process.PID, b.Process.PID))
	})
	d.listeners(f, snap)
	d.ownState(f, now)
	t.Descriptors = d.descriptors(f)
	t.Owners = t.Owners[:min(len(t.Owners), mostOwners)]
}

func keyOfOwner(g *conn.Group) ownerKey {
	k := ownerKey{comm: g.Owner.Comm, role: g.Role}
	if w := g.Owner.Who; w != nil {
		k.uid, k.cgroup = w.UID, w.CgroupID
	}
	return k
}

func newOwnerSum(g *conn.Group) *ownerSum {
	return &ownerSum{Owner: advice.Owner{Process: g.Owner, Role: g.Role, System: -1},
		pids: make(map[uint64]struct{}), remotes: make(map[netip.AddrPort]struct{}), locals: make(map[netip.AddrPort]struct{}),
		ports: make(map[uint16]uint64), fails: make(map[failKey]*advice.Fail)}
}

// count adds a group to its owner.
func (d *diagnosis) count(sum *ownerSum, g *conn.Group) {
	opens := sum.Opens
	d.add(&sum.Flow, g)
	opens = sum.Opens - opens
	if opens > sum.most {
		sum.most, sum.Process = opens, withParent(g.Owner, sum.Process)
	} else {
		sum.Process = withParent(sum.Process, g.Owner)
	}
	sum.TimeWait += g.TimeWait
	sum.Established += g.Established
	sum.life.Merge(&g.Life)
	if g.Kind == conn.GroupComm {
		sum.crowd, sum.About = max(sum.crowd, g.PIDs), sum.About || g.About
		sum.came = max(sum.came, g.PIDs-d.old.groups[g.ID].pids)
	} else if opens > 0 || g.Alive() > 0 {
		id := uint64(g.Owner.PID)<<32 ^ g.Owner.Start()
		if _, old := d.old.groups[g.ID]; !old && len(sum.young) < mostAlive {
			sum.young = append(sum.young, g.Owner.PID)
		}
		sum.pids[id] = struct{}{}
	}
	if g.Role == event.Client {
		if opens > 0 {
			sum.remotes[g.Remote] = struct{}{}
			sum.ports[g.Remote.Port()] += opens
		}
	} else if g.Local.Port() != 0 {
		sum.locals[g.Local] = struct{}{}
	}
	d.countFails(sum, g)
}

// withParent is p, with no parent if o has another one.
func withParent(p, o event.Proc) event.Proc {
	if p.Who == nil || o.Who == nil || p.Who.PPID == o.Who.PPID || p.Who.PPID == 0 {
		return p
	}
	w := *p.Who
	w.PPID = 0
	if w.PComm != o.Who.PComm {
		w.PComm = ""
	}
	p.Who = &w
	return p
}

// countFails adds the calls of a group that failed since the old mark.
func (d *diagnosis) countFails(sum *ownerSum, g *conn.Group) {
	before := d.old.groups[g.ID].fails
	for _, b := range g.Fails.By {
		n := less(b.N, before.Of(b.Call, b.Errno))
		if b.N == 0 || n == 0 {
			continue
		}
		k := failKey{call: b.Call, errno: b.Errno}
		if b.Call == event.Connect {
			k.remote = g.Remote
		} else {
			k.local = g.Local
		}
		if sum.fails[k] == nil {
			sum.fails[k] = &advice.Fail{Process: g.Owner, Call: b.Call, Errno: b.Errno, Local: k.local, Remote: k.remote}
		}
		sum.fails[k].N += n
	}
}

// opened is how many connections the owner opened to a port. Those of a failed call
// may have no role, and stand apart.
func (s *ownerSum) opened(all map[ownerKey]*ownerSum, k ownerKey, port uint16) uint64 {
	k.role = event.Client
	if o := all[k]; o != nil {
		return o.ports[port]
	}
	return s.ports[port]
}

// owner is what the sum comes to.
func (d *diagnosis) owner(sum *ownerSum, now time.Time) advice.Owner {
	o := sum.Owner
	o.PIDs = max(len(sum.pids), sum.crowd)
	if o.Came = max(len(sum.young), sum.came); o.Came >= mostAlive/2 {
		o.Stays = d.stay(sum.young)
	}
	o.Destinations = len(sum.remotes)
	if len(sum.remotes) == 1 {
		for r := range sum.remotes {
			o.Remote = r
		}
	}
	if len(sum.locals) == 1 {
		for l := range sum.locals {
			o.Local = l
		}
	}
	lifetimes(&o.Flow, &sum.life)
	if o.PIDs == 1 {
		o.System = d.system(o.Process.PID, now)
	}
	return o
}

// ownState is what the trace knows of itself.
func (d *diagnosis) ownState(f *advice.Facts, now time.Time) {
	s, t := d.session, &f.Traffic
	if s == nil {
		return
	}
	t.Standing = s.standing.facts(s.table, f.NetNS.Inum, d.old.at, now)
	slices.SortFunc(t.Standing, func(a, b advice.Standing) int {
		return cmp.Or(cmp.Compare(b.N, a.N), cmp.Compare(a.State, b.State), cmp.Compare(a.Process.PID, b.Process.PID))
	})
	t.Seen = now.Sub(s.beginning())
	t.OwnersIn = max(s.ownersKnown.Sub(now), 0)
	for _, n := range s.lost {
		t.Lost += n
	}
	t.Missing = s.missing()
	if drift := s.tracedDrift(); len(drift) > 0 {
		t.Doubts = append(t.Doubts, "drift: "+wordDrifts(drift, s.names))
	}
}

// beginning is when the trace began.
func (s *session) beginning() time.Time {
	if s.tape != nil {
		return time.Unix(0, s.tape.reader.Start().Time)
	}
	return s.began
}

// missing is what the trace does not see, in words.
func (s *session) missing() []string {
	if s.tape != nil {
		return s.tape.reader.Start().Start.Missing
	}
	return s.tracer.Missing()
}
