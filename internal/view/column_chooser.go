package view

import (
	"maps"
	"slices"
	"strings"

	tea "charm.land/bubbletea/v2"
)

// minPeer is the least width of the peer.
const minPeer = 10

// hasColumn reports whether a screen of width worth has a column: as the user chose, or
// else if it is wide enough.
func (d *Display) hasColumn(c *column, t *Trouble, worth int) bool {
	if shown, chosen := d.Columns[strings.TrimSpace(c.title)]; chosen {
		return shown
	}
	return worth >= c.at(t)
}

// fitting leaves out the last columns that a screen has no room for.
func fitting(cols []placed, screen int) []placed {
	used := len("! ") - 1
	for _, p := range cols {
		used += p.width + 1
	}
	for i := len(cols) - 1; i >= 0 && used > screen; i-- {
		if !cols[i].fixed() {
			used -= cols[i].width + 1
			cols = slices.Delete(cols, i, i+1)
		}
	}
	return cols
}

// fixed reports whether a column cannot be hidden: the one that takes what is left.
func (c *column) fixed() bool { return c.width == 0 }

// columnWords say what a column holds.
var columnWords = map[string]string{
	"COMM": "the owner's process name", "PID": "its process id, or how many there are", "UNIT/POD": "its systemd unit, container or pod",
	"LOCAL": "the local end", "PEER": "the remote end of a client, the port of a server",
	"TW": "sockets in TIME_WAIT", "ΔTW/s": "how fast that changes", "PARK": "sockets in FIN_WAIT2 without a process", "EST": "open connections", "CLWAIT": "connections in CLOSE_WAIT: the peer has closed, the process has not", "NETNS": "network namespace",
	"IN/s": "starts of TIME_WAIT per second", "OUT/s": "ends of TIME_WAIT per second", "PORT%": "local ports to that destination in use",
	"OPEN/s": "connections established per second", "CLOSE/s": "connections ended per second", "FAIL/s": "calls that failed per second",
	"LIFE50": "median lifetime", "LIFE99": "lifetime that one in a hundred exceeds", "CLOSER": "whose FIN came first", "60s": "TIME_WAIT in the last minute",
}

// chooserIntro is how many lines of the page are above the columns.
const chooserIntro = 2

// chooserPage is every column, and whether the table has it.
func chooserPage(s *State, d *Display, width int, c Caps) (title string, lines []string) {
	how := " as the screen allows"
	if len(d.Columns) > 0 {
		how = " as chosen, until twtrace ends"
	}
	lines = append(lines, "  columns"+how, "")
	on := d.place(s, nil, width, c)
	for i := range columns {
		col := &columns[i]
		name := strings.TrimSpace(col.title)
		shown := slices.ContainsFunc(on, func(p placed) bool { return p.column == col })
		box, note := "[ ] ", ""
		switch {
		case shown:
			box = "[x] "
		case d.Columns[name]:
			box, note = "[x] ", "  (no room: hide another one)"
		}
		sign := "  "
		if i == d.Choice {
			sign = "> "
		}
		if !c.Unicode {
			name = strings.ReplaceAll(name, "Δ", "d")
		}
		line := sign + box + c.fit(name, 10, false) + columnWords[strings.TrimSpace(col.title)] + note
		if i == d.Choice {
			line = c.paint(c.fit(line, width, false), sgrReverse)
		}
		lines = append(lines, line)
	}
	return " columns", lines
}

// chooser are the keys of the page that chooses columns.
func (m *model) chooser(key string) (tea.Cmd, bool) {
	d := &m.display
	if d.Page != PageColumns {
		return nil, false
	}
	switch key {
	case "j", "down":
		d.Choice++
	case "k", "up":
		d.Choice--
	case "home":
		d.Choice = 0
	case "end":
		d.Choice = len(columns) - 1
	case "space", " ", "enter", "x":
		m.toggleColumn()
	case "a":
		d.Columns = nil
	default:
		return nil, false
	}
	d.Choice = min(max(d.Choice, 0), len(columns)-1)
	d.Top, _ = window(chooserIntro+len(columns), m.height-2, d.Top, chooserIntro+d.Choice)
	return nil, true
}

// chooseLine chooses the column on a line of the page, and shows or hides it.
func (m *model) chooseLine(line int) {
	if i := line - chooserIntro; i >= 0 && i < len(columns) {
		m.display.Choice = i
		m.toggleColumn()
	}
}

// toggleColumn shows or hides the column that the chooser is at.
func (m *model) toggleColumn() {
	d := &m.display
	col := &columns[d.Choice]
	name := strings.TrimSpace(col.title)
	if col.fixed() {
		d.Notice = name + " is always shown: it takes the room that the others leave"
		return
	}
	chosen := maps.Clone(d.Columns) // a Display may share it
	if chosen == nil {
		chosen = make(map[string]bool)
	}
	if shown, ok := chosen[name]; ok {
		chosen[name] = !shown
	} else {
		chosen[name] = !slices.ContainsFunc(m.columns(), func(p placed) bool { return p.column == col })
	}
	d.Columns = chosen
}
