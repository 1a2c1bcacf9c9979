package view

import (
	"slices"

	tea "charm.land/bubbletea/v2"

	"github.com/twtrace/twtrace/internal/rows"
)

// key does what a key press asks for.
func (m *model) key(k tea.Key) tea.Cmd {
	text := k.Text
	k.Mod &^= tea.ModAlt // a lone Esc before it
	name := k.Keystroke()
	switch {
	case name == "ctrl+c":
		return tea.Quit
	case name == "ctrl+z":
		return m.jobs.suspend()
	case m.display.Prompt:
		m.edit(name, text)
		return nil
	}
	if text != "" && k.Mod&^tea.ModShift == 0 {
		name = text
	}
	if m.display.Asking {
		return m.export(name)
	}
	showing := m.display.Clip
	m.display.Notice, m.display.Clip = "", nil
	switch name {
	case "v":
		m.display.Clip = showing
	case "y", "Y":
	default:
		m.clipped = "" // y starts over
	}
	for _, try := range []func(string) (tea.Cmd, bool){m.chooser, m.general, m.move, m.choose, m.time, m.keep} {
		if cmd, ok := try(name); ok {
			return cmd
		}
	}
	return nil
}

// general are the keys that always do the same.
func (m *model) general(key string) (tea.Cmd, bool) {
	switch key {
	case "q", "Q", "f10":
		return tea.Quit, true
	case "?", "h", "f1":
		m.page(PageHelp)
	case "D":
		m.page(PageDoctor)
	case "C":
		m.page(PageColumns)
	case "M":
		m.releaseMouse()
	case "esc", "backspace":
		m.back()
	default:
		return nil, false
	}
	return nil, true
}

// page opens a page, or closes it if it is open.
func (m *model) page(p Page) {
	if m.display.Page == p {
		p = NoPage
	}
	m.show(p)
}

// show opens a page, at its top.
func (m *model) show(p Page) {
	m.display.Page, m.display.Top, m.display.entered = p, 0, make(map[uint32]string)
}

// back leaves a page, then the filter, then the cursor.
func (m *model) back() {
	switch d := &m.display; {
	case d.Page != NoPage:
		m.page(d.Page)
	case d.Filter != nil:
		d.Filter, d.Words = nil, ""
	default:
		d.Marked, d.EventMarked, d.Top, d.Order = false, false, 0, nil
	}
}

// choose are the keys that choose what is shown.
func (m *model) choose(key string) (tea.Cmd, bool) {
	d := &m.display
	switch key {
	case "1", "2", "3", "4", "5":
		d.setTab(Tab(key[0] - '1'))
	case "tab":
		d.setTab((d.Tab + 1) % tabs)
	case "shift+tab":
		d.setTab((d.Tab + tabs - 1) % tabs)
	case "enter":
		m.open()
	case "s", ">", ".":
		d.Sort, d.Order = m.next(1), nil
	case "<", ",":
		d.Sort, d.Order = m.next(-1), nil
	case "I":
		d.Invert, d.Order = !d.Invert, nil
	case "p":
		d.nextPeer()
	case "g":
		if d.Tab < TabListeners {
			d.setGrouping(nextGrouping(d.Grouping))
		}
	case "/":
		m.prompt()
	default:
		return nil, false
	}
	return nil, true
}

// nextGrouping is the grouping that the key g goes to.
func nextGrouping(g rows.Grouping) rows.Grouping {
	order := []rows.Grouping{rows.ByFlow, rows.ByProcess, rows.ByUnit, rows.ByPeer, rows.ByNetNS}
	return order[(slices.Index(order, g)+1)%len(order)]
}
