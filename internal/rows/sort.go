package rows

import (
	"cmp"
	"slices"
	"strings"
)

// Sort is the column that rows are sorted by.
type Sort uint8

// The sort orders, in the order that the view goes through. Numbers sort from the
// largest, names from A.
const (
	SortSeverity Sort = iota // then by TIME_WAIT
	SortTimeWait
	SortGrowth
	SortIn
	SortOut
	SortPorts
	SortOpen
	SortClose
	SortFail
	SortLife
	SortCloseWait
	SortComm
	Sorts // how many there are
)

var sortNames = [...]string{
	SortSeverity: "severity",
	SortTimeWait: "TW", SortGrowth: "ΔTW/s", SortIn: "IN/s", SortOut: "OUT/s", SortPorts: "PORT%", SortOpen: "OPEN/s",
	SortClose: "CLOSE/s", SortFail: "FAIL/s", SortLife: "LIFE50", SortCloseWait: "CLWAIT", SortComm: "COMM",
}

func (s Sort) String() string { return sortNames[s%Sorts] }

// Arrange returns rows grouped by g and sorted by by. It does not change rows, which
// may be among those that it returns.
func Arrange(rows []Row, g Grouping, by Sort) []*Row {
	all := make([]*Row, len(rows))
	for i := range rows {
		all[i] = &rows[i]
	}
	return Sorted(Group(all, g), by, false)
}

// Sorted returns rows in order, the other way round with invert. Rows that are equal
// by by keep an order of their own from interval to interval.
func Sorted(rows []*Row, by Sort, invert bool) []*Row {
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
			c = strings.Compare(a.row.Name(), b.row.Name())
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
	case SortSeverity:
		return float64(r.Severity)*(1<<40) + float64(min(r.TimeWait, 1<<40-1))
	case SortCloseWait:
		return float64(r.CloseWait)
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
		return r.Share()
	case SortLife:
		d, _ := r.Life.Quantile(0.5)
		return float64(d)
	}
	return 0
}

func identity(a, b *Row) int {
	if c := strings.Compare(a.Name(), b.Name()); c != 0 {
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
