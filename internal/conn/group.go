package conn

import (
	"hash/maphash"
	"net/netip"
	"time"

	"github.com/twtrace/twtrace/internal/event"
)

// sweepEvery is how often idle groups are dropped.
const sweepEvery = int64(10 * time.Second)

// youth is the age up to which an opening follows its connection to another
// group: after that it would show as a connection opened now.
const youth = int64(10 * time.Second)

// GroupKind says what a group holds.
type GroupKind uint8

// The kinds of groups.
const (
	GroupProcess GroupKind = iota // connections of one process
	GroupComm                     // connections of many processes of one comm, too many for a group each
	GroupOther                    // all connections that found no room for a group
)

// groupKey has no pointers and no padding, so that it hashes in one go. Clients
// have lport 0; servers and unknown roles have raddr and rport 0. The key of one
// process has pid, start and comm; that of many has the comm, and the parent, user
// and cgroup that they share.
type groupKey struct {
	laddr, raddr [16]byte
	comm         [16]byte // TASK_COMM_LEN
	start        uint64
	cgroup       uint64
	netns, pid   uint32
	ppid, uid    uint32
	lport, rport uint16
	role         event.Role
	kind         GroupKind
	_            uint16
}

type group struct {
	Counters
	key     groupKey
	proc    event.Proc
	from    event.OwnerFrom
	serial  uint64
	first   int64
	last    int64
	life    Hist
	family  uint64        // hash of the key that it shares with others of its comm
	pids    *processCount // of GroupComm
	clients *sketch       // of servers
	mixed   bool          // of GroupComm: its processes have different executables
	closes  *closes       // nil if there was none
	idle    *Hist         // how long those of IdleResets had been idle; nil if there was none
	pool    *pool         // nil of servers, and of clients that opened only a few connections
}

func (g *group) touch(e *event.Event) {
	g.last = max(g.last, e.Time)
	if g.first == 0 {
		g.first = e.Time
	}
}

// groupSet interns groups as small numbers. Number 0 is none, 1 is that of GroupOther.
type groupSet struct {
	seed maphash.Seed
	numbered[group]
	ids    map[groupKey]uint32
	pids   map[uint64]int32 // groups of one process, by family
	exact  int              // processes counted one by one, in all groups of many
	serial uint64
	most   int // that ids had, see shrunk
}

const otherGroup = 1

func newGroupSet(seed maphash.Seed) groupSet {
	return groupSet{
		seed:     seed,
		numbered: numbered[group]{all: []*group{nil, {key: groupKey{kind: GroupOther}}}},
		ids:      make(map[groupKey]uint32),
		pids:     make(map[uint64]int32),
	}
}

func (s *groupSet) add(k groupKey, e *event.Event) uint32 {
	s.serial++
	g := &group{key: k, serial: s.serial, first: e.Time, last: e.Time, from: e.Owner}
	g.proc = cloneName(e.Process)
	g.proc.PID = k.pid
	if k.kind == GroupComm {
		g.pids = &processCount{exact: make(map[uint64]struct{})}
		g.proc.Who = shared(e.Process.Who)
	}
	if k.role == event.Server {
		g.clients = new(sketch)
	}
	id := s.keep(g)
	s.ids[k] = id
	if k.kind == GroupProcess && k.pid != 0 {
		g.family = s.hash(k.family(e))
		s.pids[g.family]++
	}
	return id
}

func (s *groupSet) remove(id uint32) {
	g := s.all[id]
	delete(s.ids, g.key)
	s.release(id)
	if g.pids != nil {
		s.exact -= len(g.pids.exact)
	}
	if g.family == 0 {
		return
	}
	if s.pids[g.family]--; s.pids[g.family] <= 0 {
		delete(s.pids, g.family)
	}
}

func (s *groupSet) hash(k groupKey) uint64 { return maphash.Comparable(s.seed, k) }

// family is the key of the group of many that e belongs to.
func (k groupKey) family(e *event.Event) groupKey {
	k.pid, k.start, k.kind = 0, 0, GroupComm
	if w := e.Process.Who; w != nil {
		k.ppid, k.uid, k.cgroup = w.PPID, w.UID, w.CgroupID
	}
	return k
}

// shared is what one process has in common with the others of its group of many.
func shared(w *event.Who) *event.Who {
	if w == nil {
		return nil
	}
	c := *w
	c.Start = 0
	return &c
}

