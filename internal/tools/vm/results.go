package main

import (
	"bytes"
	"regexp"
	"strconv"
	"strings"

	"github.com/twtrace/twtrace/internal/tools/vm/plan"
)

// outcome is how a test ended.
type outcome string

const (
	passed  outcome = "ok"
	failed  outcome = "FAIL"
	skipped outcome = "skip"
)

// Attributes of tests, see testing.T.Attr.
const (
	tellsKey = "matrix" // the word to print for its success, in place of ok
	rowKey   = "row"    // what its row is called, in place of its name
)

// results reads the output of test binaries run with -test.v, one after the other.
type results struct {
	runs []*testRun
	line []byte
}

// testRun is the output of one test binary.
type testRun struct {
	order    []string // tests in the order in which they began
	outcomes map[string]outcome
	labels   map[string]string // of rows, by test
	code     int               // -1 until its end
}

var (
	resultLine = regexp.MustCompile(`^\s*--- (PASS|FAIL|SKIP): (\S+) \(`)
	beginLine  = regexp.MustCompile(`^=== RUN +(\S+)$`)
	attrLine   = regexp.MustCompile(`^=== ATTR +(\S+) (\S+) (.+)$`)
)

// Write takes the output as it comes.
func (r *results) Write(p []byte) (int, error) {
	r.line = append(r.line, bytes.ReplaceAll(p, []byte{'\r'}, nil)...)
	for {
		line, rest, ok := bytes.Cut(r.line, []byte{'\n'})
		if !ok {
			return len(p), nil
		}
		r.take(string(line))
		r.line = append(r.line[:0], rest...)
	}
}

func (r *results) take(line string) {
	if _, _, ok := strings.Cut(line, plan.RunMark); ok {
		r.runs = append(r.runs, &testRun{outcomes: make(map[string]outcome), labels: make(map[string]string), code: -1})
		return
	}
	if len(r.runs) == 0 {
		return
	}
	run := r.runs[len(r.runs)-1]
	if m := beginLine.FindStringSubmatch(line); m != nil {
		run.order = append(run.order, m[1])
		run.outcomes[m[1]] = failed // until it has ended well
	} else if m := resultLine.FindStringSubmatch(line); m != nil {
		run.end(m[2], m[1])
	} else if m := attrLine.FindStringSubmatch(line); m != nil && m[2] == tellsKey {
		run.outcomes[m[1]+tellsKey] = outcome(m[3])
	} else if m != nil && m[2] == rowKey {
		run.labels[m[1]] = m[3]
	} else if _, code, ok := strings.Cut(line, plan.EndMark); ok {
		run.code, _ = strconv.Atoi(strings.TrimSpace(code))
	}
}

func (t *testRun) end(name, how string) {
	switch how {
	case "PASS":
		t.outcomes[name] = passed
		if tells := t.outcomes[name+tellsKey]; tells != "" {
			t.outcomes[name] = tells
		}
	case "SKIP":
		t.outcomes[name] = skipped
	default:
		t.outcomes[name] = failed
	}
}

// good reports whether the run ended and no test of it failed.
func (t *testRun) good() bool {
	for _, name := range t.order {
		if t.outcomes[name] == failed {
			return false
		}
	}
	return t.code == 0
}
