package view

import (
	"slices"
	"strings"
	"time"

	tea "charm.land/bubbletea/v2"

	"github.com/twtrace/twtrace/internal/filter"
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
	case m.look.Prompt:
		m.edit(name, text)
		return nil
	}
	if text != "" && k.Mod&^tea.ModShift == 0 {
		name = text
	}
	if m.look.Asking {
		return m.export(name)
	}
	m.look.Notice = ""
	for _, try := range []func(string) (tea.Cmd, bool){m.general, m.move, m.choose, m.time, m.keep} {
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
	case "esc", "backspace":
		m.back()
	default:
		return nil, false
	}
	return nil, true
}

// page opens a page, or closes it if it is open.
func (m *model) page(p Page) {
	if m.look.Page == p {
		p = NoPage
	}
	m.look.Page, m.look.Top = p, 0
}

// back leaves a page, then the filter, then the cursor.
func (m *model) back() {
	switch k := &m.look; {
	case k.Page != NoPage:
		m.page(k.Page)
	case k.Filter != nil:
		k.Filter, k.Words, k.Not = nil, "", false
	default:
		k.Marked, k.Top, k.Order = false, 0, nil
	}
}

// choose are the keys that choose what is shown.
func (m *model) choose(key string) (tea.Cmd, bool) {
	k := &m.look
	switch key {
	case "1", "2", "3", "4", "5":
		k.setTab(Tab(key[0] - '1'))
	case "tab":
		k.setTab((k.Tab + 1) % tabs)
	case "shift+tab":
		k.setTab((k.Tab + tabs - 1) % tabs)
	case "enter":
		m.open()
	case "s", ">", ".":
		k.Sort, k.Order = k.next(1, m.width), nil
	case "<", ",":
		k.Sort, k.Order = k.next(-1, m.width), nil
	case "I":
		k.Invert, k.Order = !k.Invert, nil
	case "p":
		k.nextPeer()
	case "g":
		if k.Tab < TabListeners {
			k.setGrouping(k.Grouping.next())
		}
	case "/":
		k.Prompt, k.Typed, k.Page = true, k.Words, NoPage
		m.before = k.Words
	default:
		return nil, false
	}
	return nil, true
}

// open shows the row under the cursor in detail: without one that of the worst
// finding, or the first.
func (m *model) open() {
	rows := m.rows()
	if m.look.Tab == TabEvents || len(rows) == 0 {
		return
	}
	if m.look.index(rows) < 0 {
		m.look.Marked, m.look.Cursor = true, rows[m.worst(rows)].id
	}
	m.look.Page, m.look.Top = PageDetail, 0
}

func (m *model) worst(rows []*Row) int {
	for i := range m.shown().Findings {
		f := &m.shown().Findings[i]
		if at := slices.IndexFunc(rows, func(r *Row) bool { return concerns(f, r) }); at >= 0 && severityOf(f.Severity) > Fine {
			return at
		}
	}
	return 0
}

// move are the keys that move the cursor or scroll.
func (m *model) move(key string) (tea.Cmd, bool) {
	screen := max(tableRoom(&m.look, m.width, m.height)-1, 1)
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
		if m.look.Page != PageDetail {
			return nil, false
		}
		m.look.Top = 0
		if key == "n" {
			return m.moveCursor(1), true
		}
		return m.moveCursor(-1), true
	default:
		return nil, false
	}
	if m.look.Page != NoPage || m.look.Tab == TabEvents {
		m.scroll(by)
		return nil, true
	}
	return m.moveCursor(by), true
}

// scroll moves a page or the events.
func (m *model) scroll(by int) {
	s := m.shown()
	if s == nil {
		return
	}
	n, room := len(s.Events), tableRoom(&m.look, m.width, m.height)
	if m.look.Page != NoPage {
		_, lines := page(s, &m.look, m.width, m.opt.Caps)
		n, room = len(lines), m.height-2
	}
	m.look.Top, _ = window(n, room, max(m.look.Top+by, 0), -1)
}

// moveCursor moves it by rows, and holds the order of the rows for a while.
func (m *model) moveCursor(by int) tea.Cmd {
	rows := m.rows()
	if len(rows) == 0 {
		return nil
	}
	at := m.look.index(rows)
	switch {
	case at >= 0:
		at = min(max(at+by, 0), len(rows)-1)
	case by >= 0 && by < 1<<20: // the first move only shows the cursor
		at = 0
	default:
		at = min(max(by, 0), len(rows)-1)
	}
	m.look.Marked, m.look.Cursor = true, rows[at].id
	if m.look.Page == NoPage {
		m.look.Top, _ = window(len(rows), tableRoom(&m.look, m.width, m.height), m.look.Top, at)
	}
	m.look.Order = rows
	m.moves++
	move := m.moves
	return tea.Tick(holdFor, func(time.Time) tea.Msg { return thawMsg(move) })
}

// edit is a key while the filter is typed. What parses is applied at once.
func (m *model) edit(key, text string) {
	k := &m.look
	switch {
	case key == "enter" || key == "esc":
		k.Prompt = false
		err := m.filter(k.Typed)
		if err != nil && key == "enter" {
			k.Notice = "filter: " + err.Error()
		}
		if err != nil || key == "esc" {
			m.filter(m.before) // as it was
		}
		return
	case key == "backspace":
		if r := []rune(k.Typed); len(r) > 0 {
			k.Typed = string(r[:len(r)-1])
		}
	case key == "ctrl+u":
		k.Typed = ""
	default:
		k.Typed += text
	}
	m.filter(k.Typed) // half a word may not parse; Enter says so
}

// filter shows the rows that the words describe. A "!" and a blank in front of them
// all shows the others.
func (m *model) filter(words string) error {
	k := &m.look
	words = strings.TrimSpace(words)
	if words == "" {
		k.Filter, k.Words, k.Not = nil, "", false
		return nil
	}
	rest, not := strings.CutPrefix(words, "!")
	f, err := filter.ParseLine(rest)
	if err != nil {
		return err
	}
	k.Filter, k.Words, k.Not, k.Top, k.Order = f, words, not, 0, nil
	return nil
}
