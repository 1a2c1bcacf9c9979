package main

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

// mistakesFile has command lines that people type, each with what twtrace prints. With
// -update it is written again.
const mistakesFile = "testdata/mistakes.txt"

// nextStep is what every message has beside where the help is.
var nextStep = regexp.MustCompile(`did you mean|add --|one command at a time|: use |; use |requires|such as|is a flag of|is a command of its own|its (only )?words? (are|is)|take[s]? flags only|for example|example: |try |conflicts with|it must|at least`)

// TestMistakes: forty mistakes and more on the command line, each with its message: one
// line, on stderr, that says what to do.
func TestMistakes(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(mistakesFile)
	must(t, err)
	var got strings.Builder
	n := 0
	for line := range strings.Lines(string(text)) {
		typed, ok := strings.CutPrefix(strings.TrimSuffix(line, "\n"), "$ twtrace")
		if !ok {
			continue
		}
		n++
		o := ran(strings.Fields(typed)...)
		code := exitUsage
		if strings.HasPrefix(typed, " doctor") {
			code = exitDoctorUnknown
		}
		o.failed(t, code, " --help)\n")
		o.silent(t)
		if !nextStep.MatchString(o.stderr) {
			t.Errorf("twtrace%s: no next step: %s", typed, o.stderr)
		}
		got.WriteString("$ twtrace" + typed + "\n" + o.stderr)
	}
	if n < 40 {
		t.Errorf("only %d mistakes", n)
	}
	if *updateGolden {
		must(t, os.WriteFile(mistakesFile, []byte(got.String()), 0o644))
		return
	}
	want := strings.Split(string(text), "\n")
	for i, line := range strings.Split(got.String(), "\n") {
		if i >= len(want) || line != want[i] {
			t.Fatalf("%s:%d: got\n%s\n(-update writes it again)", mistakesFile, i+1, line)
		}
	}
}
