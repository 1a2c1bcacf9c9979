package view

import (
	"strings"
	"time"
)

// Entry is one thing that happened, in words.
type Entry struct {
	Time     int64 // when it last happened, ns since the epoch
	Severity Severity
	Count    uint64 // how often, in a row
	Text     string
}

// events is the tab of what happened, the latest first.
func events(s *State, look *Look, width, room int, c Caps) []string {
	room--
	from, to := window(len(s.Events), room, look.Top, -1)
	lines := []string{tabLine(s, look, counted(from, to, len(s.Events), "event"), width, c)}
	for _, e := range s.Events[from:to] {
		text := e.Severity.mark() + " " + time.Unix(0, e.Time).UTC().Format("15:04:05.000")
		times := ""
		if e.Count > 1 {
			times = c.signs().times + count(e.Count, 6)
		}
		text += c.fit(times, 8, true) + "  " + c.safe(e.Text)
		lines = append(lines, c.paintBy(strings.TrimRight(c.cut(text, width), " "), e.Severity))
	}
	if len(s.Events) == 0 {
		lines = append(lines, c.cut("  nothing worth a word yet: failed calls, refusals, losses and storms come here", width))
	}
	return lines
}
