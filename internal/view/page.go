package view

import (
	"cmp"
	"strings"

	"github.com/charmbracelet/x/ansi"

	"github.com/twtrace/twtrace/internal/advice"
)

// page is the title and all the lines of what lies over the tab. Lines are cut to
// width, and as many as there are.
func page(s *State, look *Look, width int, c Caps) (title string, lines []string) {
	mode := "[" + c.safe(cmp.Or(look.Mode, s.Mode)) + "]" + look.recording() + " "
	switch look.Page {
	case PageHelp:
		title, lines = help(look)
	case PageDoctor:
		title, lines = doctor(s, width, c)
	default:
		title, lines = detail(s, look, width, c)
	}
	for i := range lines {
		lines[i] = strings.TrimRight(c.cut(lines[i], width), " ")
	}
	title = c.fit(title, width-ansi.StringWidth(mode), false) + mode
	return c.paint(c.fit(title, width, false), sgrReverse), lines
}

// help is every key.
func help(look *Look) (title string, lines []string) {
	add := func(yes bool, key, what string) {
		if yes {
			lines = append(lines, "  "+key+strings.Repeat(" ", max(16-len(key), 1))+what)
		}
	}
	lines = append(lines, "move")
	add(true, "j k arrows", "one row; PgUp PgDn a screen; Home End all the way")
	add(true, "Enter", "why: the row in detail, with what helps; n p the next and the previous one")
	add(true, "Esc", "back; then: clear the filter")
	add(true, "1-5 Tab", "flows, processes, peers, listeners, events")
	lines = append(lines, "", "show")
	add(true, "s < >", "sort by the next or the previous column; I the other way round")
	add(true, "g", "group the rows by something else")
	add(true, "/", "filter, in the words of the flags: comm nginx rport 443; a word alone is part of")
	add(true, "", "a comm, an address alone a remote one; ! in front of a value, or of all, inverts")
	add(!look.Offers.Names, "p", "the peer's address in full; other columns make room")
	add(look.Offers.Names, "p", "the peer's address in full; again: its name, which is asked of the resolver")
	add(true, "D", "doctor: all findings, with the evidence and what to do")
	lines = append(lines, "", "time")
	add(true, "space Z", "pause; what is traced goes on")
	add(look.Offers.Step, "t T, arrows", "paused: the next and the previous interval of the last minutes")
	add(look.Offers.Interval, "+ -", "the interval, 0.5 to 60 s")
	add(look.Offers.Reset, "r", "forget lifetimes, closers and last closes, and begin anew")
	lines = append(lines, "", "keep")
	add(look.Offers.Record, "w", "start and stop recording the trace to a file")
	add(true, "e", "export what is on the screen to a file: n objects, c CSV, h a page")
	add(true, "y", "copy the ss command for the row, again: the tcpdump one (also printed at the end)")
	lines = append(lines, "", "  q Ctrl-C F10    quit       Ctrl-Z stop, fg goes on")
	lines = append(lines, "", "! critical, ~ a warning. TW is TIME_WAIT: the side that closes first holds the port for 60 s.",
		"twtrace changes nothing: what it advises is yours to run.")
	return " twtrace: keys", lines
}

// doctor is all findings.
func doctor(s *State, width int, c Caps) (title string, lines []string) {
	if len(s.Findings) == 0 {
		return " doctor", []string{"", "  no diagnosis yet: the first comes after an interval"}
	}
	for i := range s.Findings {
		lines = append(lines, "")
		lines = append(lines, diagnosis(&s.Findings[i], width, c)...)
	}
	return " doctor: " + plural(len(s.Findings), "finding"), lines
}

// diagnosis is one finding in full.
func diagnosis(f *advice.Finding, width int, c Caps) []string {
	v := severityOf(f.Severity)
	head := v.mark() + " " + strings.ToUpper(f.Severity.String()) + " " + f.ID + "  " + c.safe(f.Title)
	lines := []string{c.paintBy(c.cut(head, width), v)}
	label := func(name, text string) {
		for i, l := range c.wrap(text, width-10) {
			if i > 0 {
				name = ""
			}
			lines = append(lines, "  "+name+strings.Repeat(" ", max(8-len(name), 0))+l)
		}
	}
	label("what", f.What)
	label("who", f.Who)
	label("when", f.When)
	label("why", f.Why)
	for _, r := range append(append([]advice.Remedy(nil), f.Now...), f.Fix...) {
		label(r.Kind, r.Text)
		for _, command := range []struct{ name, text string }{{"", r.Command}, {"undo: ", r.Undo}} {
			for i, l := range c.wrap(command.text, width-14-len(command.name)) { // in full: it is to be copied
				if i == 0 {
					l = command.name + l
				} else {
					l = strings.Repeat(" ", len(command.name)+2) + l
				}
				lines = append(lines, "            "+l)
			}
		}
		if r.Risk != "" {
			label("", "risk: "+r.Risk)
		}
	}
	return lines
}

// severityOf is the mark of a finding.
func severityOf(v advice.Severity) Severity {
	switch v {
	case advice.Crit:
		return Crit
	case advice.Warn:
		return Warn
	}
	return Fine
}

// wrap breaks text into lines of at most width cells.
func (c Caps) wrap(text string, width int) []string {
	if text == "" {
		return nil
	}
	return strings.Split(ansi.Wrap(c.safe(text), max(width, 20), ""), "\n")
}
