package view

import (
	"errors"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/twtrace/twtrace/internal/filter"
	"github.com/twtrace/twtrace/internal/rows"
)

// promptLine is what belongs to the filter that is being typed, beside Display.Typed.
type promptLine struct {
	behind  int      // bytes of Typed that are behind the cursor
	problem string   // why it is no filter, "" if it is one
	means   string   // what it is, or lacks, in words
	offers  []string // what Tab completes to
	choice  int      // which of offers Tab has put in; -1 for none
}

// typing is what the keys of the prompt have to remember.
type typing struct {
	before  string            // the filter before another was typed
	history []string          // the latest last
	at      int               // which of history is shown; its length for none of them
	draft   string            // what was typed before history was
	spaces  map[uint32]string // names of network namespaces
	offers  []offer           // what Tab goes through
	from    int               // where the choice of offers starts
}

// maxHistory is how many filters are remembered.
const maxHistory = 100

// prompt starts to type a filter.
func (m *model) prompt() {
	d := &m.display
	d.Prompt, d.Typed, d.Page = true, d.Words, NoPage
	m.typing.before, m.typing.at, m.typing.draft = d.Words, len(m.typing.history), ""
	m.typing.spaces = m.namedSpaces()
	m.typed()
}

// edit is a key while the filter is typed. What parses is applied at once.
func (m *model) edit(key, text string) {
	switch key {
	case "enter":
		m.apply()
	case "esc":
		m.display.Prompt = false
		m.filter(m.typing.before) // as it was
	case "tab":
		m.complete(1)
	case "shift+tab":
		m.complete(-1)
	case "up", "ctrl+p":
		m.recall(-1)
	case "down", "ctrl+n":
		m.recall(1)
	default:
		if !m.moveIn(key) && !m.deleteIn(key) {
			m.insert(text)
		}
	}
}

// apply ends the prompt with what is typed, unless that is no filter.
func (m *model) apply() {
	d := &m.display
	if err := m.filter(d.Typed); err != nil {
		d.Line.problem = err.Error()
		return
	}
	d.Prompt = false
	if words := strings.TrimSpace(d.Typed); words != "" {
		h := slices.DeleteFunc(m.typing.history, func(s string) bool { return s == words })
		m.typing.history = append(h[max(len(h)-maxHistory+1, 0):], words)
	}
}

// recall goes through the history.
func (m *model) recall(by int) {
	t, d := &m.typing, &m.display
	at := t.at + by
	for at >= 0 && at < len(t.history) && t.history[at] == d.Typed {
		at += by // it is there already
	}
	if at < 0 || at > len(t.history) {
		return
	}
	if t.at == len(t.history) {
		t.draft = d.Typed
	}
	d.Typed = t.draft
	if t.at = at; at < len(t.history) {
		d.Typed = t.history[at]
	}
	d.Line.behind = 0
	m.typed()
}

// cursor is where in Typed the cursor is.
func (d *Display) cursor() int { return max(len(d.Typed)-d.Line.behind, 0) }

// moveIn moves the cursor of the prompt, and reports whether that is what the key does.
func (m *model) moveIn(key string) bool {
	d := &m.display
	at := d.cursor()
	switch key {
	case "left", "ctrl+b":
		_, n := utf8.DecodeLastRuneInString(d.Typed[:at])
		at -= n
	case "right", "ctrl+f":
		_, n := utf8.DecodeRuneInString(d.Typed[at:])
		at += n
	case "home", "ctrl+a":
		at = 0
	case "end", "ctrl+e":
		at = len(d.Typed)
	default:
		return false
	}
	d.Line.behind = len(d.Typed) - at
	m.typed()
	return true
}

// deleteIn deletes from what is typed, and reports whether that is what the key does.
func (m *model) deleteIn(key string) bool {
	d := &m.display
	before, after := d.Typed[:d.cursor()], d.Typed[d.cursor():]
	switch key {
	case "backspace", "ctrl+h":
		_, n := utf8.DecodeLastRuneInString(before)
		before = before[:len(before)-n]
	case "delete", "ctrl+d":
		_, n := utf8.DecodeRuneInString(after)
		after = after[n:]
	case "ctrl+w":
		before = strings.TrimRight(before, " ")
		before = before[:strings.LastIndexByte(before, ' ')+1]
	case "ctrl+u":
		before = ""
	case "ctrl+k":
		after = ""
	default:
		return false
	}
	d.Typed, d.Line.behind = before+after, len(after)
	m.typed()
	return true
}

