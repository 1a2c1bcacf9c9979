package view

import (
	"cmp"

	"github.com/charmbracelet/x/ansi"

	"github.com/twtrace/twtrace/internal/output"
	"github.com/twtrace/twtrace/internal/pressure"
)

// Summary is what stays on the normal screen after the live view: five lines,
// so that the scrollback keeps the evidence. Addresses give way where a line would
// be wider than the screen.
func Summary(s *State, width int, c Caps) []string {
	width = max(cmp.Or(width, 80), minWidth)
	when := ", " + s.Time.UTC().Format("2006-01-02T15:04:05Z") + ", watched " + seconds(s.Uptime)
	lines := []string{
		"twtrace " + c.cut(c.safe(s.Host), width-len("twtrace "+when)) + when,
		"TIME_WAIT " + output.Count(s.TimeWait) + ", parked " + output.Count(s.Parked) + ", established " + output.Count(s.Established),
	}
	if w := s.Worst; w == nil {
		lines = append(lines, "ports     no client connections")
	} else {
		line := "ports     " + output.Count(uint64(w.Used))
		if w.Limit > 0 {
			line += " of " + output.Count(uint64(w.Limit)) + " (" + output.Percent(uint64(w.Used), uint64(w.Limit)) + ")"
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
	if rows := new(Look).Arrange(s.Rows); len(rows) == 0 {
		top += "no connection seen"
	} else {
		r := rows[0]
		top += c.cut(c.word(r.name()), 15) + "[" + r.pid(c) + "] "
		most := "  " + output.Count(r.TimeWait) + " TW, closed by " + r.closerText()
		top += r.peer(c, max(width-ansi.StringWidth(top)-len(most), 10)) + most
	}
	return append(lines, top, "lost      "+output.Count(lost(&s.Lost))+stages(&s.Lost))
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
