package diagnose

import (
	"cmp"
	"net/netip"
	"slices"
	"time"

	"github.com/twtrace/twtrace/internal/advice"
	"github.com/twtrace/twtrace/internal/conn"
	"github.com/twtrace/twtrace/internal/event"
	"github.com/twtrace/twtrace/internal/session"
)

// maxOwners bounds the owners that are reported: those that open most.
const maxOwners = 64

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
	reached map[netip.AddrPort]struct{} // in the window, or now
	locals  map[netip.AddrPort]struct{}
	ports   map[uint16]uint64 // opened, by remote port
	fails   map[failKey]*failSum
}

// failSum adds up the groups of one kind of failure.
type failSum struct {
	advice.Fail
	who shares // of one program
}

type failKey struct {
	call          event.Call
	errno         uint16
	cause         event.Cause
	local, remote netip.AddrPort
}

// traffic adds who does what in the namespace of f.
func (d *Diagnosis) traffic(f *advice.Facts, now time.Time, snap *conn.Snapshot) {
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
				fail.Instead = instead(sums, k.comm, fail.Remote)
			}
			who := fail.who.contributors(0)
			most := who.Most()
			fail.Process, fail.PIDs, fail.About = most.Process, most.PIDs, most.About
			t.Fails = append(t.Fails, fail.Fail)
		}
		t.Owners = append(t.Owners, d.owner(sum, now))
	}
	slices.SortFunc(t.Fails, func(a, b advice.Fail) int {
		return cmp.Or(cmp.Compare(b.N, a.N), cmp.Compare(a.Process.PID, b.Process.PID), a.Remote.Compare(b.Remote), a.Local.Compare(b.Local))
	})
	t.Taken = d.takenPorts(f, now)
	t.IdleResets = d.idleResets(f, snap)
	t.Tuples = d.takenTuples(f, now)
	d.rangeTaken(f)
	slices.SortFunc(t.Owners, func(a, b advice.Owner) int {
		return cmp.Or(cmp.Compare(b.Opens, a.Opens), cmp.Compare(b.TimeWait+b.Established, a.TimeWait+a.Established),
			cmp.Compare(a.Process.PID, b.Process.PID))
	})
	d.listeners(f, snap)
	d.ownState(f, now)
	d.closeWait(f)
	t.Descriptors = d.descriptors(f)
	t.Owners = t.Owners[:min(len(t.Owners), maxOwners)]
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
		pids: make(map[uint64]struct{}), remotes: make(map[netip.AddrPort]struct{}), reached: make(map[netip.AddrPort]struct{}), locals: make(map[netip.AddrPort]struct{}),
		ports: make(map[uint16]uint64), fails: make(map[failKey]*failSum)}
}

// count adds a group to its owner.
func (d *Diagnosis) count(sum *ownerSum, g *conn.Group) {
	opens := sum.Opens
	d.add(&sum.Flow, g)
	opens = sum.Opens - opens
	if opens > sum.most {
		sum.most, sum.Process = opens, withParent(g.Owner, sum.Process)
	} else {
		sum.Process = withParent(sum.Process, g.Owner)
	}
	sum.TimeWait += g.TimeWait
	sum.Established += g.Open()
	sum.life.Merge(&g.Life)
	if g.Kind == conn.GroupComm {
		sum.crowd, sum.About = max(sum.crowd, g.PIDs), sum.About || g.About
		sum.came = max(sum.came, g.PIDs-d.old.groups[g.ID].pids)
	} else if opens > 0 || g.Alive() > 0 {
		if _, old := d.old.groups[g.ID]; !old && len(sum.young) < maxAlive {
			sum.young = append(sum.young, g.Owner.PID)
		}
		sum.pids[identity(g.Owner)] = struct{}{}
	}
	if g.Role == event.Client {
		if opens > 0 || g.Alive() > 0 {
			sum.reached[g.Remote] = struct{}{}
		}
		if opens > 0 {
			sum.remotes[g.Remote] = struct{}{}
			sum.ports[g.Remote.Port()] += opens
		}
	} else if g.Local.Port() != 0 {
		sum.locals[g.Local] = struct{}{}
	}
	d.countFails(sum, g)
}

