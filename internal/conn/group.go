package conn

import (
	"hash/maphash"
	"net/netip"
	"time"

	"github.com/twtrace/twtrace/internal/event"
)

// sweepEvery is how often idle groups are looked for.
const sweepEvery = int64(10 * time.Second)

// youth is the age up to which an opening follows its connection to another
// group: after that it would show as a connection opened now.
const youth = int64(10 * time.Second)

// GroupKind says what a group holds.
type GroupKind uint8

// The kinds of groups.
const (
	GroupProcess GroupKind = iota // connections of one process
	GroupComm                     // of many processes of one comm, too many for a group each
	GroupOther                    // of everything there was no group for
)

// groupKey has no pointers and no padding, so that it hashes in one go. Clients
// have lport 0; servers and unknown roles have raddr and rport 0. A process is one by
// pid, start and comm; one of many by the comm and what they have in common, which is
// their parent, user and cgroup.
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
	family  uint64  // hash of what it has in common with others
	pids    *crowd  // of GroupComm
	clients *sketch // of servers
	mixed   bool    // of GroupComm: they have different executables
	closes  *closes // nil if there was none
}

func (g *group) touch(e *event.Event) {
	g.last = max(g.last, e.Time)
	if g.first == 0 {
		g.first = e.Time
	}
}

// groupSet interns groups as small numbers. Number 0 is none, 1 is the rest.
type groupSet struct {
	seed   maphash.Seed
	ids    map[groupKey]uint32
	all    []*group // by number; nil if free
	free   []uint32
	pids   map[uint64]int32 // groups of one process, by family
	exact  int              // processes counted one by one in all crowds
	serial uint64
}

const restGroup = 1

func newGroupSet(seed maphash.Seed) groupSet {
	return groupSet{
		seed: seed,
		ids:  make(map[groupKey]uint32),
		all:  []*group{nil, {key: groupKey{kind: GroupOther}}},
		pids: make(map[uint64]int32),
	}
}

func (s *groupSet) get(id uint32) *group { return s.all[id] }

func (s *groupSet) add(k groupKey, e *event.Event) uint32 {
	s.serial++
	g := &group{key: k, serial: s.serial, first: e.Time, last: e.Time, from: e.Owner}
	g.proc = kept(e.Process)
	g.proc.PID = k.pid
	if k.kind == GroupComm {
		g.pids = &crowd{exact: make(map[uint64]struct{})}
		g.proc.Who = common(e.Process.Who)
	}
	if k.role == event.Server {
		g.clients = new(sketch)
	}
	id := uint32(len(s.all))
	if n := len(s.free); n > 0 {
		id, s.free = s.free[n-1], s.free[:n-1]
		s.all[id] = g
	} else {
		s.all = append(s.all, g)
	}
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
	s.all[id] = nil
	s.free = append(s.free, id)
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

// common is what is said of many processes, going by one of them.
func common(w *event.Who) *event.Who {
	if w == nil {
		return nil
	}
	c := *w
	c.Start = 0
	return &c
}

// learn takes over what an event knows of the group's process that the group does
// not. Of many, an executable that they do not share is none.
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
	c := common(p.Who)
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
			t.join(s.all[id].pids, e.Process)
			return id
		}
		if int(s.pids[s.hash(family)]) >= t.opt.MaxPIDs {
			k = family
		}
	}
	if len(s.ids) >= t.opt.MaxGroups {
		t.total.GroupsRefused++
		return restGroup
	}
	id = s.add(k, e)
	if k.kind == GroupComm {
		t.gather(s.all[id], s.hash(k))
		t.join(s.all[id].pids, e.Process)
	}
	return id
}

// place returns the group of the connection, after moving it there if e tells
// its owner better than what came before.
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
	if s.alive() && id != s.group {
		was := t.groups.get(s.group)
		*was.alive(s.phase)--
		*g.alive(s.phase)++
		if s.seen&sawOpen != 0 && e.Time-s.since < youth && was.Opens > 0 {
			was.Opens--
			g.Opens++
		}
	}
	if !s.alive() { // of one that ended, both may be gone since
		s.dest = t.destination(e)
	}
	s.group, s.owner = id, e.Owner
	return g
}

func (t *Table) tallyAddr(s *sketch, a netip.Addr) { s.add(maphash.Comparable(t.seed, a)) }

// Sweep drops the groups and destinations that are idle at now. Apply does it by
// itself as time goes on; views do it when no event comes.
func (t *Table) Sweep(now int64) {
	t.swept = now
	idle := now - int64(t.opt.Idle)
	for id, g := range t.groups.all {
		if id <= restGroup || g == nil || g.last > idle || g.Alive() != 0 {
			continue
		}
		t.total.Retired.Add(&g.Counters)
		t.total.GroupsIdle++
		t.groups.remove(uint32(id))
	}
	t.dests.sweep(idle)
	t.spaces.sweep(idle)
}

// addrOf undoes Addr.As16; no connection has the address ::, which stands for none.
func addrOf(b [16]byte) netip.Addr {
	if b == ([16]byte{}) {
		return netip.Addr{}
	}
	return netip.AddrFrom16(b).Unmap()
}
