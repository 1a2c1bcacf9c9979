package rows

import (
	"cmp"
	"fmt"
	"net/netip"
	"strings"

	"github.com/twtrace/twtrace/internal/conn"
	"github.com/twtrace/twtrace/internal/event"
)

// Grouping says what one row of the table is.
type Grouping uint8

// The groupings.
const (
	ByFlow    Grouping = iota // an owner, or a swarm of them, and where it connects to
	ByProcess                 // an owner
	ByPeer                    // where connections go to, whoever opens them
	ByComm
	ByExe
	ByParent
	ByUnit
	ByContainer
	ByPod
	ByUID
	ByNetNS
	ByLocalPort
	allGroupings
)

// groupingNames are what the table is called, and what --by calls it.
var groupingNames = [allGroupings]struct{ title, flag string }{
	ByFlow: {"Flows", "flow"}, ByProcess: {"Processes", "process"}, ByPeer: {"Peers", "peer"},
	ByComm: {"Comms", "comm"}, ByExe: {"Executables", "exe"}, ByParent: {"Parents", "parent"},
	ByUnit: {"Units", "unit"}, ByContainer: {"Containers", "container"}, ByPod: {"Pods", "pod"},
	ByUID: {"Users", "uid"}, ByNetNS: {"Namespaces", "netns"}, ByLocalPort: {"Local ports", "lport"},
}

func (g Grouping) String() string { return groupingNames[g%allGroupings].title }

// Groupings returns all groupings.
func Groupings() []Grouping {
	out := make([]Grouping, allGroupings)
	for i := range out {
		out[i] = Grouping(i)
	}
	return out
}

// GroupingNames returns the names that ParseGrouping knows.
func GroupingNames() []string {
	var out []string
	for _, n := range groupingNames {
		out = append(out, n.flag)
	}
	return out
}

// ParseGrouping returns the grouping of that name.
func ParseGrouping(name string) (Grouping, error) {
	for i, n := range groupingNames {
		if n.flag == name {
			return Grouping(i), nil
		}
	}
	return 0, fmt.Errorf("bad grouping %q: use %s", name, strings.Join(GroupingNames(), ", "))
}

// swarm is from how many processes on that have their comm, parent, user and cgroup
// in common, and where they connect to, their flows are one.
const swarm = 8

// Key says which rows fall together. Keys are compared; the zero Key is of no row.
type Key struct {
	netns    uint32
	kind     conn.GroupKind
	preStart bool
	role     event.Role
	local    netip.AddrPort
	remote   netip.AddrPort
	pid      uint32
	start    uint64
	word     string
	more     [3]uint64
}

// KeyBy is what names r among rows grouped by g.
func (r *Row) KeyBy(g Grouping) Key {
	process := Key{netns: r.NetNS, kind: r.Kind, preStart: r.PreStart,
		pid: r.Owner.PID, start: r.Owner.Start(), word: r.Owner.Comm}
	if r.Kind == conn.GroupComm {
		process.more = r.family().more
	}
	switch g {
	case ByFlow:
		process.role, process.local, process.remote = r.Role, r.at(), r.Remote
		return process
	case ByProcess:
		return process
	case ByPeer:
		if r.Kind == conn.GroupOther {
			return process
		}
		return Key{netns: r.NetNS, role: r.Role, local: r.at(), remote: r.Remote}
	case ByNetNS:
		return Key{netns: r.NetNS}
	case ByParent:
		if w := r.Owner.Who; w != nil {
			return Key{pid: w.PPID, word: w.PComm}
		}
		return Key{}
	}
	return Key{word: r.labelBy(g)}
}

// at is the local end by which rows fall together: a listener at any address is one,
// wherever it is reached.
func (r *Row) at() netip.AddrPort {
	if r.Listen.IsValid() {
		return r.Listen
	}
	return r.Local
}

// family is what a process has in common with others of a swarm.
func (r *Row) family() Key {
	k := Key{netns: r.NetNS, kind: conn.GroupComm, role: r.Role, local: r.at(), remote: r.Remote, word: r.Owner.Comm}
	if w := r.Owner.Who; w != nil {
		k.more = [3]uint64{uint64(w.PPID), uint64(w.UID), w.CgroupID}
	}
	return k
}

// labelBy is what a row of g is called where that is not its owner, else "".
func (r *Row) labelBy(g Grouping) string {
	if g <= ByPeer {
		return ""
	}
	s := r.common(g)
	switch {
	case s != "":
		return s
	case r.Owner.Who != nil && r.Owner.Who.Cgroup != "" && (g == ByUnit || g == ByContainer || g == ByPod),
		g == ByLocalPort && r.Role == event.Client:
		return "(none)"
	}
	return "(unknown)"
}

// common is what the rows of g have in common, "" if it is not known.
func (r *Row) common(g Grouping) string {
	switch g {
	case ByComm:
		return r.Owner.Comm
	case ByNetNS:
		if r.NetNS == 0 {
			return ""
		}
		return cmp.Or(r.Space, decimal(r.NetNS))
	case ByLocalPort:
		if r.Local.Port() == 0 {
			return ""
		}
		return ":" + decimal(uint32(r.Local.Port()))
	}
	w := r.Owner.Who
	if w == nil {
		return ""
	}
	switch g {
	case ByExe:
		return w.Exe
	case ByParent:
		if w.PPID != 0 {
			return fmt.Sprintf("%s[%d]", w.PComm, w.PPID)
		}
	case ByUnit:
		return w.Unit
	case ByContainer:
		return cmp.Or(w.ContainerName, w.Container)
	case ByPod:
		return cmp.Or(w.PodName, w.Pod)
	case ByUID:
		if w.HasUID {
			return decimal(w.UID)
		}
	}
	return ""
}

func decimal(n uint32) string { return fmt.Sprint(n) }
