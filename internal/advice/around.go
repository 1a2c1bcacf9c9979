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
)

// Around is what surrounds the connections of a namespace: settings, listen queues,
// connection tracking, addresses. The zero Around is that of a trace file.
type Around struct {
	Settings  kernel.Settings
	Queues    []Queue
	Addrs     []netip.Addr      // the host's own
	Conntrack *kernel.Conntrack // nil: the kernel has none, or follows nothing here
	Tracked   map[string]uint64 // its entries by state, where there are many; nil if they cannot be read
	Host      string            // what brings a command into the initial namespace, where limits of the host are set
	HostKnown bool              // Host is known: it may be ""
}

// Queue is a listener with the connections that wait for accept().
type Queue struct {
	Local   netip.AddrPort
	Cookie  uint64
	Waiting uint32
	Backlog uint32
	Drops   uint32 // SYNs and connections dropped since it listens
}

// crowdedShare is how full the table of conntrack must be for its entries to be looked at.
const crowdedShare = 0.5

// LookAround reads what surrounds the connections of n. What this user may not read is
// left out, and said.
func LookAround(n kernel.NetNS) (Around, error) {
	var a Around
	var err error
	if a.Settings, err = n.Settings(); err != nil {
		return Around{}, err
	}
	if a.Queues, err = queues(n); err != nil {
		return Around{}, err
	}
	if err := n.Do(func() (err error) { a.Addrs, err = ownAddrs(); return err }); err != nil {
		return Around{}, err
	}
	return a, a.track(n)
}

func queues(n kernel.NetNS) ([]Queue, error) {
	var list []Queue
	err := n.Sockets(kernel.States(event.Listening), func(s kernel.Socket) error {
		list = append(list, Queue{Local: s.Local, Cookie: s.Cookie, Waiting: s.RQueue, Backlog: s.WQueue, Drops: s.Drops})
		return nil
	})
	slices.SortFunc(list, func(a, b Queue) int { return cmp.Or(a.Local.Compare(b.Local), cmp.Compare(a.Cookie, b.Cookie)) })
	return list, err
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
func (a *Around) track(n kernel.NetNS) error {
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
		a.Host = initial.Enter()
		a.HostKnown = true
	}
	return nil
}

// crowded reports whether conntrack is worth a closer look.
func (a *Around) crowded() bool {
	c := a.Conntrack
	return c != nil && (float64(c.Count) >= crowdedShare*float64(c.Max) || c.Drop > 0)
}

// LookAtTracked counts the entries of conntrack by state where the table is crowded. That
// reads all of them, and is left out for a user who may not.
func (a *Around) LookAtTracked(n kernel.NetNS) error {
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

// own reports whether addr is one of this host's: a connection to it never leaves the
// machine.
func (a *Around) own(addr netip.Addr) bool {
	return addr.IsLoopback() || slices.Contains(a.Addrs, addr)
}
