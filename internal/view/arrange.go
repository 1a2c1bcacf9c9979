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
	SortGrowth
	SortIn
	SortOut
	SortPorts
	SortOpen
	SortClose
	SortFail
	SortLife
	SortComm
	sorts
)

var sortNames = [...]string{
	SortTimeWait: "TW", SortGrowth: "dTW/s", SortIn: "IN/s", SortOut: "OUT/s", SortPorts: "PORT%", SortOpen: "OPEN/s",
	SortClose: "CLOSE/s", SortFail: "FAIL/s", SortLife: "LIFE50", SortComm: "COMM",
}

func (s Sort) String() string { return sortNames[s%sorts] }

// Arrange is Look.Arrange with no filter.
func Arrange(rows []Row, g Grouping, by Sort) []*Row {
	return (&Look{Grouping: g, Sort: by}).Arrange(rows)
}

// Arrange returns the rows to show: those that match, grouped by g, and sorted by
// s, the other way round with invert. Rows that are equal by s keep an order of
// their own from frame to frame. It does not change rows.
func (k *Look) Arrange(rows []Row) []*Row {
	grouped := group(k.matching(rows), k.Grouping)
	out := make([]*Row, len(grouped))
	for i := range grouped {
		out[i] = &grouped[i]
	}
	slices.SortFunc(out, func(a, b *Row) int {
		c := k.Sort.compare(a, b)
		if k.Invert {
			c = -c
		}
		return cmp.Or(c, identity(a, b))
	})
	return k.held(out)
}

func (s Sort) compare(a, b *Row) int {
	switch s {
	case SortTimeWait:
		return cmp.Compare(b.TimeWait, a.TimeWait)
	case SortGrowth:
		return cmp.Compare(b.In-b.Out, a.In-a.Out)
	case SortIn:
		return cmp.Compare(b.In, a.In)
	case SortOut:
		return cmp.Compare(b.Out, a.Out)
	case SortOpen:
		return cmp.Compare(b.Open, a.Open)
	case SortClose:
		return cmp.Compare(b.Rates.Close, a.Rates.Close)
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

// Name is what stands for the row on its own, "" if nothing is known.
func (r *Row) Name() string { return r.name() }

// name is what stands for the owner, "" if nothing is known.
func (r *Row) name() string {
	switch {
	case r.Label != "":
		return r.Label
	case r.Kind == conn.GroupOther:
		return "(other)"
	case r.PreStart:
		return "(pre-start)"
	case r.Owner.Comm == "" && r.Owners > 1:
		return "(" + strconv.Itoa(r.Owners) + " owners)"
	}
	return r.Owner.Comm
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
	for i, n := range o.Minute {
		r.Minute[i] += n
	}
	for i, n := range o.Closer {
		r.Closer[i] += n
	}
	r.Total.Add(&o.Total)
	r.First = min(r.First, o.First)
	r.Recent = latest(r.Recent, o.Recent)
	if r.NetNS != o.NetNS {
		r.NetNS = 0
	}
	r.PIDs += o.PIDs
	r.About = r.About || o.About
	r.mergeOwner(&o.Owner)
	if g == ByFlow { // a swarm
		r.Kind, r.Clients = conn.GroupComm, max(r.Clients, o.Clients)
		return
	}
	r.PreStart = r.PreStart && o.PreStart
	if g == ByPeer {
		r.Owners += o.Owners
		r.Clients = max(r.Clients, o.Clients)
		return
	}
	r.mergePeer(o)
}

// mergeOwner leaves of r's owner what o is too.
func (r *Row) mergeOwner(o *event.Proc) {
	if r.Owner.Comm != o.Comm {
		r.Owner.Comm = ""
	}
	if r.Owner.PID != o.PID {
		r.Owner.PID = 0
	}
	have, other := r.Owner.Who, o.Who
	if have == other {
		return
	}
	if have == nil || other == nil {
		r.Owner.Who = nil
		return
	}
	r.Owner.Who = have.Common(other)
}

// mergePeer leaves of where r's connections go to what o has too.
func (r *Row) mergePeer(o *Row) {
	r.Clients += o.Clients
	if r.Role == o.Role && r.Local == o.Local && r.Remote == o.Remote {
		return
	}
	r.Peers += o.Peers
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

// latest merges two lists of closes, and keeps as many as the longer has.
func latest(a, b []conn.Closed) []conn.Closed {
	if len(b) == 0 {
		return a
	}
	out := slices.Concat(a, b)
	slices.SortStableFunc(out, func(a, b conn.Closed) int { return cmp.Compare(b.Time, a.Time) })
	return out[:max(len(a), len(b))]
}
