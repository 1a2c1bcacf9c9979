package view

import (
	"math"
	"slices"
	"strings"

	"github.com/charmbracelet/x/ansi"

	"github.com/twtrace/twtrace/internal/output"
	"github.com/twtrace/twtrace/internal/rows"
)

// column is one column of the table: from which width of the screen on it is shown, and
// how. Width 0 takes what the others leave.
type column struct {
	title string
	sort  rows.Sort // sorts when none has this title
	from  int
	width int
	right bool
	cell  func(r *rows.Row, c Caps, width int) string
	when  func(t *Trouble, from int) int // from where there is trouble; nil if that is the same
}

const noSort = rows.Sorts

// never is wider than any screen.
const never = 1 << 20

// columns in the order of the screen. What shows the trouble comes before what does not.
var columns = []column{
	{"COMM", rows.SortComm, 0, 12, false, func(r *rows.Row, c Caps, w int) string { return commCell(r, c, w) }, nil},
	{"PID", noSort, 0, 7, true, func(r *rows.Row, c Caps, _ int) string { return pidCell(r, c) }, nil},
	{"NETNS", noSort, never, 10, false, func(r *rows.Row, c Caps, w int) string { return spaceCell(r, c, w) }, ifSpaces(110)},
	{"UNIT/POD", noSort, 160, 16, false, func(r *rows.Row, c Caps, w int) string { return homeCell(r, c, w) }, nil},
	{"LOCAL", noSort, 132, 15, false, func(r *rows.Row, c Caps, w int) string { return c.endpoint(r.Local, w) }, nil},
	{"  PEER", noSort, 0, 0, false, func(r *rows.Row, c Caps, w int) string { return peerCell(r, c, w) }, nil},
	{"TW", rows.SortTimeWait, 0, 7, true, func(r *rows.Row, _ Caps, w int) string { return count(r.TimeWait, w) }, nil},
	{"ΔTW/s", rows.SortGrowth, 100, 6, true, func(r *rows.Row, _ Caps, w int) string { return growth(r.In-r.Out, w) }, ifFails(120)},
	{"PARK", noSort, 185, 6, true, func(r *rows.Row, _ Caps, w int) string { return count(r.Parked, w) }, ifParked(66)},
	{"EST", noSort, 185, 6, true, func(r *rows.Row, _ Caps, w int) string { return count(r.Established, w) }, ifCloseWait(100)},
	{"CLWAIT", rows.SortCloseWait, 185, 6, true, func(r *rows.Row, _ Caps, w int) string { return closeWaitCell(r, w) }, ifCloseWait(64)},
	{"IN/s", rows.SortIn, 200, 6, true, func(r *rows.Row, _ Caps, w int) string { return perSecond(r.In, w) }, nil},
	{"OUT/s", rows.SortOut, 200, 6, true, func(r *rows.Row, _ Caps, w int) string { return perSecond(r.Out, w) }, nil},
	{"PORT%", rows.SortPorts, 90, 6, true, func(r *rows.Row, _ Caps, _ int) string { return portCell(r) }, ifPorts(0)},
	{"FAIL/s", rows.SortFail, 110, 7, true, func(r *rows.Row, _ Caps, w int) string { return perSecond(r.Fail, w) }, ifFails(0)},
	{"OPEN/s", rows.SortOpen, 60, 7, true, func(r *rows.Row, _ Caps, w int) string { return perSecond(r.Open, w) }, ifFails(76)},
	{"CLOSE/s", rows.SortClose, 120, 8, true, func(r *rows.Row, _ Caps, w int) string { return perSecond(r.Rates.Close, w) }, nil},
	{"LIFE50", rows.SortLife, 72, 7, true, func(r *rows.Row, _ Caps, _ int) string { return lifeCell(r, 0.5) }, ifFails(88)},
	{"LIFE99", noSort, 170, 6, true, func(r *rows.Row, _ Caps, _ int) string { return lifeCell(r, 0.99) }, nil},
	{"CLOSER", noSort, 80, 11, false, func(r *rows.Row, _ Caps, _ int) string { return closerCell(r) }, ifFails(100)},
	{"60s", noSort, 150, rows.MinuteBins, false, func(r *rows.Row, c Caps, _ int) string { return sparkCell(r, c) }, nil},
}

// ifFails is a width for when calls fail; the others likewise.
func ifFails(width int) func(*Trouble, int) int {
	return func(t *Trouble, from int) int { return pick(t.Fails, width, from) }
}

func ifPorts(width int) func(*Trouble, int) int {
	return func(t *Trouble, from int) int { return pick(t.Ports, width, from) }
}

func ifCloseWait(width int) func(*Trouble, int) int {
	return func(t *Trouble, from int) int { return pick(t.CloseWait, width, from) }
}

func ifParked(width int) func(*Trouble, int) int {
	return func(t *Trouble, from int) int { return pick(t.Parked, width, from) }
}

func ifSpaces(width int) func(*Trouble, int) int {
	return func(t *Trouble, from int) int { return pick(t.Spaces, width, from) }
}

func pick(yes bool, a, b int) int {
	if yes {
		return a
	}
	return b
}

// at is from which width on the column is shown.
func (c *column) at(t *Trouble) int {
	if c.when == nil {
		return c.from
	}
	return c.when(t, c.from)
}

