package view

import (
	"cmp"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/twtrace/twtrace/internal/conn"
	"github.com/twtrace/twtrace/internal/event"
	"github.com/twtrace/twtrace/internal/filter"
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
// their own from frame to frame. It does not change rows, which may be among those
// that it returns. What a Look has arranged before it may return again.
func (k *Look) Arrange(rows []Row) []*Row {
	m := k.memo
	if m == nil {
		m = new(memo)
	}
	if q := k.ask(rows); m.grouped == nil || m.question != q {
		*m = memo{question: q, grouped: group(k.matching(rows), k.Grouping)}
	}
	if m.sorted == nil || m.sort != k.Sort || m.invert != k.Invert {
		m.sorted, m.sort, m.invert, m.held = sorted(m.grouped, k.Sort, k.Invert), k.Sort, k.Invert, nil
	}
	switch {
	case len(k.Order) == 0, same(k.Order, m.sorted):
		return m.sorted
	case m.held == nil || !same(k.Order, m.order) && !same(k.Order, m.held):
		m.held, m.order = held(m.sorted, k.Order), k.Order
	}
	return m.held
}

// memo is what was arranged last, so that a key that changes nothing of it need not
// do it again. It goes by which rows they are, not by what is in them: it is for
// rows that are not changed any more.
type memo struct {
	question
	grouped []*Row
	sort    Sort
	invert  bool
	sorted  []*Row // grouped, by these
	order   []*Row
	held    []*Row // sorted, held in that order
}

// question is what decides which rows there are.
type question struct {
	first     *Row
	n         int
	listeners bool
	grouping  Grouping
	filter    *filter.Filter
	not       bool
}

func (k *Look) ask(rows []Row) question {
	q := question{n: len(rows), listeners: k.Tab == TabListeners, grouping: k.Grouping, filter: k.Filter, not: k.Not}
	if len(rows) > 0 {
		q.first = &rows[0]
	}
	return q
}

// same tells whether two lists are one.
func same(a, b []*Row) bool { return len(a) == len(b) && (len(a) == 0 || &a[0] == &b[0]) }

// sorted returns rows in order.
func sorted(rows []*Row, by Sort, invert bool) []*Row {
	type keyed struct {
		key float64
		row *Row
	}
	list := make([]keyed, len(rows))
	for i, r := range rows {
		list[i] = keyed{by.of(r), r}
	}
	slices.SortFunc(list, func(a, b keyed) int {
		c := cmp.Compare(b.key, a.key)
		if by == SortComm {
			c = strings.Compare(a.row.name(), b.row.name())
		}
		if invert {
			c = -c
		}
		return cmp.Or(c, identity(a.row, b.row))
	})
	out := make([]*Row, len(rows))
	for i := range list {
		out[i] = list[i].row
	}
	return out
}

// of is what rows are sorted by, the largest first; 0 by name.
func (s Sort) of(r *Row) float64 {
	switch s {
	case SortTimeWait:
		return float64(r.TimeWait)
	case SortGrowth:
		return r.In - r.Out
	case SortIn:
		return r.In
	case SortOut:
		return r.Out
	case SortOpen:
		return r.Open
	case SortClose:
		return r.Rates.Close
	case SortFail:
		return r.Fail
	case SortPorts:
		return r.share()
	case SortLife:
		d, _ := r.Life.Quantile(0.5)
		return float64(d)
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

// latest merges two lists of closes, the latest of which come first, and keeps as many
// as the longer has.
func latest(a, b []conn.Closed) []conn.Closed {
	switch {
	case len(b) == 0, len(b) <= len(a) && b[0].Time <= a[len(a)-1].Time:
		return a
	case len(a) == 0:
		return b
	}
	out := make([]conn.Closed, max(len(a), len(b)))
	for i := range out {
		if len(b) == 0 || len(a) > 0 && a[0].Time >= b[0].Time {
			out[i], a = a[0], a[1:]
		} else {
			out[i], b = b[0], b[1:]
		}
	}
	return out
}
