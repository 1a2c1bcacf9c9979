package view

import (
	"math"
	"strings"

	"github.com/twtrace/twtrace/internal/output"
)

// column is one column of the table: from which width of the screen on it is
// shown, and how. Width 0 takes what the others leave.
type column struct {
	title string
	sort  Sort // sorts when none has this title
	from  int
	width int
	right bool
	cell  func(r *Row, c Caps, width int) string
}

const noSort = sorts

// columns in the order of the screen.
var columns = []column{
	{"COMM", SortComm, 0, 12, false, func(r *Row, c Caps, w int) string { return r.call(c, w) }},
	{"PID", noSort, 0, 7, true, func(r *Row, c Caps, _ int) string { return r.pid(c) }},
	{"LOCAL", noSort, 132, 15, false, func(r *Row, c Caps, w int) string { return c.endpoint(r.Local, w) }},
	{"  PEER", noSort, 0, 0, false, func(r *Row, c Caps, w int) string { return r.peer(c, w) }},
	{"TW", SortTimeWait, 0, 7, true, func(r *Row, _ Caps, w int) string { return count(r.TimeWait, w) }},
	{"PARK", noSort, 150, 6, true, func(r *Row, _ Caps, w int) string { return count(r.Parked, w) }},
	{"EST", noSort, 150, 6, true, func(r *Row, _ Caps, w int) string { return count(r.Established, w) }},
	{"IN/s", SortIn, 100, 6, true, func(r *Row, _ Caps, w int) string { return perSecond(r.In, w) }},
	{"OUT/s", SortOut, 110, 6, true, func(r *Row, _ Caps, w int) string { return perSecond(r.Out, w) }},
	{"CONN/s", SortOpen, 60, 7, true, func(r *Row, _ Caps, w int) string { return perSecond(r.Open, w) }},
	{"FAIL/s", SortFail, 120, 7, true, func(r *Row, _ Caps, w int) string { return perSecond(r.Fail, w) }},
	{"LIFE50", SortLife, 72, 7, true, func(r *Row, _ Caps, _ int) string { return r.life(0.5) }},
	{"LIFE99", noSort, 150, 7, true, func(r *Row, _ Caps, _ int) string { return r.life(0.99) }},
	{"CLOSER", noSort, 80, 11, false, func(r *Row, _ Caps, _ int) string { return r.closerText() }},
	{"PORTS", SortPorts, 90, 6, true, portsCell},
}

// portsCell is the use of the ephemeral range towards the row's destination, in
// percent of it or, if the range is not known, in ports.
func portsCell(r *Row, _ Caps, w int) string {
	switch {
	case r.Usable > 0:
		return output.Percent(uint64(r.Ports), uint64(r.Usable))
	case r.Ports > 0:
		return count(uint64(r.Ports), w)
	}
	return unknown
}

// placed is a column with its width on a screen.
type placed struct {
	*column
	width int
}

// place chooses the columns for a screen, and gives the peer what is left.
func place(screen int) []placed {
	var out []placed
	rest := screen - len("! ")
	peer := -1
	for i := range columns {
		c := &columns[i]
		if screen < c.from {
			continue
		}
		w := c.width
		if c.title == "COMM" && screen >= 90 {
			w = 15 // TASK_COMM_LEN, less the NUL
		}
		if w == 0 {
			peer = len(out)
		}
		if len(out) > 0 {
			rest-- // the space before it
		}
		rest -= w
		out = append(out, placed{c, w})
	}
	out[peer].width = max(rest, 10)
	return out
}

// heading is the line above the table, with the sorted column marked.
func heading(cols []placed, look *Look, c Caps) string {
	var b strings.Builder
	b.WriteString("  ")
	for i, col := range cols {
		if i > 0 {
			b.WriteByte(' ')
		}
		title := col.title
		if col.sort == look.Sort {
			title += c.signs().order(look.Invert)
		}
		b.WriteString(c.fit(title, col.width, col.right))
	}
	return b.String()
}

// line is one row of the table.
func (r *Row) line(cols []placed, cursor bool, c Caps) string {
	var b strings.Builder
	b.WriteString(r.Severity.mark())
	if cursor {
		b.WriteByte('>')
	} else {
		b.WriteByte(' ')
	}
	for i, col := range cols {
		if i > 0 {
			b.WriteByte(' ')
		}
		b.WriteString(c.fit(col.cell(r, c, col.width), col.width, col.right))
	}
	return b.String()
}

// known tells whether a rate is one.
func known(rate float64) bool { return !math.IsNaN(rate) && !math.IsInf(rate, 0) }
