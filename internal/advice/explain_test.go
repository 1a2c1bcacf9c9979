package advice

import (
	"slices"
	"strings"
	"testing"
)

func TestExplain(t *testing.T) {
	for _, r := range append(slices.Clone(rules), limited, nothing) {
		text, err := Explain(strings.ToLower(r.id))
		if err != nil || !strings.HasPrefix(text, r.id+" "+r.title+"\n\n") {
			t.Errorf("%s: %q, %v", r.id, text, err)
		}
		for line := range strings.Lines(text) {
			if len(line) > 81 || strings.TrimRight(line, " \n")+"\n" != line {
				t.Errorf("%s: %d columns, or blanks at the end: %q", r.id, len(line), line)
			}
		}
	}
	files, err := stories.ReadDir("explain")
	if want := len(rules) + 2; err != nil || len(files) != want {
		t.Errorf("%d stories, %d rules (%v)", len(files), want, err)
	}
	if _, err := Explain("TW999"); err == nil || !strings.Contains(err.Error(), "TW000, TW101") {
		t.Errorf("an ID of no rule: %v", err)
	}
}