// learn takes over what an event knows of the group's process that the group does
// not. A group of many has an executable only if all share it.
func (g *group) learn(p event.Proc) {
	if p.Who == nil || p.Who == g.proc.Who {
		return
	}
	if g.pids == nil {
		if p.PID == g.key.pid && p.Start() == g.key.start {
			g.proc.Who = p.Who
		}
		return
	}
	have := g.proc.Who
	switch {
	case have == nil || p.Who.Exe == "" || p.Who.Exe == have.Exe || g.mixed:
		return
	case have.Exe != "":
		g.mixed = true
	}
	c := shared(p.Who)
	if g.mixed {
		c.Exe = ""
	}
	g.proc.Who = c
}

func (t *Table) groupKey(e *event.Event) groupKey {
	k := groupKey{netns: e.NetNS, pid: e.Process.PID, start: e.Process.Start(), role: t.role(e)}
	copy(k.comm[:], e.Process.Comm)
	k.laddr = e.Local.Addr().As16()
	switch {
	case k.role == event.Client:
		k.raddr, k.rport = e.Remote.Addr().As16(), e.Remote.Port()
	case k.role == event.Server || e.Kind == event.Fail:
		k.lport = e.Local.Port()
	}
	return k
}

// group returns the number of the group that e belongs to by itself.
func (t *Table) group(e *event.Event) uint32 {
	k := t.groupKey(e)
	s := &t.groups
	id, ok := s.ids[k]
	if ok {
		return id
	}
	if k.pid != 0 {
		family := k.family(e)
		if id, ok = s.ids[family]; ok {
			t.countProcess(s.all[id].pids, e.Process)
			return id
		}
		if int(s.pids[s.hash(family)]) >= t.opt.MaxPIDs {
			k = family
		}
	}
	if len(s.ids) >= t.opt.MaxGroups {
		t.total.GroupsRefused++
		return otherGroup
	}
	id = s.add(k, e)
	if k.kind == GroupComm {
		t.countFamily(s.all[id], s.hash(k))
		t.countProcess(s.all[id].pids, e.Process)
	}
	return id
}

// place returns the group of the connection, after moving it there if e knows
// its owner better than the events before.
func (t *Table) place(e *event.Event, s *socket) *group {
	if s.alive() && rank(s.owner) >= rank(e.Owner) {
		g := t.groups.get(s.group)
		g.touch(e)
		g.learn(e.Process)
		return g
	}
	id := t.group(e)
	g := t.groups.get(id)
	g.touch(e)
	g.learn(e.Process)
	g.from = e.Owner
	if g.clients != nil && (s.phase == unborn || id != s.group) {
		t.tallyAddr(g.clients, e.Remote.Addr())
	}
	t.total.hold(s, -1)
	var was *group
	if s.alive() {
		was = t.groups.get(s.group)
		was.hold(s, -1)
		if id != s.group && s.seen&sawOpen != 0 && e.Time-s.since < youth && was.Opens > 0 {
			was.Opens--
			g.Opens++
		}
	}
	if !s.alive() { // after its end, both may be gone
		s.dest = t.destination(e)
		if s.seen &^= bound; e.Bound {
			s.seen |= bound
		}
	}
	s.group, s.owner = id, e.Owner
	g.hold(s, 1)
	t.total.hold(s, 1)
	if was != nil && was != g {
		was.pool.hold(t.now, was.Open())
		g.pool.hold(t.now, g.Open())
	}
	return g
}

func (t *Table) tallyAddr(s *sketch, a netip.Addr) { s.add(maphash.Comparable(t.seed, a)) }

// Sweep drops the groups and destinations that are idle at now. Apply does it as
// time goes on; views do it when no event comes.
func (t *Table) Sweep(now int64) {
	t.swept = now
	idle := now - int64(t.opt.Idle)
	t.groups.most, t.dests.most = max(t.groups.most, len(t.groups.ids)), max(t.dests.most, len(t.dests.ids))
	for id, g := range t.groups.all {
		if id <= otherGroup || g == nil || g.last > idle || g.Alive() != 0 {
			continue
		}
		t.total.Retired.Add(&g.Counters)
		t.total.GroupsIdle++
		t.groups.remove(uint32(id))
	}
	t.groups.ids = shrunk(t.groups.ids, &t.groups.most)
	t.dests.sweep(idle)
	for k, f := range t.tuples {
		if f.Event.Time < idle {
			delete(t.tuples, k)
		}
	}
	t.netns.sweep(idle)
}

// addrOf undoes Addr.As16; no connection has the address ::, which stands for none.
func addrOf(b [16]byte) netip.Addr {
	if b == ([16]byte{}) {
		return netip.Addr{}
	}
	return netip.AddrFrom16(b).Unmap()
}
