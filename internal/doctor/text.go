package doctor

import (
	"bytes"
	"cmp"
	"fmt"
	"io"
	"strings"

	"github.com/charmbracelet/x/ansi"

	"github.com/twtrace/twtrace/internal/advice"
	"github.com/twtrace/twtrace/internal/event"
	"github.com/twtrace/twtrace/internal/output"
)

// Layout of the text report, in columns.
const (
	textWidth = 80 // if the terminal's width is not known
	textMax   = 110
	textMin   = 60
	labelAt   = 8
	textAt    = 17
)

// Style is the width and colour of a text report. The zero Style is for a pipe.
type Style struct {
	Width int // columns; 0 is 80
	Color bool
	All   bool // notes, and what is fine, too
}

// columns is where lines are wrapped: longer ones are hard to read.
func (s Style) columns() int {
	if s.Width == 0 {
		return textWidth
	}
	return min(max(s.Width, textMin), textMax)
}

// The three colours, of the 16 that the user's theme defines.
var colours = map[event.Severity]string{event.Crit: "31", event.Warn: "33", event.OK: "32"}

// paint colours a word; it says the same without colour.
func (s Style) paint(word string, by event.Severity) string {
	code := colours[by]
	if !s.Color || code == "" {
		return word
	}
	return "\x1b[" + code + "m" + word + "\x1b[0m"
}

// groups are the sections of the text report, in order.
var groups = []struct{ name, title string }{{"trace", "can trace"}, {"host", "host"}}

// WriteText writes r for people: the verdict, the findings, and the verdict again, which so
// is on the screen. Texts are wrapped, commands never.
func WriteText(w io.Writer, r Report, s Style) error {
	t := text{report: &r, style: s}
	shown := r.shown(s.All)
	if len(shown) > 0 {
		t.verdict()
		t.WriteByte('\n')
	}
	t.header()
	for _, g := range groups {
		first := true
		for _, x := range shown {
			if cmp.Or(x.Group, "host") != g.name {
				continue
			}
			if first {
				fmt.Fprintf(&t, "\n%s\n", g.title)
				first = false
			}
			t.finding(x)
		}
	}
	t.WriteByte('\n')
	if words := r.scope(); words != "" && r.troubled() {
		t.wrap(words, 0, 0)
	}
	t.verdict()
	return t.writeTo(w)
}

// WriteBrief writes the verdict, and each further finding in a line.
func WriteBrief(w io.Writer, r Report, s Style) error {
	t := text{report: &r, style: s}
	t.verdict()
	for i, x := range r.shown(s.All) {
		if i > 0 || !r.troubled() {
			fmt.Fprintf(&t, "%s %s\n", s.paint(fmt.Sprintf("%-4s", word(x.Severity)), x.Severity), output.Escape(nil, x.Line()))
		}
	}
	if words := r.scope(); words != "" && r.troubled() {
		fmt.Fprintf(&t, "%s\n", output.Escape(nil, words))
	}
	return t.writeTo(w)
}

// verdict writes the block of the verdict.
func (t *text) verdict() {
	v := t.report.verdict(t.style.All)
	for i, l := range v.Lines(cmp.Or(t.style.Width, textWidth)) {
		line := l.String()
		if rest, ok := strings.CutPrefix(line, v.Word()); ok && i == 0 {
			line = t.style.paint(v.Word(), v.Severity) + rest
		}
		t.WriteString(line)
		t.WriteByte('\n')
	}
}

// text is a report that is being written.
type text struct {
	bytes.Buffer
	report *Report
	style  Style
}

func (t *text) writeTo(w io.Writer) error {
	if _, err := w.Write(t.Bytes()); err != nil {
		return fmt.Errorf("write report: %w", err)
	}
	return nil
}

func (t *text) header() {
	r, column := t.report, 0
	for i, part := range []string{"twtrace " + r.Version, r.Host.Hostname, "kernel " + r.Host.Release, r.watched(), r.Clock.Date(r.Time)} {
		part = string(output.Escape(nil, part))
		switch cells := ansi.StringWidth(part); {
		case i > 0 && column+2+cells > t.style.columns():
			t.WriteByte('\n')
			column = cells
		case i > 0:
			t.WriteString("  ")
			column += 2 + cells
		default:
			column = cells
		}
		t.WriteString(part)
	}
	t.WriteByte('\n')
	if words := r.where(); words != "" {
		t.wrap(words, 0, 0)
	}
}

