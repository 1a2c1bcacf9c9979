package view

import (
	"slices"
	"time"

	tea "charm.land/bubbletea/v2"

	"github.com/twtrace/twtrace/internal/event"
	"github.com/twtrace/twtrace/internal/rows"
)

// open shows the row under the cursor in detail: without one that of the worst
// finding, or the first. Of the events it shows the one under the cursor, or the latest.
func (m *model) open() {
	if m.display.Page == PageHelp || m.display.Page == PageDoctor {
		return
	}
	if m.display.Tab == TabEvents {
		m.openEvent()
		return
	}
	list := m.rows()
	if len(list) == 0 {
		return
	}
	if m.display.index(list) < 0 {
		m.display.Marked, m.display.Cursor = true, list[m.worst(list)].ID
	}
	m.show(PageDetail)
}

func (m *model) worst(list []*rows.Row) int {
	for i := range m.shown().Findings {
		f := &m.shown().Findings[i]
		if at := slices.IndexFunc(list, func(r *rows.Row) bool { return concerns(f, r) }); at >= 0 && severityOf(f.Severity) > event.SeverityNone {
			return at
		}
	}
	return 0
}

// move are the keys that move the cursor or scroll.
func (m *model) move(key string) (tea.Cmd, bool) {
	screen := max(tableRoom(&m.display, m.width, m.height)-1, 1)
	by := 0
	switch key {
	case "j", "down":
		by = 1
	case "k", "up":
		by = -1
	case "pgdown":
		by = screen
	case "pgup":
		by = -screen
	case "home":
		by = -1 << 30
	case "end":
		by = 1 << 30
	case "n", "p":
		if m.display.Page != PageDetail && m.display.Page != PageEvent {
			return nil, false
		}
		if by = 1; key == "p" {
			by = -1
		}
		m.display.Top = 0
		if m.display.Page == PageEvent {
			m.moveEvent(by)
			return nil, true
		}
		return m.moveCursor(by), true
	default:
		return nil, false
	}
	return m.moveBy(by), true
}

// moveBy scrolls a page, or moves the cursor.
func (m *model) moveBy(by int) tea.Cmd {
	switch {
	case m.display.Page != NoPage:
		m.scroll(by)
	case m.display.Tab == TabEvents:
		m.moveEvent(by)
	default:
		return m.moveCursor(by)
	}
	return nil
}

// scroll moves a page, or the rows of a tab where there is no cursor.
func (m *model) scroll(by int) {
	s, d := m.shown(), &m.display
	if s == nil {
		return
	}
	n, room := len(s.Events), tableRoom(d, m.width, m.height)
	switch {
	case d.Page != NoPage:
		_, lines := page(s, d, m.width, m.opt.Caps)
		n, room = len(lines), m.height-2
	case d.Tab != TabEvents:
		n = len(m.rows())
	}
	d.Top, _ = window(n, room, max(d.Top+by, 0), -1)
}

// moveCursor moves it by rows.
func (m *model) moveCursor(by int) tea.Cmd {
	list := m.rows()
	if len(list) == 0 {
		return nil
	}
	at := m.display.index(list)
	switch {
	case at >= 0:
		at = min(max(at+by, 0), len(list)-1)
	case by >= 0 && by < 1<<20: // the first move only shows the cursor
		at = 0
	default:
		at = min(max(by, 0), len(list)-1)
	}
	return m.cursorTo(list, at)
}

// cursorTo puts the cursor on a row, and holds the order of the rows for a while.
func (m *model) cursorTo(list []*rows.Row, at int) tea.Cmd {
	m.display.Marked, m.display.Cursor = true, list[at].ID
	if m.display.Page == NoPage {
		m.display.Top, _ = window(len(list), tableRoom(&m.display, m.width, m.height), m.display.Top, at)
	}
	m.display.Order = list
	m.moves++
	move := m.moves
	return tea.Tick(holdFor, func(time.Time) tea.Msg { return thawMsg(move) })
}

// openEvent shows the event under the cursor.
func (m *model) openEvent() {
	s, d := m.shown(), &m.display
	if s == nil || len(s.Events) == 0 {
		return
	}
	if d.eventIndex(s.Events) < 0 {
		d.EventMarked, d.Event = true, s.Events[0].ID
	}
	m.show(PageEvent)
}

// moveEvent moves the cursor by events.
func (m *model) moveEvent(by int) {
	s, d := m.shown(), &m.display
	if s == nil || len(s.Events) == 0 {
		return
	}
	at := d.eventIndex(s.Events)
	switch {
	case at < 0 && by >= 0 && by < 1<<20: // the first move only shows the cursor
		at = 0
	default:
		at = min(max(max(at, 0)+by, 0), len(s.Events)-1)
	}
	d.EventMarked, d.Event = true, s.Events[at].ID
	if d.Page == NoPage {
		d.Top, _ = window(len(s.Events), tableRoom(d, m.width, m.height), d.Top, at)
	}
}