// growth words a rate of change in width cells, with its sign.
func growth(v float64, width int) string {
	if !rows.Known(v) {
		return unknown
	}
	if s := strings.TrimSuffix(output.Trend(v), "/s"); len(s) <= width {
		return s
	}
	sign := "+"
	if v < 0 {
		sign = "-"
	}
	return sign + count(uint64(math.Abs(v)), width-1)
}

// placed is a column with its width on a screen.
type placed struct {
	*column
	width int
	cell  func(r *rows.Row, c Caps, width int) string
}

// fullPeer is the longest address and port there are, and the arrow; leastPeer is an IPv4
// address and port.
const (
	fullPeer  = len("[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535") + 2
	leastPeer = len("10.20.30.40:8080") + 2
)

// place chooses the columns for a screen that shows list, and gives the peer what is left.
// Where that is too little, other columns make room for it, those of the least worth first.
func (d *Display) place(s *State, list []*rows.Row, screen int, c Caps) []placed {
	out := d.placeWorth(&s.Trouble, screen, screen)
	need := min(leastPeer, screen/4)
	if d.Full || d.Tab == TabListeners {
		need = d.longestPeer(list, c)
	}
	for worth := screen; out[peerAt(out)].width < need && worth > 0; worth-- {
		out = d.placeWorth(&s.Trouble, screen, worth)
	}
	out = fitting(out, screen)
	at := peerAt(out)
	out[at].cell = d.peerColumn()
	if d.Tab == TabListeners {
		listens := *out[at].column
		listens.title = "  LISTENS AT"
		out[at].column = &listens
		if i := slices.IndexFunc(out, func(p placed) bool { return p.title == "LOCAL" }); i >= 0 { // it says the same
			out[at].width += out[i].width + 1
			out = slices.Delete(out, i, i+1)
		}
	}
	return out
}

// peerColumn is how the tab words a peer.
func (d *Display) peerColumn() func(r *rows.Row, c Caps, width int) string {
	switch {
	case d.Tab == TabListeners:
		return listenerCell
	case d.Named:
		return d.peerNamed
	}
	return peerCell
}

// longestPeer is the width of the longest peer of list.
func (d *Display) longestPeer(list []*rows.Row, c Caps) int {
	cell, longest := d.peerColumn(), leastPeer
	for _, r := range list {
		if longest = max(longest, ansi.StringWidth(strings.TrimRight(cell(r, c, 2*fullPeer), " "))); longest >= fullPeer {
			return fullPeer
		}
	}
	return longest
}

func peerAt(cols []placed) int {
	return slices.IndexFunc(cols, func(p placed) bool { return p.column.width == 0 })
}

// placeWorth lays out the columns that a screen of width worth has, and those that the
// user chose.
func (d *Display) placeWorth(t *Trouble, screen, worth int) []placed {
	var out []placed
	rest := screen - len("! ")
	for i := range columns {
		c := &columns[i]
		if !d.hasColumn(c, t, worth) {
			continue
		}
		w := c.width
		if c.title == "COMM" && screen >= 90 {
			w = 15 // TASK_COMM_LEN, less the NUL
		} else if c.title == "COMM" && screen < 72 {
			w = 10
		}
		if len(out) > 0 {
			rest-- // the space before it
		}
		rest -= w
		out = append(out, placed{c, w, c.cell})
	}
	out[peerAt(out)].width = max(rest, minPeer)
	return out
}

// next is the sort order behind by of those whose column is on the screen, or the one
// before it. Severity is always there.
func (d *Display) next(by int, s *State, width int, c Caps) rows.Sort {
	cols := d.place(s, nil, width, c)
	for at := int(d.Sort) + by; ; at += by {
		v := rows.Sort((at + int(rows.Sorts)) % int(rows.Sorts))
		if v == rows.SortSeverity || slices.ContainsFunc(cols, func(p placed) bool { return p.sort == v }) {
			return v
		}
	}
}

// sortTitle is what the order is called: as its column is.
func (d *Display) sortTitle(c Caps) string {
	for i := range columns {
		if columns[i].sort == d.Sort {
			return c.title(&columns[i])
		}
	}
	return d.Sort.String()
}

func (c Caps) title(col *column) string {
	if !c.Unicode {
		return strings.ReplaceAll(col.title, "Δ", "d")
	}
	return col.title
}

// heading is the line above the table, with the sorted column marked.
func heading(cols []placed, d *Display, c Caps) string {
	var b strings.Builder
	if d.Sort == rows.SortSeverity {
		b.WriteString("!" + c.signs().order(d.Invert))
	} else {
		b.WriteString("  ")
	}
	for i, col := range cols {
		if i > 0 {
			b.WriteByte(' ')
		}
		title := c.title(col.column)
		if col.sort == d.Sort {
			title += c.signs().order(d.Invert)
		}
		b.WriteString(c.fit(title, col.width, col.right))
	}
	return b.String()
}

// next is the sort order behind by on the screen there is.
func (m *model) next(by int) rows.Sort {
	s := m.shown()
	if s == nil {
		return m.display.Sort
	}
	return m.display.next(by, s, m.width, m.opt.Caps)
}

// columns are those on the screen.
func (m *model) columns() []placed {
	s, list := m.shown(), m.rows()
	if s == nil {
		s = new(State)
	}
	from, to := window(len(list), tableRoom(&m.display, m.width, m.height), m.display.Top, m.display.index(list))
	return m.display.place(s, list[from:to], m.width, m.opt.Caps)
}
