package view

import (
	"slices"
	"strings"

	tea "charm.land/bubbletea/v2"
	"github.com/charmbracelet/x/ansi"

	"github.com/twtrace/twtrace/internal/rows"
)

// wheelLines is how far one notch of the wheel goes.
const wheelLines = 3

// mouseMode is what the terminal is to report: nothing, if the user wants the mouse for
// the terminal itself.
func (m *model) mouseMode() tea.MouseMode {
	if m.opt.Mouse && !m.released {
		return tea.MouseModeCellMotion
	}
	return tea.MouseModeNone
}

// releaseMouse gives the mouse to the terminal, or takes it again.
func (m *model) releaseMouse() {
	if !m.opt.Mouse {
		m.display.Notice = "the mouse is the terminal's: --no-mouse"
		return
	}
	m.released = !m.released
	m.display.Notice = "the mouse is twtrace's again: click, wheel"
	if m.released {
		m.display.Notice = "the mouse is the terminal's: it selects text; M takes it again"
	}
}

// wheel scrolls.
func (m *model) wheel(e tea.Mouse) tea.Cmd {
	by := 0
	switch e.Button {
	case tea.MouseWheelUp:
		by = -wheelLines
	case tea.MouseWheelDown:
		by = wheelLines
	default:
		return nil
	}
	m.display.Notice, m.display.Clip = "", nil
	d := &m.display
	if d.Prompt || d.Asking {
		return nil
	}
	if d.Page == NoPage && (d.Tab == TabEvents && !d.EventMarked || d.Tab != TabEvents && !d.Marked) {
		m.scroll(by)
		return nil
	}
	return m.moveBy(by)
}

// click does what a click on that part of the screen asks for.
func (m *model) click(e tea.Mouse) tea.Cmd {
	d := &m.display
	if d.Prompt || d.Asking || e.Y < 0 || e.Y >= len(m.frame) {
		return nil
	}
	d.Notice, d.Clip = "", nil
	switch {
	case e.Button == tea.MouseRight:
		m.back()
	case e.Button != tea.MouseLeft, m.shown() == nil:
	case d.Page != NoPage:
		return m.clickPage(e.Y)
	default:
		return m.clickTab(e)
	}
	return nil
}

// clickPage is a click on a line of a page: a command is copied, a column is chosen.
func (m *model) clickPage(y int) tea.Cmd {
	d := &m.display
	_, p := pageOf(m.shown(), d, m.width, m.opt.Caps)
	from, to := window(len(p.lines), m.height-2, d.Top, -1)
	line := from + y - 1 // the title is above
	if y < 1 || line >= to {
		return nil
	}
	for _, c := range p.commands {
		if line >= c.line && line < c.ends {
			return m.hand(c.text, c.undoes)
		}
	}
	if d.Page == PageColumns {
		m.chooseLine(line)
	}
	return nil
}

// clickTab is a click on a tab: on its name, on a heading, on a row, or on the finding.
func (m *model) clickTab(e tea.Mouse) tea.Cmd {
	d := &m.display
	line := ansi.Strip(m.frame[e.Y])
	names := m.tabLineAt()
	switch {
	case e.Y < names:
		if strings.Contains(line, "Enter=why") {
			m.open()
		}
	case e.Y == names:
		if t, ok := tabAt(d, line, e.X); ok {
			d.setTab(t)
		}
	case e.Y == names+1:
		m.clickHeading(e.X)
	default:
		if c := m.commandAt(strings.TrimRight(line, " ")); c != nil {
			return m.hand(c.text, c.undoes)
		}
		return m.clickRow(e.Y - names - 2)
	}
	return nil
}

// commandAt is the command below the rows that a line is of, nil if it is of none.
func (m *model) commandAt(line string) *command {
	for _, c := range why(m.shown(), &m.display, m.width, m.height, m.opt.Caps).commands {
		if slices.Contains(commandLines(m.opt.Caps.safe(c.text), m.width), line) {
			return &c
		}
	}
	return nil
}

// tabLineAt is which line of the frame names the tabs: its number, or that of the last
// line if there is none.
func (m *model) tabLineAt() int {
	shown := "[" + tabName(m.display.Tab) + "]"
	for i, l := range m.frame {
		if strings.Contains(ansi.Strip(l), shown) {
			return i
		}
	}
	return len(m.frame)
}

// tabAt is the tab whose name is at a cell of the line that names them.
func tabAt(d *Display, line string, x int) (Tab, bool) {
	for _, whole := range []bool{true, false} {
		if !strings.HasPrefix(line, tabList(d, whole)) {
			continue
		}
		at := 0
		for t := range tabs {
			name := tabWord(d, t, whole)
			if x >= at && x < at+len(name) {
				return t, true
			}
			at += len(name)
		}
	}
	return 0, false
}

// clickHeading sorts by the column at a cell, the other way round if it is sorted so.
func (m *model) clickHeading(x int) {
	d := &m.display
	if d.Tab == TabEvents {
		return
	}
	at := len("! ")
	if x < at {
		m.sortBy(rows.SortSeverity)
		return
	}
	for _, col := range m.columns() {
		if x >= at && x <= at+col.width { // with the blank behind it
			if col.sort == noSort {
				d.Notice = "rows are not sorted by " + strings.TrimSpace(col.title)
				return
			}
			m.sortBy(col.sort)
			return
		}
		at += col.width + 1
	}
}

// sortBy sorts by a column, the other way round if the rows are sorted by it.
func (m *model) sortBy(by rows.Sort) {
	d := &m.display
	d.Invert = by == d.Sort && !d.Invert
	d.Sort, d.Order = by, nil
}

// clickRow puts the cursor on a row of the screen, and opens it if it is there already.
func (m *model) clickRow(at int) tea.Cmd {
	d := &m.display
	room := tableRoom(d, m.width, m.height)
	if at < 0 || at >= room {
		return nil
	}
	if d.Tab == TabEvents {
		list := m.shown().Events
		from, to := window(len(list), room, d.Top, d.eventIndex(list))
		switch {
		case from+at >= to:
		case d.eventIndex(list) == from+at:
			m.open()
		default:
			d.Event, d.EventMarked, d.Top = list[from+at].ID, true, from
		}
		return nil
	}
	list := m.rows()
	from, to := window(len(list), room, d.Top, d.index(list))
	if from+at >= to {
		return nil
	}
	if d.index(list) == from+at {
		m.open()
		return nil
	}
	d.Top = from
	return m.cursorTo(list, from+at)
}
