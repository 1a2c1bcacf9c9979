package main

import (
	"fmt"
	"io"
	"math"
	"strings"

	"github.com/twtrace/twtrace/internal/output"
	"github.com/twtrace/twtrace/internal/tracer"
)

// checkLine is a line of the table: a requirement, a hook, or a right that is lacking.
type checkLine struct{ status, check, detail string }

// The statuses of a check.
const (
	checkOK     = "ok"
	checkWarn   = "warn"
	checkFail   = "FAIL"
	checkUnused = "unused" // of a hook set that is not in use
)

// checkSentence says whether this host can be traced, by which hooks, and how much a trace
// would not show.
func checkSentence(reqs []tracer.Requirement, missing []string, failed error) string {
	if failed != nil {
		return "This host cannot be traced: " + failed.Error()
	}
	used := ""
	for _, r := range reqs {
		if set, ok := strings.CutPrefix(r.Name, "in use: "); ok {
			used = set
		}
	}
	what := "it shows all that twtrace knows of."
	if n := len(missing); n > 0 {
		what = fmt.Sprintf("%d %s not shown:", n, plural(n, "thing is", "things are"))
	}
	return fmt.Sprintf("This host can be traced, by the %s hooks; %s", used, what)
}

// checkHead is what the text begins with: the sentence, and what is not shown.
func checkHead(sentence string, missing []string, width int) string {
	if width == 0 {
		width = math.MaxInt
	}
	b := wrapped(string(output.Escape(nil, sentence)), 0, width) + "\n"
	for _, m := range missing {
		b += "- " + wrapped(string(output.Escape(nil, m)), 2, width) + "\n"
	}
	return b
}

func plural(n int, one, more string) string {
	if n == 1 {
		return one
	}
	return more
}

// writeChecks writes the lines wrapped to a terminal, with hanging indentation.
func writeChecks(w io.Writer, lines []checkLine, width int) error {
	status, check := 7, 41 // where the second and the third column begin
	if width >= 120 {
		check = 56
	}
	at := check
	if width < 76 {
		at = status
	}
	var b strings.Builder
	b.WriteString("STATUS CHECK")
	if at == check {
		b.WriteString(strings.Repeat(" ", check-len("STATUS CHECK")) + "DETAIL")
	}
	b.WriteByte('\n')
	for _, l := range lines {
		name, detail := string(output.Escape(nil, l.check)), string(output.Escape(nil, l.detail))
		left := fmt.Sprintf("%-*s%s", status, l.status, wrapped(name, status, width))
		switch {
		case detail == "":
		case at == check && len(left) < check-1:
			left += strings.Repeat(" ", check-len(left)) + wrapped(detail, check, width)
		default:
			left += "\n" + strings.Repeat(" ", at) + wrapped(detail, at, width)
		}
		b.WriteString(left + "\n")
	}
	_, err := io.WriteString(w, b.String())
	return err
}
