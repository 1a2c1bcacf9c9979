package view

import (
	"fmt"
	"slices"
	"strings"

	"github.com/twtrace/twtrace/internal/event"
	"github.com/twtrace/twtrace/internal/output"
)

// The smallest screen that a frame is laid out for.
const (
	minWidth  = 60
	minHeight = 12
)

// Frame lays s out as lines for a screen, each at most width cells wide and
// exactly height of them; below 60x12 it is one sentence. It is pure: the same
// arguments give the same lines.
func Frame(s *State, d Display, width, height int, c Caps) []string {
	if width < minWidth || height < minHeight {
		return []string{c.cut(sentence(s, c), width)}
	}
	lines := make([]string, 0, height)
	switch d.Page {
	case NoPage:
		lines = append(lines, header(s, &d, width, c)...)
		lines = append(lines, body(s, &d, width, height, c)...)
	default:
		title, text := page(s, &d, width, c)
		lines = append(lines, title)
		room := height - 2
		from, to := window(len(text), room, d.Top, -1)
		lines = append(lines, text[from:to]...)
		if len(text) > room {
			d.position = counted(from, to, len(text), "line", c)
		}
	}
	for len(lines) < height-1 {
		lines = append(lines, "")
	}
	return d.overlay(d.withPrompt(append(lines, footer(&d, width, c)), width, c), width, c)
}

// header is what every tab has above it: what is traced, and how near the host is to
// which limit.
func header(s *State, d *Display, width int, c Caps) []string {
	gauges := limits(s, width, c)
	return []string{
		title(s, d, width, c),
		c.cut(flow(s, width, c), width),
		c.paintBy(gauges[0], s.Buckets.Severity),
		c.paintBy(gauges[1], worstSeverity(s)),
		finding(s, width, c),
	}
}

// body is the graphs, where there is room for them, the tab, and why the row under the
// cursor is there.
func body(s *State, d *Display, width, height int, c Caps) []string {
	room := height - len("tfbpf") - 1 // the header and the footer
	lines := graphs(s, width, room, c)
	room -= len(lines)
	if d.Tab == TabEvents {
		return append(lines, events(s, d, width, room, c)...)
	}
	below := why(s, d, width, height, c).lines
	tab := table(s, d, width, room-len(below), c)
	for len(below) > 0 && len(tab) < room-len(below) {
		tab = append(tab, "")
	}
	return slices.Concat(lines, tab, below)
}

// tableRoom is how many rows a frame of that size has room for.
func tableRoom(d *Display, width, height int) int {
	room := height - len("tfbpf") - 1            // the header and the footer
	room -= graphHeight(width, room) + len("th") // the tabs and the heading
	return max(room, 0)
}

// sentence is all that fits a tiny screen.
func sentence(s *State, c Caps) string {
	text := "TIME_WAIT " + output.Count(s.TimeWait)
	if w := s.Worst; w != nil && w.Limit > 0 {
		text += ", ports " + output.Percent(uint64(w.InUse()), uint64(w.Limit)) + " " + worstTo(w, c)
	}
	if n := lost(&s.Lost); n > 0 {
		text += ", lost " + output.Count(n)
	}
	return fmt.Sprintf("%s (more at %dx%d)", text, minWidth, minHeight)
}

// finding is the top finding, or else the remarks on the trace. The line stays where
// there is neither, so that rows never jump.
func finding(s *State, width int, c Caps) string {
	if s.Finding == "" && len(s.Remarks) > 0 {
		return c.cut("  "+c.safe(strings.Join(s.Remarks, "; ")), width)
	}
	if s.Finding == "" {
		return ""
	}
	text := mark(s.Severity)
	if s.Severity != event.SeverityNone {
		text += " " + strings.ToUpper(s.Severity.String())
	}
	text += " " + c.safe(s.Finding)
	return c.paintBy(s.withMore(text, width, c), s.Severity)
}

// Conclude sets the finding line from the findings, which are sorted by severity. Notes
// are not shown over the table. That an outage is over comes before what is not critical.
func (s *State) Conclude() {
	s.blame()
	for i := range s.Findings {
		if v := severityOf(s.Findings[i].Severity); v > event.SeverityNone {
			s.Severity, s.Finding = v, s.Findings[i].Line()
			break
		}
	}
	if over := s.resolved(); over != "" && s.Severity < event.Crit {
		s.Severity, s.Finding = event.SeverityNone, over
	}
}
