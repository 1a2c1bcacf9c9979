package view

import (
	"cmp"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/charmbracelet/x/ansi"

	"github.com/twtrace/twtrace/internal/output"
	"github.com/twtrace/twtrace/internal/rows"
)

// table is the tabs, the heading and the rows.
func table(s *State, d *Display, width, room int, c Caps) []string {
	list := d.Arrange(s.list(d))
	room -= 2
	cursor := d.index(list)
	from, to := window(len(list), room, d.Top, cursor)
	cols := d.place(s, list[from:to], width, c)
	lines := []string{
		tabLine(s, d, counted(from, to, len(list), d.noun(), c), width, c),
		c.paint(c.fit(heading(cols, d, c), width, false), sgrReverse),
	}
	for i, r := range list[from:to] {
		lines = append(lines, paintedRow(r, cols, from+i == cursor, width, c))
	}
	if len(list) == 0 {
		lines = append(lines, c.cut("  "+d.nothing(s), width))
	}
	return lines
}

// noun is what one row is.
func (d *Display) noun() string {
	if d.Tab == TabListeners {
		return "listener"
	}
	if d.Grouping == rows.ByProcess {
		return "process"
	}
	return strings.TrimSuffix(strings.ToLower(d.Grouping.String()), "s")
}

// nothing says why there is no row.
func (d *Display) nothing(s *State) string {
	switch {
	case d.Filter != nil:
		return "no row matches the filter; Esc clears it"
	case d.Tab == TabListeners && len(s.list(d)) == 0:
		return "no listeners"
	case d.Tab == TabListeners:
		return "no accepted connections yet"
	}
	return "no connections yet"
}

// counted words which of n lines are on the screen, and draws it.
func counted(from, to, n int, noun string, c Caps) string {
	if to-from >= n {
		return plural(n, noun)
	}
	return output.Count(uint64(from+1)) + "-" + output.Count(uint64(to)) + " of " + plural(n, noun) + " " + c.scrollBar(from, to, n)
}

// scrollCells is how wide a scroll bar is.
const scrollCells = 8

// scrollBar draws where lines from to to are among n.
func (c Caps) scrollBar(from, to, n int) string {
	size := min(max((to-from)*scrollCells/n, 1), scrollCells)
	at := 0
	if rest := n - (to - from); rest > 0 {
		at = (from*(scrollCells-size) + rest/2) / rest
	}
	g := c.signs()
	return "[" + strings.Repeat(g.empty, at) + strings.Repeat(g.full, size) + strings.Repeat(g.empty, scrollCells-size-at) + "]"
}

// tabLine says which tab is shown, and how it is sorted and filtered. The names of
// the other tabs give way first, then the trace's own filter.
func tabLine(s *State, d *Display, count string, width int, c Caps) string {
	right := count
	if d.Tab != TabEvents {
		right += "  sort " + d.sortTitle(c)
		if d.Invert {
			right += " up"
		}
	}
	own := ""
	if d.Words != "" {
		own = "  filter " + c.safe(d.Words)
	}
	traced := "  filter none"
	if words := cmp.Or(s.Traced, s.Filter); words != "" {
		traced = "  traced " + c.safe(words)
	} else if own != "" {
		traced = ""
	}
	for _, left := range []string{tabList(d, true), tabList(d, false)} {
		for _, end := range []string{own + traced, own} {
			if gap := width - ansi.StringWidth(left+right+end); gap >= 2 {
				return left + strings.Repeat(" ", gap) + right + end
			}
		}
	}
	if bar := strings.Index(right, " ["); bar >= 0 { // it gives way to the words
		_, rest, _ := strings.Cut(right, "]")
		return c.cut(tabList(d, false)+"  "+right[:bar]+rest+own, width)
	}
	return c.cut(tabList(d, false)+"  "+right+own, width)
}

// tabList names the tabs, or numbers those that are not shown.
func tabList(d *Display, whole bool) string {
	var b strings.Builder
	for t := range tabs {
		b.WriteString(tabWord(d, t, whole))
	}
	return b.String()
}

// tabWord is a tab in the line of all of them.
func tabWord(d *Display, t Tab, whole bool) string {
	switch {
	case t == d.Tab:
		return " [" + tabName(t) + "]"
	case whole:
		return " " + tabName(t) + " "
	}
	return fmt.Sprintf(" %d", t+1)
}

// tabName is the key of a tab, and its name.
func tabName(t Tab) string { return fmt.Sprintf("%d %s", t+1, t) }

// footer is the keys that do something now, what the last one did, or the filter
// that is being typed.
func footer(d *Display, width int, c Caps) string {
	switch {
	case d.Prompt:
		return d.prompt(width, c)
	case d.Asking:
		return c.cut("export as:  n JSON lines  c CSV  h HTML  Esc cancel", width)
	case d.Notice != "":
		return c.cut(c.safe(d.Notice), width)
	}
	var parts []string
	used := 0
	for _, k := range d.keys() {
		if k == "" {
			continue
		}
		k = c.safe(k)
		if used += ansi.StringWidth(k) + 2; used-2 > width {
			break
		}
		parts = append(parts, k)
	}
	return strings.Join(parts, "  ")
}

// keys are those that the footer shows, the most important first.
func (d *Display) keys() []string {
	if d.Page != NoPage {
		keys := []string{"Esc back", "q quit"}
		switch d.Page {
		case PageEvent:
			keys = append(keys, "y copy", "Y copy undo", "n/p next/previous event")
		case PageDoctor:
			keys = append(keys, "y copy", "Y copy undo")
		case PageDetail:
			keys = append(keys, "y copy", "Y copy undo", "n/p next/previous row", "e export", "D doctor")
		}
		if d.Page == PageColumns {
			keys = append(keys, "space show or hide", "a automatic")
		}
		if d.position != "" {
			keys = append([]string{d.position, "j/k scroll"}, keys...)
		}
		return append(keys, "? help")
	}
	offer := func(yes bool, key string) string {
		if yes {
			return key
		}
		return ""
	}
	pause := offer(d.Mode == "", "space pause")
	if d.Mode != "" {
		pause = "space resume"
	}
	stop := offer(d.Writing != "", "w stop recording "+filepath.Base(d.Writing))
	record := offer(d.Offers.Record && stop == "", "w record")
	return []string{
		"? help", "q quit", stop, pause, offer(d.Offers.Step && d.Mode != "", "t/T step"), "/ filter",
		offer(d.Filter != nil, "Esc clear filter"), offer(d.Tab != TabEvents, "s sort"), offer(d.Tab < TabListeners, "g group"),
		"Enter detail", record, "D doctor", "e export", "C columns", "y copy ss/tcpdump", offer(d.Tab != TabEvents, d.peerKey()),
		offer(d.Offers.Interval, "+/- interval"), offer(d.Offers.Reset, "r reset"),
	}
}

// shortenLeft cuts the front of s, so that its end is seen.
func (c Caps) shortenLeft(s string, width int) string {
	if n := ansi.StringWidth(s); n > width {
		return ansi.TruncateLeft(s, n-width+1, cmp.Or(c.signs().cut, "~"))
	}
	return s
}