// withParent is p, with what its parent has in common with o's.
func withParent(p, o event.Proc) event.Proc {
	if p.Who == nil || o.Who == nil {
		return p
	}
	pid, comm := p.Who.PPID, p.Who.PComm
	if pid != o.Who.PPID {
		pid = 0
	}
	if comm != o.Who.PComm {
		comm = ""
	}
	if pid != p.Who.PPID || comm != p.Who.PComm {
		w := *p.Who
		w.PPID, w.PComm = pid, comm
		p.Who = &w
	}
	return p
}

// countFails adds the calls of a group that failed since the old mark.
func (d *Diagnosis) countFails(sum *ownerSum, g *conn.Group) {
	before := d.old.groups[g.ID].fails
	given := g.GivenUp.Since(d.old.groups[g.ID].givenUp)
	if given.N > 0 {
		k := failKey{call: event.Connect, cause: event.GaveUp, remote: g.Remote}
		if sum.fails[k] == nil {
			sum.fails[k] = &failSum{Fail: advice.Fail{Call: event.Connect, Cause: event.GaveUp, Remote: g.Remote}}
		}
		sum.fails[k].who.add(g, given.N, d.old.groups[g.ID])
		sum.fails[k].N += given.N
		sum.fails[k].GivenUp.Merge(given)
	}
	for _, b := range g.Fails.By {
		n := less(b.N, before.OfCause(b.Call, b.Errno, b.Cause))
		if b.Cause == event.GaveUp {
			n = less(n, given.N)
		}
		if b.N == 0 || n == 0 {
			continue
		}
		k := failKey{call: b.Call, errno: b.Errno, cause: b.Cause}
		if b.Call == event.Connect {
			k.remote = g.Remote
		} else {
			k.local = g.Local
		}
		if sum.fails[k] == nil {
			sum.fails[k] = &failSum{Fail: advice.Fail{Call: b.Call, Errno: b.Errno, Cause: b.Cause, Local: k.local, Remote: k.remote}}
		}
		sum.fails[k].N += n
		sum.fails[k].who.add(g, n, d.old.groups[g.ID])
	}
}

// instead is another address with the same port that processes of a name are connected to.
func instead(all map[ownerKey]*ownerSum, comm string, remote netip.AddrPort) (other netip.AddrPort) {
	for k, s := range all {
		if k.comm != comm || k.role != event.Client {
			continue
		}
		for r := range s.reached {
			if r.Port() == remote.Port() && r != remote && (!other.IsValid() || r.Compare(other) < 0) {
				other = r
			}
		}
	}
	return other
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
func (d *Diagnosis) owner(sum *ownerSum, now time.Time) advice.Owner {
	o := sum.Owner
	o.PIDs = max(len(sum.pids), sum.crowd)
	if o.Came = max(len(sum.young), sum.came); o.Came >= maxAlive/2 {
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
func (d *Diagnosis) ownState(f *advice.Facts, now time.Time) {
	if d.opt.TablesOnly {
		return
	}
	s, t := d.session, &f.Traffic
	t.Lingering = lingering(d.host.Lingering(f.NetNS.Inum, d.old.at, now))
	slices.SortFunc(t.Lingering, func(a, b advice.Lingering) int {
		return cmp.Or(cmp.Compare(b.N, a.N), cmp.Compare(a.State, b.State), cmp.Compare(a.Process.PID, b.Process.PID))
	})
	t.Seen = now.Sub(s.Began())
	t.OwnersIn = max(s.OwnersKnown().Sub(now), 0)
	t.Lost += s.LostTotal()
	t.Missing = s.Missing()
	if drift := s.TracedDrift(); len(drift) > 0 {
		t.Doubts = append(t.Doubts, session.DriftWords(drift, s.NetNSName))
	}
}
