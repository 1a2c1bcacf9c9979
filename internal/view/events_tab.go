package view

import (
	"slices"
	"strings"
	"time"

	"github.com/twtrace/twtrace/internal/event"
)

// Entry is one thing that happened, and how often in a row.
type Entry struct {
	ID       uint64 // of the entry, as long as the Journal lives
	Time     int64  // when it last happened, ns since the epoch
	First    int64  // when it first did
	Severity event.Severity
	Count    uint64
	Text     string       // in words
	Event    *event.Event // the first one; nil if nothing more is known
}

// eventColumn is one column of the events; width 0 takes what the others leave.
type eventColumn struct {
	title string
	width int
	right bool
	cell  func(e *Entry, c Caps, width int) string
}

// eventColumns are those of a screen.
func eventColumns(s *State, screen int) []eventColumn {
	clock, who, where, space := "15:04:05", 16, 22, 0
	switch {
	case screen >= 120:
		clock, who, where, space = "15:04:05.000", 24, 40, 12
	case screen >= 100:
		clock, who, where, space = "15:04:05.000", 20, 24, 10
	case screen < 72:
		who = 0
	}
	if !severalSpaces(s.Events) {
		space = 0
	}
	all := []eventColumn{
		{"TIME", len(clock), false, func(e *Entry, _ Caps, _ int) string { return s.Clock.Of(time.Unix(0, e.Time)).Format(clock) }},
		{"TIMES", 6, true, func(e *Entry, c Caps, w int) string {
			if e.Count <= 1 {
				return ""
			}
			return c.signs().times + count(e.Count, w-1)
		}},
		{"EVENT", 0, false, func(e *Entry, c Caps, w int) string { return c.cut(eventCell(e, c, w), w) }},
		{"COMM[PID]", who, false, func(e *Entry, c Caps, w int) string {
			if e.Event == nil || !e.Event.Process.Known() {
				return unknown
			}
			return c.shorten(c.safe(processWords(e.Event)), w)
		}},
		{"NETNS", space, false, func(e *Entry, c Caps, w int) string {
			if e.Event == nil {
				return unknown
			}
			return c.shorten(c.safe(spaceWord(e.Event)), w)
		}},
		{"  WHERE", where, false, func(e *Entry, c Caps, w int) string { return whereCell(e, c, w) }},
	}
	rest := screen - len("! ")
	all = slices.DeleteFunc(all, func(v eventColumn) bool { return v.width == 0 && v.title != "EVENT" })
	for _, v := range all {
		rest -= v.width + 1
	}
	for i := range all {
		if all[i].width == 0 {
			all[i].width = rest + 1
		}
	}
	return all
}

// severalSpaces reports whether events are of more than one network namespace.
func severalSpaces(list []Entry) bool {
	var first uint32
	for i := range list {
		e := list[i].Event
		switch {
		case e == nil || e.NetNS == 0:
		case first == 0:
			first = e.NetNS
		case e.NetNS != first:
			return true
		}
	}
	return false
}

// eventCell is what happened, and of a storm how fast it is if that fits.
func eventCell(e *Entry, c Caps, width int) string {
	if e.Event == nil {
		return c.safe(e.Text)
	}
	text := eventWhat(e.Event)
	if more := stormMore(e.Event.Storm); more != "" && len(text)+2+len(more) <= width {
		text += "  " + more
	}
	return c.safe(text)
}

// whereCell is the end that it happened at, with the direction.
func whereCell(e *Entry, c Caps, width int) string {
	if e.Event == nil {
		return unknown
	}
	where, remote := eventEnd(e.Event)
	sign := c.signs().in
	switch {
	case where == "":
		return c.signs().none + " " + unknown
	case remote:
		sign = c.signs().out
	}
	return sign + " " + c.shorten(c.safe(where), width-2)
}

// events is the tab of what happened, the latest first.
func events(s *State, d *Display, width, room int, c Caps) []string {
	room -= 2
	cursor := d.eventIndex(s.Events)
	from, to := window(len(s.Events), room, d.Top, cursor)
	cols := eventColumns(s, width)
	heads := make([]string, len(cols))
	for i, col := range cols {
		heads[i] = c.fit(col.title, col.width, col.right)
	}
	lines := []string{
		tabLine(s, d, counted(from, to, len(s.Events), "event", c)+"  times "+s.Clock.Zone(s.Time), width, c),
		c.paint(c.fit("  "+strings.Join(heads, " "), width, false), sgrReverse),
	}
	for i := from; i < to; i++ {
		lines = append(lines, eventLine(&s.Events[i], cols, i == cursor, width, c))
	}
	if len(s.Events) == 0 {
		lines = append(lines, c.cut("  no events yet. Failed calls, refusals, losses and storms appear here", width))
	}
	return lines
}

// eventLine is one event. The cursor is in reverse, and has a sign.
func eventLine(e *Entry, cols []eventColumn, cursor bool, width int, c Caps) string {
	cells := make([]string, len(cols))
	for i, col := range cols {
		cells[i] = c.fit(col.cell(e, c, col.width), col.width, col.right)
	}
	sign := " "
	if cursor {
		sign = ">"
	}
	line := c.cut(mark(e.Severity)+sign+strings.Join(cells, " "), width)
	if cursor {
		return c.paint(c.fit(line, width, false), sgrReverse)
	}
	return c.paintBy(strings.TrimRight(line, " "), e.Severity)
}

// eventIndex is where the cursor is among the events, -1 if it is on none.
func (d *Display) eventIndex(list []Entry) int {
	if !d.EventMarked {
		return -1
	}
	return slices.IndexFunc(list, func(e Entry) bool { return e.ID == d.Event })
}
