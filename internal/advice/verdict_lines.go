package advice

import (
	"strings"

	"github.com/charmbracelet/x/ansi"

	"github.com/twtrace/twtrace/internal/event"
	"github.com/twtrace/twtrace/internal/output"
)

// Layout of the block of a verdict.
const (
	verdictLines = 8 // at most
	verdictAt    = len("CRITICAL ")
	verdictMin   = 60 // columns
)

// VerdictLine is a line of the block. Label and Text are escaped: they are safe to print.
type VerdictLine struct {
	Label   string // CRITICAL, who, now; "" of a further line
	Text    string
	Command bool // Text is a command to copy, whole
}

// String is the line as it is printed. A command without a label starts at column 0.
func (l VerdictLine) String() string {
	switch {
	case l.Command && l.Label == "":
		return l.Text
	case l.Label == "" || l.Label == strings.ToUpper(l.Label):
		return padded(l.Label, verdictAt) + l.Text
	}
	return padded("  "+l.Label, verdictAt) + l.Text
}

func padded(s string, cells int) string {
	return s + strings.Repeat(" ", max(cells-ansi.StringWidth(s), 0))
}

// Lines lays v out for a terminal of so many columns: at most eight lines, none of them
// wider, but for commands. Commands are never wrapped: where one does not fit beside its
// label, they have lines of their own, from column 0 on.
func (v *Verdict) Lines(width int) []VerdictLine {
	room := max(width, verdictMin) - verdictAt
	commands := v.commands(room)
	head, who := entry{label: v.Word(), forms: some(v.head())}, entry{label: "who", forms: v.who()}
	when := entry{label: "when", forms: some(clauses(v.When)...)}
	if v.Since != "" {
		when = entry{label: "since", forms: some(append(clauses(v.Since+": "+strings.TrimPrefix(v.When, "now: ")), v.Since)...)}
	}
	if v.Severity < event.Warn {
		who = entry{label: "unseen", forms: some(v.NotSeen)}
	}
	do, fix, more := entry{label: "now", forms: some(clauses(v.Do)...)}, entry{label: "fix", forms: some(clauses(v.Fix)...)}, entry{label: "more", forms: some(v.last()...)}

	left := verdictLines - len(commands) // they are 3 at most
	for _, p := range []*entry{&head, &who, &do, &fix, &more, &when} {
		if len(p.forms) > 0 && left > 0 {
			p.lines, left = 1, left-1
		}
	}
	for _, p := range []*entry{&when, &fix} { // they give way to what is wrong
		if left == 0 && !head.whole(room) {
			p.lines, left = 0, p.lines
		}
	}
	for _, p := range []*entry{&head, &who, &fix, &do, &when} {
		for left > 0 && p.lines > 0 && !p.whole(room) {
			p.lines, left = p.lines+1, left-1
		}
	}
	var out []VerdictLine
	for _, p := range []*entry{&head, &who, &when, &do} {
		out = append(out, p.write(room)...)
	}
	out = append(out, commands...)
	return append(append(out, fix.write(room)...), more.write(room)...)
}

// head is what is wrong, and where.
func (v *Verdict) head() string {
	words := v.What
	if v.Where != "" {
		words = v.Where + ": " + words
	}
	if v.ID != "" {
		words = v.ID + " " + words
	}
	return words
}

// who is who is behind it, in ever fewer words. A guess stays, whatever is left out.
func (v *Verdict) who() []string {
	if v.Likely != "" {
		return some(v.Who, v.Likely)
	}
	return some(append(clauses(v.Who), v.Briefly)...)
}

// last is what else there is, in ever fewer words.
func (v *Verdict) last() []string {
	others := v.Others()
	if others == "" && v.Severity != event.Skip {
		others = "no other finding"
	}
	heads := []string{others}
	if v.Hint != "" {
		heads = []string{others + " (" + v.Hint + ")", others}
	}
	var forms []string
	for _, head := range heads {
		for i := range max(len(v.Closing), 1) {
			forms = append(forms, asSentences(append([]string{head}, v.Closing[min(i, len(v.Closing)):]...)))
		}
	}
	return forms
}

