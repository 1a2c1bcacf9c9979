package view

import (
	"math"
	"slices"
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
	{"UNIT/POD", noSort, 160, 16, false, func(r *Row, c Caps, w int) string { return r.home(c, w) }},
	{"LOCAL", noSort, 132, 15, false, func(r *Row, c Caps, w int) string { return c.endpoint(r.Local, w) }},
	{"  PEER", noSort, 0, 0, false, func(r *Row, c Caps, w int) string { return r.peer(c, w) }},
	{"TW", SortTimeWait, 0, 7, true, func(r *Row, _ Caps, w int) string { return count(r.TimeWait, w) }},
	{"ΔTW/s", SortGrowth, 100, 6, true, func(r *Row, _ Caps, w int) string { return growth(r.In-r.Out, w) }},
	{"PARK", noSort, 185, 6, true, func(r *Row, _ Caps, w int) string { return count(r.Parked, w) }},
	{"EST", noSort, 185, 6, true, func(r *Row, _ Caps, w int) string { return count(r.Established, w) }},
	{"IN/s", SortIn, 200, 6, true, func(r *Row, _ Caps, w int) string { return perSecond(r.In, w) }},
	{"OUT/s", SortOut, 200, 6, true, func(r *Row, _ Caps, w int) string { return perSecond(r.Out, w) }},
	{"PORT%", SortPorts, 90, 6, true, func(r *Row, _ Caps, _ int) string { return r.portShare() }},
	{"OPEN/s", SortOpen, 60, 7, true, func(r *Row, _ Caps, w int) string { return perSecond(r.Open, w) }},
	{"CLOSE/s", SortClose, 120, 8, true, func(r *Row, _ Caps, w int) string { return perSecond(r.Rates.Close, w) }},
	{"FAIL/s", SortFail, 110, 7, true, func(r *Row, _ Caps, w int) string { return perSecond(r.Fail, w) }},
	{"LIFE50", SortLife, 72, 7, true, func(r *Row, _ Caps, _ int) string { return r.life(0.5) }},
	{"LIFE99", noSort, 170, 6, true, func(r *Row, _ Caps, _ int) string { return r.life(0.99) }},
	{"CLOSER", noSort, 80, 11, false, func(r *Row, _ Caps, _ int) string { return r.closerText() }},
	{"60s", noSort, 150, sparkBins, false, func(r *Row, c Caps, _ int) string { return r.spark(c) }},
}

// portShare is the use of the ephemeral range towards the row's destination.
func (r *Row) portShare() string {
	if r.Usable <= 0 {
		return unknown
	}
	return output.Percent(uint64(r.Ports), uint64(r.Usable))
}

// growth words a rate of change in width cells, with its sign.
func growth(v float64, width int) string {
	if !known(v) {
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

// home is where the row's processes belong: their pod, else their container, else
// their unit.
func (r *Row) home(c Caps, width int) string {
	w := r.who()
	for _, v := range []string{either(w.PodName, w.Pod), either(w.ContainerName, w.Container), w.Unit} {
		if v != "" {
			return c.shorten(c.word(v), width)
		}
	}
	return unknown
}

// spark draws the row's last minute. Its scale is a power of two, which stays for as
// long as nothing exceeds it and its cause is in sight: a shape does not jump.
func (r *Row) spark(c Caps) string {
	top := uint32(8)
	for _, v := range r.Minute {
		for v > top && top < 1<<31 {
			top *= 2
		}
	}
	levels := c.signs().levels
	var b strings.Builder
	for _, v := range r.Minute {
		b.WriteString(levels[min(int(uint64(v)*uint64(len(levels))/uint64(top)), len(levels)-1)])
	}
	return b.String()
}

// placed is a column with its width on a screen.
type placed struct {
	*column
	width int
	cell  func(r *Row, c Caps, width int) string
}

// fullPeer is the longest address and port there are, and the arrow.
const fullPeer = len("[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535") + 2

// place chooses the columns for a screen, and gives the peer what is left. Where it
// is to be shown in full, other columns make room for it, those of the least worth
// first.
func (k *Look) place(screen int) []placed {
	out := place(screen, screen)
	for worth := screen; k.Full && out[peerAt(out)].width < fullPeer && worth > 0; worth-- {
		out = place(screen, worth)
	}
	if k.Named {
		out[peerAt(out)].cell = k.peerNamed
	}
	return out
}

func peerAt(cols []placed) int {
	return slices.IndexFunc(cols, func(p placed) bool { return p.column.width == 0 })
}

// place lays out the columns that a screen of width worth has.
func place(screen, worth int) []placed {
	var out []placed
	rest := screen - len("! ")
	for i := range columns {
		c := &columns[i]
		if worth < c.from {
			continue
		}
		w := c.width
		if c.title == "COMM" && screen >= 90 {
			w = 15 // TASK_COMM_LEN, less the NUL
		}
		if len(out) > 0 {
			rest-- // the space before it
		}
		rest -= w
		out = append(out, placed{c, w, c.cell})
	}
	out[peerAt(out)].width = max(rest, 10)
	return out
}

// next is the sort order behind by of those whose column is on the screen, or the one
// before it.
func (k *Look) next(by, width int) Sort {
	cols := k.place(width)
	for s := int(k.Sort) + by; ; s += by {
		v := Sort((s + int(sorts)) % int(sorts))
		if slices.ContainsFunc(cols, func(p placed) bool { return p.sort == v }) {
			return v
		}
	}
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
		if !c.Unicode {
			title = strings.ReplaceAll(title, "Δ", "d")
		}
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
