package view

import (
	"strings"
	"testing"

	"github.com/charmbracelet/x/ansi"

	"github.com/twtrace/twtrace/internal/advice"
	"github.com/twtrace/twtrace/internal/event"
)

// TestMoreFindings: the line over the table says how many warnings there are more, at any
// width and however long it is, and that an outage is over hides none of them.
func TestMoreFindings(t *testing.T) {
	for _, tt := range []struct {
		name string
		s    *State
		also []advice.Finding
		more string
	}{
		{"one", told(), nil, ""},
		{"a note", told(), []advice.Finding{{ID: "TW900", Severity: event.Info}}, ""},
		{"two more", told(), []advice.Finding{{ID: "TW205", Severity: event.Crit}, {ID: "TW207", Severity: event.Warn}, {ID: "TW204", Severity: event.Info}}, "+2 more"},
		{"an outage that is over", cured(), nil, ""},
		{"and what goes on", cured(), []advice.Finding{{ID: "TW207", Severity: event.Warn}}, "+1 more"},
		{"none", quiet(), nil, ""},
	} {
		tt.s.Findings = append(tt.s.Findings, tt.also...)
		tt.s.Finding, tt.s.Severity = "", event.SeverityNone
		tt.s.Conclude()
		for _, long := range []string{"", strings.Repeat(" a long story", 20)} {
			s := *tt.s
			if s.Finding != "" {
				s.Finding += long
			}
			for _, width := range []int{60, 80, 132, 200} {
				line := finding(&s, width, Caps{})
				if ansi.StringWidth(line) > width || strings.Contains(line, "more") != (tt.more != "") || !strings.Contains(line, tt.more) {
					t.Errorf("%s at %d: %q", tt.name, width, line)
				}
			}
		}
	}
}

// TestSummaryStartsWithTheVerdict: what is left on the screen names the trouble, who does it
// and the cure, whole, at each width; without a diagnosis it is numbers alone.
func TestSummaryStartsWithTheVerdict(t *testing.T) {
	for _, width := range []int{60, 80, 132, 200} {
		s := told()
		text := strings.Join(Summary(s, width, Caps{}), "\n")
		cure := s.Findings[0].Now[0]
		for _, want := range []string{"CRITICAL TW101 ", "\n  who    checkout[4242]", cure.Command() + "\n", cure.Undo() + "\n"} {
			if !strings.Contains(text, want) {
				t.Errorf("no %q at %d:\n%s", want, width, text)
			}
		}
		if !strings.HasPrefix(text, "CRITICAL ") {
			t.Errorf("the verdict is not first at %d:\n%s", width, text)
		}
	}
	if s := quiet(); len(Summary(s, 80, Caps{})) != 5 {
		t.Errorf("a verdict without a diagnosis: %q", Summary(s, 80, Caps{}))
	}
}
