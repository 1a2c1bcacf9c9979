package advice

import (
	"cmp"
	"errors"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"slices"

	"github.com/twtrace/twtrace/internal/event"
	"github.com/twtrace/twtrace/internal/kernel"
	"github.com/twtrace/twtrace/internal/process"
)

// HostFacts is what a namespace has besides connections: settings, accept queues,
// connection tracking, addresses. It is zero for a trace file.
type HostFacts struct {
	Settings  kernel.Settings
	Queues    []Queue
	Addrs     []netip.Addr      // the host's own
	Conntrack *kernel.Conntrack // nil: the kernel has none, or tracks nothing in this namespace
	Tracked   map[string]uint64 // its entries by state, if the table is crowded; nil if this user may not read them
	InitEnter string            // puts a command into the initial namespace, where limits of the host are set
	InitKnown bool              // InitEnter is known: it may be ""
}

// Queue is a listener and its accept queue.
type Queue struct {
	Local   netip.AddrPort
	Cookie  uint64
	Waiting uint32
	Backlog uint32
	Drops   uint32 // SYNs and connections dropped since it started to listen
	Peak    uint32 // the most that waited at any read in the Window; 0 if it was read twice only

	Owner   event.Proc // of one that is full or dropped, if it was looked up; a trace has it in Listeners
	Stopped bool       // a signal or a debugger stopped its owner

	inode   uint64
	dropped uint32 // in the Window; set by TW211
}

// crowdedShare is how full the conntrack table must be before its entries are counted by state.
const crowdedShare = 0.5

// ReadHostFacts reads those of n, as any user.
func ReadHostFacts(n kernel.NetNS) (HostFacts, error) {
	var a HostFacts
	var err error
	if a.Settings, err = n.Settings(); err != nil {
		return HostFacts{}, err
	}
	if a.Queues, err = queues(n); err != nil {
		return HostFacts{}, err
	}
	if err := n.Do(func() (err error) { a.Addrs, err = ownAddrs(); return err }); err != nil {
		return HostFacts{}, err
	}
	return a, a.track(n)
}

func queues(n kernel.NetNS) ([]Queue, error) {
	var list []Queue
	err := n.Sockets(kernel.States(event.Listening), func(s kernel.Socket) error {
		list = append(list, Queue{Local: s.Local, Cookie: s.Cookie, Waiting: s.RQueue, Backlog: s.WQueue, Drops: s.Drops,
			inode: uint64(s.Inode)})
		return nil
	})
	slices.SortFunc(list, func(a, b Queue) int { return cmp.Or(a.Local.Compare(b.Local), cmp.Compare(a.Cookie, b.Cookie)) })
	return list, err
}

// nameQueues looks up who listens where a queue is full or has dropped. Of processes that may
// not be read, nobody is known.
func (a *HostFacts) nameQueues() {
	var owners map[uint64]event.Proc
	for i := range a.Queues {
		q := &a.Queues[i]
		if !q.full() && q.Drops == 0 {
			continue
		}
		if owners == nil {
			owners, _ = process.SocketOwners()
		}
		if q.Owner = owners[q.inode]; q.Owner.Known() {
			q.Stopped = process.Stopped(q.Owner.PID)
		}
	}
}

// ownAddrs are the addresses of this thread's namespace.
func ownAddrs() ([]netip.Addr, error) {
	list, err := net.InterfaceAddrs()
	if err != nil {
		return nil, err
	}
	var own []netip.Addr
	for _, a := range list {
		if p, err := netip.ParsePrefix(a.String()); err == nil {
			own = append(own, p.Addr().Unmap())
		}
	}
	return own, nil
}

// track reads the connection tracking of n, if there is any.
func (a *HostFacts) track(n kernel.NetNS) error {
	c, err := n.Conntrack()
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if c.Count == 0 && c.InsertFailed == 0 && c.Drop == 0 {
		return nil
	}
	a.Conntrack = &c
	if !a.crowded() {
		return nil
	}
	if initial, err := kernel.FindNetNS("pid:1"); err == nil {
		a.InitEnter = initial.Enter()
		a.InitKnown = true
	}
	return nil
}

// crowded reports whether the entries of conntrack are worth counting.
func (a *HostFacts) crowded() bool {
	c := a.Conntrack
	return c != nil && (float64(c.Count) >= crowdedShare*float64(c.Max) || c.Drop > 0)
}

// CountTracked counts the entries of conntrack by state if the table is crowded. It reads
// every entry; where this user may not, Tracked stays nil.
func (a *HostFacts) CountTracked(n kernel.NetNS) error {
	if !a.crowded() {
		return nil
	}
	var err error
	a.Tracked, err = n.ConntrackStates()
	if errors.Is(err, os.ErrPermission) {
		return nil
	}
	return err
}

// own reports whether addr is an address of this host: a connection to it never leaves
// the host.
func (a *HostFacts) own(addr netip.Addr) bool {
	return addr.IsLoopback() || slices.Contains(a.Addrs, addr)
}
