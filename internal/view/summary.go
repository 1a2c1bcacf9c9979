package view

import (
	"github.com/twtrace/twtrace/internal/output"
	"github.com/twtrace/twtrace/internal/pressure"
)

// Summary is what stays on the normal screen after the live view: five lines,
// so that the scrollback keeps the evidence.
func Summary(s *State, c Caps) []string {
	lines := []string{
		"twtrace " + c.safe(s.Host) + ", " + s.Time.UTC().Format("2006-01-02T15:04:05Z") + ", watched " + seconds(s.Uptime),
		"TIME_WAIT " + output.Count(s.TimeWait) + ", parked " + output.Count(s.Parked) + ", established " + output.Count(s.Established),
	}
	if w := s.Worst; w == nil {
		lines = append(lines, "ports     no client connections")
	} else {
		line := "ports     " + output.Count(uint64(w.Used))
		if w.Limit > 0 {
			line += " of " + output.Count(uint64(w.Limit)) + " (" + output.Percent(uint64(w.Used), uint64(w.Limit)) + ")"
		}
		if w.What == pressure.LocalPorts {
			line += "  " + worstTo(w, c)
		} else {
			line += "  " + c.safe(w.Local.String()) + " " + c.signs().out + " " + c.safe(w.Remote.String())
		}
		lines = append(lines, line)
	}
	top := "top       "
	if rows := new(Look).Arrange(s.Rows); len(rows) == 0 {
		top += "no connection seen"
	} else {
		r := rows[0]
		top += c.word(r.name()) + "[" + r.pid(c) + "] " + r.peer(c, 60) + "  " + output.Count(r.TimeWait) + " in TIME_WAIT, closed by " + r.closerText()
	}
	return append(lines, top, "lost      "+output.Count(lost(&s.Lost))+stages(&s.Lost))
}