// asSentences is all that are not "", as a text.
func asSentences(all []string) string {
	var b strings.Builder
	for _, s := range all {
		if s == "" {
			continue
		}
		if b.Len() > 0 {
			b.WriteByte(' ')
		}
		b.WriteString(strings.ToUpper(s[:1]) + s[1:] + ".")
	}
	return b.String()
}

// commands are the lines of Now and Undo, in a room of so many columns.
func (v *Verdict) commands(room int) []VerdictLine {
	if v.Now == "" {
		return nil
	}
	label := "now"
	if v.Do != "" {
		label = "or"
	}
	now, undo := VerdictLine{label, EscapeCommand(v.Now), true}, VerdictLine{"undo", EscapeCommand(v.Undo), true}
	beside := max(ansi.StringWidth(now.Text), ansi.StringWidth(undo.Text)) <= room
	switch {
	case v.Undo == "" && beside:
		return []VerdictLine{now}
	case beside:
		return []VerdictLine{now, undo}
	}
	now.Label, undo.Label = "", ""
	if v.Undo == "" {
		return []VerdictLine{{Label: label, Text: "the next line"}, now}
	}
	return []VerdictLine{{Label: label, Text: "the next line; undo: the one after it"}, now, undo}
}

// EscapeCommand makes a command safe to print and to paste. A backslash keeps its meaning;
// parts that others choose, such as the name of a namespace, are escaped.
func EscapeCommand(s string) string {
	parts := strings.Split(s, `\`)
	for i, p := range parts {
		parts[i] = string(output.Escape(nil, p))
	}
	return strings.Join(parts, `\`)
}

// entry is one thing that the block says.
type entry struct {
	label string
	forms []string // the same in ever fewer words
	lines int      // how many it gets; 0: it is left out
}

// some are those of all that are not "", escaped.
func some(all ...string) (list []string) {
	for _, s := range all {
		if s != "" {
			list = append(list, string(output.Escape(nil, s)))
		}
	}
	return list
}

// whole reports whether the longest form fits.
func (p *entry) whole(room int) bool { return len(wrapped(p.forms[0], room)) <= p.lines }

// write is p in its lines: the longest form that fits, or as much of the last one as there
// is room for.
func (p *entry) write(room int) (out []VerdictLine) {
	if p.lines == 0 {
		return nil
	}
	var lines []string
	for _, form := range p.forms {
		if lines = wrapped(form, room); len(lines) <= p.lines {
			break
		}
	}
	if len(lines) > p.lines {
		lines = lines[:p.lines]
		last := &lines[p.lines-1]
		*last = wrapped(*last, room-len(" ..."))[0] + " ..."
	}
	for i, text := range lines {
		l := VerdictLine{Text: text}
		if i == 0 {
			l.Label = p.label
		}
		out = append(out, l)
	}
	return out
}

// clauses are text, then text without its last clause, and so on. A clause ends in a
// semicolon; the first one is also there without what is in brackets at its end.
func clauses(text string) []string {
	all := []string{text}
	for at := strings.LastIndex(text, "; "); at > 0; at = strings.LastIndex(text, "; ") {
		text = text[:at]
		all = append(all, text)
	}
	if at := strings.LastIndex(text, " ("); at > 0 && strings.HasSuffix(text, ")") {
		all = append(all, text[:at])
	}
	return all
}

// wrapped is text in lines of a width. A word that is wider is cut.
func wrapped(text string, width int) (lines []string) {
	line := ""
	for _, word := range strings.Fields(text) {
		word = ansi.Truncate(word, width, "~")
		if line != "" && ansi.StringWidth(line)+1+ansi.StringWidth(word) > width {
			lines, line = append(lines, line), ""
		}
		line += strings.Repeat(" ", min(len(line), 1)) + word
	}
	return append(lines, line)
}
