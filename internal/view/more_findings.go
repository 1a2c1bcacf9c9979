package view

import (
	"fmt"
	"strings"

	"github.com/charmbracelet/x/ansi"

	"github.com/twtrace/twtrace/internal/event"
)

// moreFindings is how many warnings there are beside what the line over the table says: one
// of them, or that an outage is over.
func (s *State) moreFindings() (n int) {
	for i := range s.Findings {
		x := &s.Findings[i]
		if x.Severity >= event.Warn && (!x.Over || s.Severity > event.SeverityNone) {
			n++
		}
	}
	if s.Severity > event.SeverityNone {
		n = max(n-1, 0)
	}
	return n
}

// withMore puts behind the line of a finding how many more there are, and the keys that
// show them, as far as there is room: the keys give way first, and then the text.
func (s *State) withMore(text string, width int, c Caps) string {
	if len(s.Findings) == 0 {
		return c.cut(text, width)
	}
	more := ""
	if n := s.moreFindings(); n > 0 {
		more = fmt.Sprintf("+%d more", n)
	}
	for _, right := range []string{strings.TrimSpace(more + "  Enter=why  D=doctor"), strings.TrimSpace(more + "  D=doctor"), more} {
		if gap := width - ansi.StringWidth(text) - len(right); gap >= 2 {
			return text + strings.Repeat(" ", gap) + right
		}
	}
	if more == "" {
		return c.cut(text, width)
	}
	return c.cut(text, width-len(more)-2) + "  " + more
}
