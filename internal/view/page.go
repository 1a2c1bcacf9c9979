package view

import (
	"cmp"
	"strings"

	"github.com/charmbracelet/x/ansi"

	"github.com/twtrace/twtrace/internal/advice"
	"github.com/twtrace/twtrace/internal/event"
)

// paper is the lines of a page, and the commands among them.
type paper struct {
	lines    []string
	commands []command
}

// command is one on a page, and how it is taken back.
type command struct {
	line int // of the page, where it starts
	ends int // behind its last line
	text string
	undo string // "" if there is nothing to take back

	undoes bool // it takes the one above it back
}

func (p *paper) add(lines ...string) { p.lines = append(p.lines, lines...) }

// put adds the lines of another page.
func (p *paper) put(q paper) {
	for _, c := range q.commands {
		c.line, c.ends = c.line+len(p.lines), c.ends+len(p.lines)
		p.commands = append(p.commands, c)
	}
	p.add(q.lines...)
}

// command adds one, on lines of its own.
func (p *paper) command(x command, width int, c Caps) {
	x.line = len(p.lines)
	for _, l := range commandLines(c.safe(x.text), width) {
		p.add(c.paint(l, sgrBold))
	}
	x.ends = len(p.lines)
	p.commands = append(p.commands, x)
}

// page is the title and all the lines of the page over the tab, cut to width.
func page(s *State, d *Display, width int, c Caps) (title string, lines []string) {
	title, p := pageOf(s, d, width, c)
	return title, p.lines
}

// pageOf is page with its commands.
func pageOf(s *State, d *Display, width int, c Caps) (title string, p paper) {
	mode := "[" + c.safe(cmp.Or(d.Mode, s.Mode)) + "]" + d.recording() + " "
	switch d.Page {
	case PageHelp:
		title, p.lines = help(d, width, c)
	case PageDoctor:
		title, p = doctor(s, width, c)
	case PageEvent:
		title, p = eventPage(s, d, width, c)
	case PageColumns:
		title, p.lines = chooserPage(s, d, width, c)
	default:
		title, p = detail(s, d, width, c)
	}
	for i := range p.lines {
		p.lines[i] = strings.TrimRight(c.cut(p.lines[i], width), " ")
	}
	title = c.fit(title, width-ansi.StringWidth(mode), false) + mode
	return c.paint(c.fit(title, width, false), sgrReverse), p
}

// doctor is all findings.
func doctor(s *State, width int, c Caps) (title string, p paper) {
	if len(s.Findings) == 0 {
		return " doctor", paper{lines: []string{"", "  no problem found"}}
	}
	for i := range s.Findings {
		p.add("")
		p.put(diagnosis(&s.Findings[i], width, c))
	}
	return " doctor: " + plural(len(s.Findings), "finding"), p
}

// diagnosis is one finding in full.
func diagnosis(f *advice.Finding, width int, c Caps) (p paper) {
	v := severityOf(f.Severity)
	head := mark(v) + " " + strings.ToUpper(f.Severity.String()) + " " + f.ID + "  " + c.safe(f.Title)
	p.add(c.paintBy(c.cut(head, width), v))
	label := func(name, text string) {
		for i, l := range c.wrap(text, width-10) {
			if i > 0 {
				name = ""
			}
			p.add("  " + name + strings.Repeat(" ", max(8-len(name), 0)) + l)
		}
	}
	label("what", f.What)
	label("who", string(f.Who))
	label("when", f.When)
	label("why", f.Why)
	for i := range f.Under {
		label("also", f.Under[i].Also())
	}
	for _, r := range append(append([]advice.Remedy(nil), f.Now...), f.Fix...) {
		label(r.Kind, r.Text)
		if r.Risk != "" {
			label("", "risk: "+r.Risk)
		}
		p.remedy(&r, width, c)
	}
	return p
}

// remedy adds the command of a remedy, if it has one, and what takes it back.
func (p *paper) remedy(r *advice.Remedy, width int, c Caps) {
	do, undo := r.Command(), r.Undo()
	if do == "" {
		return
	}
	p.command(command{text: do, undo: undo}, width, c)
	if undo != "" {
		p.add("  undo")
		p.command(command{text: undo, undoes: true}, width, c)
	}
}

// severityOf is the mark of a finding.
func severityOf(v event.Severity) event.Severity {
	switch v {
	case event.Crit:
		return event.Crit
	case event.Warn:
		return event.Warn
	}
	return event.SeverityNone
}

// wrap breaks text into lines of at most width cells.
func (c Caps) wrap(text string, width int) []string {
	if text == "" {
		return nil
	}
	return strings.Split(ansi.Wrap(c.safe(text), max(width, 20), ""), "\n")
}