// watched says what the report is based on.
func (r *Report) watched() string {
	words := "one snapshot"
	if r.onlyChecks() {
		return "nothing watched"
	}
	if r.Window > 0 {
		words = "watched " + output.Seconds(r.Window)
	}
	if !r.Traced {
		words += " without a trace"
	}
	if r.File != "" {
		words += " of " + r.File
	}
	return words
}

// where names the namespaces in the report.
func (r *Report) where() string {
	if len(r.Spaces) == 0 {
		return ""
	}
	words := "network namespace "
	if len(r.Spaces) > 1 {
		words = "network namespaces "
	}
	words += list(r.Spaces)
	if r.LeftOut > 0 {
		words += fmt.Sprintf("; %d more with fewer sockets left out (select one with -N)", r.LeftOut)
	}
	return words
}

// word is a severity in a column, to be noticed even without colour.
func word(s event.Severity) string {
	if s == event.Crit {
		return "CRIT"
	}
	return s.String()
}

func (t *text) finding(x advice.Finding) {
	fmt.Fprintf(t, "  %s ", t.style.paint(fmt.Sprintf("%-5s", word(x.Severity)), x.Severity))
	t.wrap(x.ID+" "+x.Title, labelAt, labelAt)
	if len(t.report.Spaces) > 1 && x.Scope.NetNS != 0 && !x.General() {
		t.label("where", "network namespace "+t.report.space(x.Scope.NetNS))
	}
	t.label("what", x.What)
	t.label("who", string(x.Who))
	t.label("when", x.When)
	t.label("why", x.Why)
	for i := range x.Under {
		t.label(onlyFirst("also", i), t.report.also(&x, &x.Under[i]))
	}
	for _, r := range x.Now {
		t.remedy("now", r)
	}
	for _, r := range x.Fix {
		t.remedy("fix", r)
	}
	if x.Severity >= event.Info && x.Group != "trace" {
		t.label("more", "twtrace explain "+x.ID)
	}
}

// onlyFirst is the name of the first of several lines.
func onlyFirst(name string, i int) string {
	if i > 0 {
		return ""
	}
	return name
}

// also is a consequence of x in a line, with its namespace if that is another.
func (r *Report) also(x, u *advice.Finding) string {
	if ns := u.Scope.NetNS; ns != 0 && ns != x.Scope.NetNS {
		return u.Also() + ", in network namespace " + r.space(ns)
	}
	return u.Also()
}

func (t *text) remedy(name string, r advice.Remedy) {
	t.label(name, r.Text)
	t.command("", r.Command())
	t.command("undo", r.Undo())
	if r.Risk != "" {
		t.label("risk", r.Risk)
	}
}

// command writes a command on a line of its own: below the text, or from column 0 on if it
// is too long for that.
func (t *text) command(name, do string) {
	if do == "" {
		return
	}
	do = advice.EscapeCommand(do)
	if textAt+ansi.StringWidth(do) <= max(cmp.Or(t.style.Width, textWidth), textMin) {
		fmt.Fprintf(t, "%*s%-*s%s\n", labelAt, "", textAt-labelAt, name, do)
		return
	}
	if name != "" {
		fmt.Fprintf(t, "%*s%s\n", labelAt, "", name)
	}
	fmt.Fprintf(t, "%s\n", do)
}

// label writes name and text, wrapped; nothing if there is no text.
func (t *text) label(name, text string) {
	if text == "" {
		return
	}
	fmt.Fprintf(t, "%*s%-*s", labelAt, "", textAt-labelAt, name)
	t.wrap(text, textAt, textAt)
}

// wrap writes words, starting at a column; further lines are indented.
func (t *text) wrap(text string, column, indent int) {
	for i, word := range strings.Fields(string(output.Escape(nil, text))) {
		cells := ansi.StringWidth(word)
		if i > 0 && column+1+cells > t.style.columns() {
			fmt.Fprintf(t, "\n%*s", indent, "")
			column = indent
		} else if i > 0 {
			t.WriteByte(' ')
			column++
		}
		t.WriteString(word)
		column += cells
	}
	t.WriteByte('\n')
}
