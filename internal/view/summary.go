package view

import (
	"cmp"

	"github.com/charmbracelet/x/ansi"

	"github.com/twtrace/twtrace/internal/advice"
	"github.com/twtrace/twtrace/internal/event"
	"github.com/twtrace/twtrace/internal/output"
	"github.com/twtrace/twtrace/internal/pressure"
)

// Summary is what stays on the normal screen after the live view, so that the scrollback
// keeps the evidence: the verdict, as doctor has it, and five lines of numbers. Addresses
// give way where a line would be wider than the screen; a command never does.
func Summary(s *State, width int, c Caps) []string {
	width = max(cmp.Or(width, 80), minWidth)
	when := ", " + s.Clock.Date(s.Time) + ", watched " + seconds(s.Uptime)
	lines := append(verdict(s, width, c),
		"twtrace "+c.cut(c.safe(s.Host), width-len("twtrace "+when))+when,
		"TIME_WAIT "+output.Count(s.TimeWait)+", parked "+output.Count(s.Parked)+", established "+output.Count(s.Established),
	)
	if w := s.Worst; w == nil {
		lines = append(lines, "ports     no client connections")
	} else {
		line := "ports     " + output.Count(uint64(w.InUse()))
		if w.Limit > 0 {
			line += " of " + output.Count(uint64(w.Limit)) + " (" + output.Percent(uint64(w.InUse()), uint64(w.Limit)) + reusable(w) + ")"
		}
		line += "  "
		if w.What == pressure.LocalPorts {
			line += worstTo(w, c)
		} else {
			line += c.between(w, width-len(line))
		}
		lines = append(lines, line)
	}
	top := "top       "
	if list := new(Display).Arrange(s.Rows); len(list) == 0 {
		top += "no connections"
	} else {
		r := list[0]
		top += c.cut(c.word(r.Name()), 15) + "[" + pidCell(r, c) + "] "
		end := "  " + output.Count(r.TimeWait) + " TW, closed by " + closerCell(r)
		top += peerCell(r, c, max(width-ansi.StringWidth(top)-len(end), 10)) + end
	}
	return append(lines, top, "lost      "+output.Count(lost(&s.Lost))+stages(&s.Lost))
}

// verdict is the block that doctor's report starts with, nothing before the first diagnosis.
func verdict(s *State, width int, c Caps) []string {
	if len(s.Findings) == 0 {
		return nil
	}
	v := advice.Judge(s.Findings, advice.About{Now: s.Time, Clock: s.Clock, Hint: "notes: twtrace doctor --all"})
	var lines []string
	for i, l := range v.Lines(width) {
		line := c.clear(l.String())
		if i == 0 && v.Severity >= event.Warn {
			line = c.paintBy(line, v.Severity)
		}
		lines = append(lines, line)
	}
	return lines
}

// between words the ends of a destination in width cells. The remote end matters more.
func (c Caps) between(w *pressure.Gauge, width int) string {
	arrow := " " + c.signs().out + " "
	local, remote := c.safe(w.Local.String()), c.safe(w.Remote.String())
	if room := width - ansi.StringWidth(arrow); len(local)+len(remote) > room {
		local = c.shorten(local, max(room/3, 8))
		remote = c.shorten(remote, room-ansi.StringWidth(local))
	}
	return local + arrow + remote
}
