package conn

import (
	"iter"
	"net/netip"
	"time"

	"github.com/twtrace/twtrace/internal/event"
)

// Group is one row: the connections of one owner in one direction. Those of a
// client go from one local address to one remote end; those of a server come to
// one local end, from any remote one.
type Group struct {
	ID     uint64 // identifies the group as long as the table lives; never used again
	Kind   GroupKind
	NetNS  uint32
	Role   event.Role // as the events say, or as the ports of a socket from before the trace imply
	Owner  event.Proc // the zero Proc if not known; PID 0 and a comm if Kind is GroupComm
	From   event.OwnerFrom
	Local  netip.AddrPort // port 0 for a client
	Remote netip.AddrPort // not valid for a server
	// Listen is where the listener of a server is that listens at any address (0.0.0.0 or
	// ::) and that Local is a part of; not valid if there is none.
	Listen netip.AddrPort
	Counters
	Life    Hist  // lifetimes
	Idle    *Hist // how long those of IdleResets had been idle; nil if there was none
	PIDs    int   // for GroupComm how many processes there were, those with a group of their own included; else 1, 0 if unknown
	About   bool  // PIDs is an estimate
	Clients int   // for a server an estimate of how many remote addresses there were
	First   int64 // first and last activity, ns since the epoch
	Last    int64
	Recent  []Closed // the last closes, the latest first; never changed
	Pool    Pool     // of a client that opened more than a few connections
}

// Groups appends every group to list, in no particular order.
func (t *Table) Groups(list []Group) []Group {
	for _, g := range t.groups.all {
		if g == nil || g.key.kind == GroupOther && g.last == 0 {
			continue
		}
		v := Group{
			ID: g.serial, Kind: g.key.kind, NetNS: g.key.netns, Role: g.key.role,
			Owner: g.proc, From: g.from,
			Local:    netip.AddrPortFrom(addrOf(g.key.laddr), g.key.lport),
			Counters: g.Counters, Life: g.life, First: g.first, Last: g.last,
			Recent: g.closes.list(), Pool: g.pool.view(t.now),
		}
		if g.idle != nil {
			idle := *g.idle
			v.Idle = &idle
		}
		if !v.Local.IsValid() && (g.key.lport != 0 || g.key.role == event.Client) {
			v.Local = netip.AddrPortFrom(netip.IPv6Unspecified(), g.key.lport)
		}
		if g.key.role == event.Client {
			v.Remote = netip.AddrPortFrom(addrOf(g.key.raddr), g.key.rport)
		}
		if g.key.role == event.Server {
			v.Listen = t.listeners.anywhere(v.NetNS, v.Local)
		}
		switch {
		case g.pids != nil:
			v.PIDs, v.About = g.pids.count()
		case g.proc.Known():
			v.PIDs = 1
		}
		if g.clients != nil {
			v.Clients = g.clients.count()
		}
		list = append(list, v)
	}
	return list
}

// Totals returns the account of the whole table.
func (t *Table) Totals() Totals {
	v := t.total
	v.Groups = len(t.groups.ids)
	v.Destinations = len(t.dests.ids)
	return v
}

// Snapshot is the table at one moment. Rates are the differences of two.
type Snapshot struct {
	At           int64 // ns since the epoch
	Totals       Totals
	Groups       []Group
	Destinations []Destination // worst first
	Buckets      []Buckets     // by network namespace
	Listeners    []Listener    // whose process is known, in no order
	Timings      *Timings      // nil of SnapshotLimited
}

// Snapshot fills s with the table as it is at now, and uses its slices again.
func (t *Table) Snapshot(now int64, s *Snapshot) {
	t.SnapshotLimited(now, s)
	s.Groups = t.Groups(again(s.Groups, len(t.groups.ids)))
	s.Listeners = t.appendListeners(s.Listeners[:0], func(uint32) bool { return true })
	if s.Timings == nil {
		s.Timings = new(Timings)
	}
	*s.Timings = *t.timings
}

// SnapshotLimited is Snapshot without the groups, which may be many: only the limited
// resources, ports and buckets.
func (t *Table) SnapshotLimited(now int64, s *Snapshot) {
	if now-t.swept > sweepEvery {
		t.Sweep(now)
	}
	t.now = max(t.now, now)
	s.At = now
	s.Totals = t.Totals()
	s.Destinations = t.Destinations(again(s.Destinations, len(t.dests.ids)))
	s.Buckets = t.Buckets(s.Buckets[:0])
}

// Socket is one connection that the table holds.
type Socket struct {
	Cookie   uint64 // 0 if it never had one
	NetNS    uint32
	State    event.State // Established for all that are open, FinWait2 if parked, or TimeWait
	Role     event.Role
	Local    netip.AddrPort
	Remote   netip.AddrPort
	Process  event.Proc // the owner; PID 0 in a group of many processes
	Owner    event.OwnerFrom
	Since    int64 // when it entered State, ns since the epoch
	Guessed  bool  // Role is only what its ports imply
	Bound    bool  // its port is taken for all destinations
	Snapshot bool  // it was there before the trace; Since is what its timer implied
}

// Sockets yields every connection that is alive, in no order. The caller must not
// change the table meanwhile. A connection of a GroupOther has no local address.
func (t *Table) Sockets() iter.Seq[Socket] {
	return func(yield func(Socket) bool) {
		for s := range t.sockets.all {
			if s.alive() && !yield(t.socket(s)) {
				return
			}
		}
	}
}

var states = [...]event.State{live: event.Established, parked: event.FinWait2, timeWait: event.TimeWait}

func (t *Table) socket(s *socket) Socket {
	g := t.groups.get(s.group)
	v := Socket{
		NetNS: g.key.netns, State: states[s.phase], Role: g.key.role,
		Local:   netip.AddrPortFrom(addrOf(g.key.laddr), s.lport),
		Remote:  netip.AddrPortFrom(addrOf(s.raddr), s.rport),
		Process: g.proc, Owner: s.owner, Since: s.since, Guessed: s.seen&guessed != 0, Bound: s.seen&pinned != 0, Snapshot: s.seen&sawSnapshot != 0,
	}
	if s.key&tupleKey == 0 {
		v.Cookie = s.key
	}
	return v
}

// Reconcile removes the sockets that are alive here and not in the kernel, after
// a loss: those for which alive returns false, of the ones that have been in their
// state since before at, when the kernel was asked. It returns how many it removed,
// and counts them in Totals.Dropped. Sockets that only the kernel holds come back as
// Snapshot events.
func (t *Table) Reconcile(at time.Time, alive func(Socket) bool) int {
	var gone []uint64
	for s := range t.sockets.all {
		if s.alive() && s.since < at.UnixNano() && !alive(t.socket(s)) {
			t.drop(s)
			gone = append(gone, s.key)
		}
	}
	for _, k := range gone {
		t.sockets.remove(k)
	}
	return len(gone)
}

// Forget drops what the groups remember about connections that ended: how long they
// lived, which side closed them first, why, and the last closes. It keeps what the
// balance of Totals needs.
func (t *Table) Forget() {
	for _, g := range t.groups.all {
		if g == nil {
			continue
		}
		g.life, g.closes, g.idle = Hist{}, nil, nil
		g.Counters.forget()
	}
	t.total.Counters.forget()
	t.total.Retired.forget()
}

func (c *Counters) forget() {
	c.Closer, c.Ways, c.Lives = [event.BothSides + 1]uint64{}, Ways{}, 0
	c.IdleResets, c.DataLost = 0, 0
}
