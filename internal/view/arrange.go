package view

import (
	"cmp"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/twtrace/twtrace/internal/conn"
	"github.com/twtrace/twtrace/internal/event"
)

// Sort is the column that rows are sorted by.
type Sort uint8

// The sort orders, in the order the key s goes through. Numbers sort from the
// largest, names from A.
const (
	SortTimeWait Sort = iota
	SortIn
	SortOut
	SortOpen
	SortFail
	SortPorts
	SortLife
	SortComm
	sorts
)

var sortNames = [...]string{
	SortTimeWait: "TW", SortIn: "IN/s", SortOut: "OUT/s", SortOpen: "OPEN/s",
	SortFail: "FAIL/s", SortPorts: "PORTS", SortLife: "LIFE50", SortComm: "COMM",
}

func (s Sort) String() string { return sortNames[s%sorts] }

// Arrange returns the rows to show: grouped by g, and sorted by s. Rows that are
// equal by s keep an order of their own from frame to frame. It does not change rows.
func Arrange(rows []Row, g Grouping, s Sort) []Row {
	rows = group(rows, g)
	slices.SortStableFunc(rows, func(a, b Row) int {
		if c := s.compare(&a, &b); c != 0 {
			return c
		}
		return identity(&a, &b)
	})
	return rows
}

func (s Sort) compare(a, b *Row) int {
	switch s {
	case SortTimeWait:
		return cmp.Compare(b.TimeWait, a.TimeWait)
	case SortIn:
		return cmp.Compare(b.In, a.In)
	case SortOut:
		return cmp.Compare(b.Out, a.Out)
	case SortOpen:
		return cmp.Compare(b.Open, a.Open)
	case SortFail:
		return cmp.Compare(b.Fail, a.Fail)
	case SortPorts:
		return cmp.Compare(b.share(), a.share())
	case SortLife:
		la, _ := a.Life.Quantile(0.5)
		lb, _ := b.Life.Quantile(0.5)
		return cmp.Compare(lb, la)
	}
	return 0
}

func identity(a, b *Row) int {
	if c := strings.Compare(a.name(), b.name()); c != 0 {
		return c
	}
	if c := cmp.Compare(a.Owner.PID, b.Owner.PID); c != 0 {
		return c
	}
	if c := a.Remote.Compare(b.Remote); c != 0 {
		return c
	}
	if c := a.Local.Compare(b.Local); c != 0 {
		return c
	}
	if c := cmp.Compare(a.Role, b.Role); c != 0 {
		return c
	}
	return cmp.Compare(a.NetNS, b.NetNS)
}

// name is what stands for the owner, "" if nothing is known.
func (r *Row) name() string {
	switch {
	case r.Kind == conn.GroupOther:
		return "(other)"
	case r.PreStart:
		return "(pre-start)"
	case r.Owner.Comm == "" && r.Owners > 1:
		return "(" + strconv.Itoa(r.Owners) + " owners)"
	}
	return r.Owner.Comm
}

// rowKey says which rows fall together.
type rowKey struct {
	netns    uint32
	owner    event.Proc
	kind     conn.GroupKind
	preStart bool
	role     event.Role
	local    netip.AddrPort
	remote   netip.AddrPort
}

func group(rows []Row, g Grouping) []Row {
	if g == ByFlow {
		return slices.Clone(rows)
	}
	var out []Row
	at := make(map[rowKey]int)
	for i := range rows {
		r := &rows[i]
		k := rowKey{netns: r.NetNS, kind: r.Kind, owner: r.Owner, preStart: r.PreStart}
		if g == ByPeer && r.Kind != conn.GroupOther {
			k = rowKey{netns: r.NetNS, role: r.Role, local: r.Local, remote: r.Remote}
		}
		j, ok := at[k]
		if !ok {
			at[k] = len(out)
			out = append(out, *r)
			continue
		}
		out[j].merge(r, g)
	}
	return out
}

// merge adds o to r. What differs is no longer known.
func (r *Row) merge(o *Row, g Grouping) {
	if o.share() > r.share() {
		r.Ports, r.Usable = o.Ports, o.Usable
	}
	r.Severity = max(r.Severity, o.Severity)
	r.TimeWait += o.TimeWait
	r.Parked += o.Parked
	r.Established += o.Established
	r.In += o.In
	r.Out += o.Out
	r.Open += o.Open
	r.Close += o.Close
	r.Fail += o.Fail
	r.Life.Merge(&o.Life)
	for i, n := range o.Closer {
		r.Closer[i] += n
	}
	if g == ByPeer {
		r.PIDs += o.PIDs
		r.Owners += o.Owners
		r.Clients = max(r.Clients, o.Clients)
		if r.Owner.Comm != o.Owner.Comm {
			r.Owner.Comm = ""
		}
		if r.Owner.PID != o.Owner.PID {
			r.Owner.PID = 0
		}
		r.PreStart = r.PreStart && o.PreStart
		return
	}
	r.Peers += o.Peers
	r.Clients += o.Clients
	if r.Role != o.Role {
		r.Role = event.RoleNone
	}
	if r.Local != o.Local {
		r.Local = netip.AddrPort{}
	}
	if r.Remote != o.Remote {
		r.Remote = netip.AddrPort{}
	}
}