// insert puts text where the cursor of the prompt is.
func (m *model) insert(text string) {
	d := &m.display
	if text == "" {
		return
	}
	at := d.cursor()
	d.Typed = d.Typed[:at] + text + d.Typed[at:]
	m.typed()
}

// paste is insert for a text of several lines.
func (m *model) paste(text string) { m.insert(strings.Join(strings.Fields(text), " ")) }

// typed follows a change of what is typed: it filters by what parses, and says what that
// means, what is wrong or what may come next.
func (m *model) typed() {
	d := &m.display
	m.typing.offers = m.offersAt(d.Typed[:d.cursor()])
	d.Line = promptLine{behind: d.Line.behind, choice: -1}
	for _, o := range m.typing.offers {
		d.Line.offers = append(d.Line.offers, o.show)
	}
	m.answerTyped()
}

// answerTyped filters by what is typed, as far as it is complete.
func (m *model) answerTyped() {
	d := &m.display
	words, line := d.Typed, &d.Line
	line.problem, line.means = "", ""
	t := filter.TypedAt(words)
	if m.halfAWord(t) {
		words = strings.TrimRight(words[:t.At], "! ")
	}
	err := m.filter(words)
	switch {
	case errors.Is(err, filter.ErrIncomplete):
		line.means = err.Error()
	case err != nil:
		_, before := m.language().ParseLine(words[:t.At])
		if whole := before == nil || errors.Is(before, filter.ErrIncomplete); whole && len(line.offers) > 0 && line.behind == 0 {
			return // what is typed may still become one of them
		}
		m.filter(m.typing.before) // and not the part of a word that was one for a moment
		line.problem = err.Error()
	case d.Filter != nil:
		line.means = "shows " + d.Filter.String()
	}
}

// halfAWord reports whether t is a word of the language that is not typed to its end, and
// no part of a comm on the screen.
func (m *model) halfAWord(t filter.Typed) bool {
	if t.Word != nil || t.Text == "" || m.display.Line.behind > 0 {
		return false
	}
	if s := m.shown(); s != nil && slices.ContainsFunc(s.Rows, func(r rows.Row) bool { return strings.Contains(r.Owner.Comm, t.Text) }) {
		return false
	}
	return m.language().Half(t.Text)
}

// filter shows the rows that the words describe.
func (m *model) filter(words string) error {
	d := &m.display
	words = strings.TrimSpace(words)
	if words == "" {
		d.Filter, d.Words = nil, ""
		return nil
	}
	f, err := m.language().ParseLine(words)
	if err != nil {
		return err
	}
	d.Filter, d.Words, d.Top, d.Order = f, words, 0, nil
	return nil
}

// rowless are the words that mean nothing to a row, which is of many records.
var rowless = []string{"event", "reason"}

// language is that of filters of rows.
func (m *model) language() *filter.Language {
	l := &filter.Language{Where: "the live view", NetNS: m.findSpace}
	for _, w := range filter.Words {
		if !slices.Contains(rowless, w.Name) {
			l.Words = append(l.Words, w.Name)
		}
	}
	return l
}

// findSpace finds a network namespace by its name, or takes an inode number.
func (m *model) findSpace(spec string) (uint32, string, error) {
	for inum, name := range m.typing.spaces {
		if name == spec && name != "" {
			return inum, name, nil
		}
	}
	if inum, ok := filter.ParseInode(spec); ok {
		return inum, m.typing.spaces[inum], nil
	}
	return 0, "", filter.UnknownNetNS(spec, m.spaceNames())
}

// spaceNames are the names of network namespaces, in order.
func (m *model) spaceNames() (names []string) {
	for _, name := range m.typing.spaces {
		if name != "" {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// namedSpaces are the network namespaces that have a name: those on the screen, and all of
// this host if it is traced.
func (m *model) namedSpaces() map[uint32]string {
	all := make(map[uint32]string)
	if m.opt.NetNS != nil {
		for inum, name := range m.opt.NetNS() {
			all[inum] = name
		}
	}
	if s := m.shown(); s != nil {
		for i := range s.Rows {
			if r := &s.Rows[i]; r.Space != "" {
				all[r.NetNS] = r.Space
			}
		}
	}
	return all
}
