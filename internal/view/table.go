package view

import (
	"cmp"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/charmbracelet/x/ansi"
)

// table is the tabs, the heading and the rows.
func table(s *State, look *Look, width, room int, c Caps) []string {
	rows := look.Arrange(s.Rows)
	room -= 2
	cursor := look.index(rows)
	from, to := window(len(rows), room, look.Top, cursor)
	cols := look.place(width)
	lines := []string{
		tabLine(s, look, counted(from, to, len(rows), look.noun()), width, c),
		c.paint(c.fit(heading(cols, look, c), width, false), sgrReverse),
	}
	for i, r := range rows[from:to] {
		lines = append(lines, r.painted(cols, from+i == cursor, width, c))
	}
	if len(rows) == 0 {
		lines = append(lines, c.cut("  "+look.nothing(s), width))
	}
	return lines
}

// painted is one line of the table. The cursor is in reverse, and has a sign.
func (r *Row) painted(cols []placed, cursor bool, width int, c Caps) string {
	line := c.cut(r.line(cols, cursor, c), width)
	if cursor {
		return c.paint(c.fit(line, width, false), sgrReverse)
	}
	return c.paintBy(strings.TrimRight(line, " "), r.Severity)
}

// noun is what one row is.
func (k *Look) noun() string {
	if k.Tab == TabListeners {
		return "listener"
	}
	return k.Grouping.noun()
}

// nothing says why there is no row.
func (k *Look) nothing(s *State) string {
	switch {
	case k.Filter != nil:
		return "nothing matches the filter (Esc clears it)"
	case k.Tab == TabListeners && len(s.Rows) > 0:
		return "no accepted connection seen yet"
	}
	return "no connection seen yet"
}

// counted words how many of n lines are on the screen.
func counted(from, to, n int, noun string) string {
	switch {
	case to-from >= n:
		return plural(n, noun)
	case from == 0:
		return fmt.Sprintf("%d of %s", to, plural(n, noun))
	}
	return fmt.Sprintf("%d-%d of %s", from+1, to, plural(n, noun))
}

// tabLine says which tab is shown, and how it is sorted and filtered. The names of
// the other tabs give way first, then the trace's own filter.
func tabLine(s *State, look *Look, count string, width int, c Caps) string {
	right := count
	if look.Tab != TabEvents {
		right += "  sort " + look.Sort.String()
		if look.Invert {
			right += " up"
		}
	}
	own := ""
	if look.Words != "" {
		own = "  filter " + c.safe(look.Words)
	}
	traced := "  filter none"
	if s.Filter != "" {
		traced = "  traced " + c.safe(s.Filter)
	} else if own != "" {
		traced = ""
	}
	for _, left := range []string{tabList(look, true), tabList(look, false)} {
		for _, end := range []string{own + traced, own} {
			if gap := width - ansi.StringWidth(left+right+end); gap >= 2 {
				return left + strings.Repeat(" ", gap) + right + end
			}
		}
	}
	return c.cut(tabList(look, false)+"  "+right+own, width)
}

// tabList names the tabs, or numbers those that are not shown.
func tabList(look *Look, whole bool) string {
	var b strings.Builder
	for t := range tabs {
		name := fmt.Sprintf("%d %s", t+1, t)
		switch {
		case t == look.Tab:
			b.WriteString(" [" + name + "]")
		case whole:
			b.WriteString(" " + name + " ")
		default:
			fmt.Fprintf(&b, " %d", t+1)
		}
	}
	return b.String()
}

// footer is the keys that do something now, what the last one did, or the filter
// that is being typed.
func footer(look *Look, width int, c Caps) string {
	switch {
	case look.Prompt:
		return c.cut(c.shortenLeft("/"+c.safe(look.Typed)+"_", width-len("  Enter apply  Esc cancel"))+"  Enter apply  Esc cancel", width)
	case look.Asking:
		return c.cut("export as:  n ndjson  c csv  h html  Esc cancel", width)
	case look.Notice != "":
		return c.cut(c.safe(look.Notice), width)
	}
	var parts []string
	used := 0
	for _, k := range look.keys() {
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

// keys are those that the footer tells, the most important first.
func (k *Look) keys() []string {
	if k.Page != NoPage {
		keys := []string{"Esc back", "q quit"}
		if k.Page == PageDetail {
			keys = append(keys, "n/p next/previous row", "y copy ss/tcpdump", "e export", "D doctor")
		}
		if k.Top > 0 {
			keys = append(keys, "j/k scroll")
		}
		return append(keys, "? help")
	}
	offer := func(yes bool, key string) string {
		if yes {
			return key
		}
		return ""
	}
	pause := offer(k.Mode == "", "space pause")
	if k.Mode != "" {
		pause = "space go on"
	}
	stop := offer(k.Writing != "", "w stop recording "+filepath.Base(k.Writing))
	record := offer(k.Offers.Record && stop == "", "w record")
	return []string{
		"? help", "q quit", stop, pause, offer(k.Offers.Step && k.Mode != "", "t/T step"), "/ filter",
		offer(k.Filter != nil, "Esc clear filter"), offer(k.Tab != TabEvents, "s sort"), offer(k.Tab < TabListeners, "g group"),
		offer(k.Tab != TabEvents, "Enter detail"), record, "D doctor", "e export", offer(k.Tab != TabEvents, "y copy ss/tcpdump"), offer(k.Tab != TabEvents, k.peerKey()),
		offer(k.Offers.Interval, "+/- interval"), offer(k.Offers.Reset, "r reset"),
	}
}

// shortenLeft cuts the front of s, so that its end is seen.
func (c Caps) shortenLeft(s string, width int) string {
	if n := ansi.StringWidth(s); n > width {
		return ansi.TruncateLeft(s, n-width+1, cmp.Or(c.signs().cut, "~"))
	}
	return s
}
