package view

import (
	"slices"
	"strings"

	"github.com/charmbracelet/x/ansi"

	"github.com/twtrace/twtrace/internal/advice"
	"github.com/twtrace/twtrace/internal/event"
	"github.com/twtrace/twtrace/internal/rows"
)

// whyLeast is how many lines the explanation below the table takes at least.
const whyLeast = 8

// tall reports whether a body of that many lines is of a screen whose lower half is empty
// where there are few rows.
func tall(room int) bool { return room >= graphMinHeight-len("tfbpf")-1 }

// why explains the row under the cursor, or the first, in the lower half of a tall screen with
// few rows. It is empty where there is no room: it takes none from the rows.
func why(s *State, d *Display, width, height int, c Caps) (p paper) {
	room := height - len("tfbpf") - 1 // the header and the footer
	if d.Page != NoPage || d.Tab == TabEvents || !tall(room) {
		return p
	}
	room -= graphHeight(width, room)
	list := d.Arrange(s.list(d))
	lines := room / 2
	if len(list) == 0 || lines < whyLeast || len(list)+len("th") > room-lines {
		return p
	}
	r := list[max(d.index(list), 0)]
	f := worstAbout(s, r)
	p.add(whyTitle(r, f, width, c))
	if f == nil {
		if r.Severity == event.SeverityNone {
			p.add("no problem found in this row")
		}
		p.add(c.wrap(counts(r), width)...)
		p.add(identityLines(s, r, width, c)...)
		return p
	}
	p.put(explain(f, width, lines-1, c))
	return p
}

// whyTitle is the line between the rows and the explanation.
func whyTitle(r *rows.Row, f *advice.Finding, width int, c Caps) string {
	title, hint := c.signs().rule+" ", " Enter: the whole page "
	if f != nil {
		title += "why: "
		hint = " y copies the command, Y its undo; Enter: the whole page "
		if len(f.Now) == 0 {
			hint = " Enter: the whole page "
		}
	}
	title += c.word(r.Name()) + " " + peerCell(r, c, fullPeer) + " "
	fill := width - ansi.StringWidth(title) - len(hint) - 1
	title += strings.Repeat(c.signs().rule, max(fill, 0))
	if fill > 0 {
		title += hint + c.signs().rule
	}
	return c.cut(title, width)
}

// worstAbout is the worst finding about a row, notes included, or else about its whole
// network namespace; nil if there is none.
func worstAbout(s *State, r *rows.Row) *advice.Finding {
	var wide *advice.Finding
	for i := range s.Findings { // the worst first
		switch f := &s.Findings[i]; {
		case !concerns(f, r):
		case specific(f):
			return f
		case wide == nil:
			wide = f
		}
	}
	return wide
}

// explain is a finding in as many lines as there is room for: first what is wrong and
// what can be done at once.
func explain(f *advice.Finding, width, room int, c Caps) (out paper) {
	type part struct {
		worth int // the least is left out first
		paper
	}
	v := severityOf(f.Severity)
	head := mark(v) + " " + strings.ToUpper(f.Severity.String()) + " " + f.ID + "  " + c.safe(f.Title)
	var parts []part
	add := func(worth int, p paper) { parts = append(parts, part{worth, p}) }
	label := func(name, text string) (p paper) {
		for i, l := range c.wrap(text, width-len("what  ")) {
			if i > 0 {
				name = ""
			}
			p.add(c.fit(name, len("what  "), false) + l)
		}
		return p
	}
	add(9, paper{lines: []string{c.paintBy(c.cut(head, width), v)}})
	add(8, label("what", f.What))
	add(5, label("who", string(f.Who)))
	add(4, label("when", f.When))
	add(1, label("why", f.Why))
	for _, list := range [][]advice.Remedy{f.Now, f.Fix} {
		for i, r := range list {
			p := label(r.Kind, r.Text)
			p.remedy(&r, width, c)
			worth := 2
			if i == 0 && r.Kind == "now" {
				worth = 7
			} else if i == 0 {
				worth = 6
			}
			add(worth, p)
		}
	}
	total := func() (n int) {
		for _, p := range parts {
			n += len(p.lines)
		}
		return n
	}
	for worth := 1; total() > room && worth < 9; worth++ {
		parts = slices.DeleteFunc(parts, func(p part) bool { return p.worth == worth })
	}
	for _, p := range parts {
		out.put(p.paper)
	}
	out.lines = out.lines[:min(len(out.lines), room)]
	return out
}

// specific reports whether a finding is about some of the rows of its network namespace.
func specific(f *advice.Finding) bool {
	s := &f.Scope
	return s.Raddr != "" || s.Lport != 0 || s.PID != 0 || s.Comm != ""
}

// blame gives the rows the severity of what was found about them: a leak in CLOSE_WAIT is no
// matter of ports.
func (s *State) blame() {
	for i := range s.Findings {
		f := &s.Findings[i]
		v := severityOf(f.Severity)
		if v < event.Warn || !specific(f) {
			continue
		}
		for j := range s.Rows {
			if r := &s.Rows[j]; r.Severity < v && concerns(f, r) {
				r.Severity = v
			}
		}
	}
}
