package advice

import (
	"bytes"
	"cmp"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/charmbracelet/x/ansi"

	"github.com/twtrace/twtrace/internal/kernel"
	"github.com/twtrace/twtrace/internal/output"
)

// Layout of the text report, in columns.
const (
	textWidth = 80 // where nothing else is known
	textMost  = 110
	textLeast = 60
	labelAt   = 8
	textAt    = 17
)

// Style is how a text report looks. The zero Style is that of a pipe.
type Style struct {
	Width int // columns; 0 is 80
	Color bool
}

// columns is where lines are wrapped: longer ones are hard to read.
func (s Style) columns() int {
	if s.Width == 0 {
		return textWidth
	}
	return min(max(s.Width, textLeast), textMost)
}

// The three colours there are, of 16: the user's theme decides what they look like.
var colours = map[Severity]string{Crit: "31", Warn: "33", OK: "32"}

// paint colours a word that says the same without colour.
func (s Style) paint(word string, by Severity) string {
	code := colours[by]
	if !s.Color || code == "" {
		return word
	}
	return "\x1b[" + code + "m" + word + "\x1b[0m"
}

// groups are the sections of the text report, in order.
var groups = []struct{ name, title string }{{"trace", "can trace"}, {"host", "host"}}

// WriteText writes r for people: texts are wrapped, commands never.
func WriteText(w io.Writer, r Report, s Style) error {
	t := text{report: &r, style: s}
	t.header()
	for _, g := range groups {
		first := true
		for _, x := range r.Findings {
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
	fmt.Fprintf(&t, "\n%s\n", r.summary())
	return t.writeTo(w)
}

// WriteBrief writes the warnings, a line each, and the summary.
func WriteBrief(w io.Writer, r Report, s Style) error {
	t := text{report: &r, style: s}
	for _, x := range r.Findings {
		if x.Severity >= Warn {
			fmt.Fprintf(&t, "%s %s\n", s.paint(fmt.Sprintf("%-4s", word(x.Severity)), x.Severity), output.Escape(nil, x.Line()))
		}
	}
	fmt.Fprintf(&t, "%s\n", r.summary())
	return t.writeTo(w)
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
	r := t.report
	fmt.Fprintf(t, "twtrace %s  %s  kernel %s  %s  %s\n", r.Version, output.Escape(nil, r.Host.Hostname),
		output.Escape(nil, r.Host.Release), r.watched(), r.Time.UTC().Format(time.RFC3339))
	if words := r.where(); words != "" {
		t.wrap(words, 0, 0)
	}
}

// watched says what the report rests on.
func (r *Report) watched() string {
	words := "looked once"
	if r.Window > 0 {
		words = "watched " + seconds(r.Window)
	}
	if r.File != "" {
		words += " of " + string(output.Escape(nil, r.File))
	}
	return words
}

// mostSpaces is how many namespaces are named.
const mostSpaces = 8

// where names the namespaces that were looked at.
func (r *Report) where() string {
	if len(r.Spaces) == 0 {
		return ""
	}
	words := "network namespace "
	if len(r.Spaces) > 1 {
		words = "network namespaces "
	}
	words += list(r.Spaces)
	if len(r.Closed) > 0 {
		words += "; no permission to look at " + list(r.Closed)
	}
	if r.LeftOut > 0 {
		words += fmt.Sprintf("; not looked at: %d more, which have fewer sockets (-N names one)", r.LeftOut)
	}
	return words
}

// list names namespaces, not all of a big host's.
func list(spaces []kernel.NetNS) string {
	var names []string
	for i, n := range spaces {
		if i == mostSpaces {
			names = append(names, fmt.Sprintf("%d more", len(spaces)-i))
			break
		}
		names = append(names, n.String())
	}
	return strings.Join(names, ", ")
}

// word is a severity in a column; it must not need colour to be seen.
func word(s Severity) string {
	if s == Crit {
		return "CRIT"
	}
	return s.String()
}

func (t *text) finding(x Finding) {
	fmt.Fprintf(t, "  %s ", t.style.paint(fmt.Sprintf("%-5s", word(x.Severity)), x.Severity))
	t.wrap(x.ID+" "+x.Title, labelAt, labelAt)
	if len(t.report.Spaces) > 1 && x.Scope.NetNS != 0 && !x.general() {
		t.label("where", "network namespace "+t.report.space(x.Scope.NetNS))
	}
	t.label("what", x.What)
	t.label("who", x.Who)
	t.label("when", x.When)
	t.label("why", x.Why)
	for _, r := range x.Now {
		t.remedy("now", r)
	}
	for _, r := range x.Fix {
		t.remedy("fix", r)
	}
	if x.Severity >= Info && x.Group != "trace" {
		t.label("more", "twtrace explain "+x.ID)
	}
}

func (t *text) remedy(name string, r Remedy) {
	t.label(name, r.Text)
	indent := strings.Repeat(" ", textAt)
	if r.Command != "" {
		fmt.Fprintf(t, "%s%s\n", indent, command(r.Command))
	}
	if r.Undo != "" {
		fmt.Fprintf(t, "%sundo: %s\n", indent, command(r.Undo))
	}
	if r.Risk != "" {
		t.label("", "risk: "+r.Risk)
	}
}

// command is one as it is to be pasted, in which a backslash has its meaning. What
// others chose of it, the name of a namespace, stays harmless.
func command(s string) string {
	parts := strings.Split(s, `\`)
	for i, p := range parts {
		parts[i] = string(output.Escape(nil, p))
	}
	return strings.Join(parts, `\`)
}

// label writes text behind name, wrapped; nothing if there is no text.
func (t *text) label(name, text string) {
	if text == "" {
		return
	}
	fmt.Fprintf(t, "%*s%-*s", labelAt, "", textAt-labelAt, name)
	t.wrap(text, textAt, textAt)
}

// wrap writes words from a column on; further lines are indented.
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

// summary is the last line.
func (r Report) summary() string {
	count := map[Severity]int{}
	for _, x := range r.Findings {
		count[x.Severity]++
	}
	var parts []string
	for _, s := range []struct {
		severity  Severity
		one, many string
	}{
		{Crit, "critical", "critical"}, {Warn, "warning", "warnings"}, {Info, "note", "notes"},
		{OK, "ok", "ok"}, {Skip, "skipped", "skipped"},
	} {
		switch n := count[s.severity]; n {
		case 0:
		case 1:
			parts = append(parts, "1 "+s.one)
		default:
			parts = append(parts, fmt.Sprintf("%d %s", n, s.many))
		}
	}
	line := strings.Join(parts, ", ") + "."
	if len(parts) == 0 {
		line = "Nothing could be looked at."
	}
	if r.Traced {
		line += fmt.Sprintf("  %s events lost.", output.Count(r.Lost))
	}
	return fmt.Sprintf("%s  Exit status %d.", line, r.ExitCode())
}
