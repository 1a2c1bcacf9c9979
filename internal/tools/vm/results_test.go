package main

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// guestOutput is a console with two test binaries, the second of which dies.
const guestOutput = `[    0.1] booting
TWTRACE-VM-READY

TWTRACE-VM-RUN /test/bin/e2e.test
=== RUN   TestReason
=== PAUSE TestReason
=== RUN   TestLife
=== ATTR  TestLife row begins and ends
=== CONT  TestReason
=== RUN   TestReason/RST_IPv4
=== RUN   TestReason/RST_IPv4/deeper
=== RUN   TestReason/destroyed_IPv4
=== ATTR  TestReason/destroyed_IPv4 matrix absent
    --- PASS: TestReason/destroyed_IPv4 (0.10s)
    --- PASS: TestReason/RST_IPv4 (0.10s)
        --- PASS: TestReason/RST_IPv4/deeper (0.10s)
--- PASS: TestReason (1.00s)
--- SKIP: TestLife (0.00s)
PASS

TWTRACE-VM-END 0
init: /test/bin/e2e.test: exit 0 after 9.1 s

TWTRACE-VM-RUN /test/bin/e2e.test
=== RUN   TestReason
=== RUN   TestReason/RST_IPv4
=== ATTR  TestReason/RST_IPv4 matrix exact
    --- FAIL: TestReason/RST_IPv4 (0.10s)
panic: test timed out
TWTRACE-VM-END 2
`

func TestMatrixTable(t *testing.T) {
	one := make([]command, 1)
	good := &guest{suite: "trixie", release: "6.12", set: "fentry", commands: one}
	bad := &guest{suite: "trixie", release: "6.12", set: "timer", commands: one}
	second := strings.LastIndex(guestOutput, "TWTRACE-VM-RUN")
	for g, out := range map[*guest]string{good: guestOutput[:second], bad: guestOutput[second:]} {
		for _, r := range strings.SplitAfter(out, "TW") { // in pieces, as a serial line has it
			if _, err := g.results.Write([]byte(strings.ReplaceAll(r, "\n", "\r\n"))); err != nil {
				t.Fatal(err)
			}
		}
	}
	if !good.good() || bad.good() {
		t.Errorf("good: %t, with a failed test %t", good.good(), bad.good())
	}
	const want = `                    6.12    6.12    5.10
                    fentry  timer   -
ran to its end      ok      ok      FAIL
TestReason          ok      FAIL    -
  RST IPv4          ok      FAIL    -
  destroyed IPv4    absent  -       -
begins and ends     skip    -       -
`
	never := &guest{suite: "bullseye", release: "5.10", set: anySet, commands: one}
	var b strings.Builder
	table := newTable([]*guest{good, bad, never})
	if err := table.text(&b); err != nil {
		t.Fatal(err)
	}
	if squeeze(b.String()) != squeeze(want) {
		t.Errorf("got\n%s\nwant\n%s", b.String(), want)
	}
	b.Reset()
	if err := table.markdown(&b); err != nil {
		t.Fatal(err)
	}
	_, got, _ := strings.Cut(b.String(), "| --- | --- | --- | --- |\n")
	if want := "| ran to its end | ok | ok | FAIL |\n| begins and ends | skip | - | - |\n"; got != want {
		t.Errorf("got\n%s\nwant the rows that tests have named:\n%s", got, want)
	}
}

// squeeze makes each run of blanks one.
func squeeze(s string) string {
	var out []string
	for line := range strings.Lines(s) {
		out = append(out, strings.Join(strings.Fields(line), " "))
	}
	return strings.Join(out, "\n")
}

func TestMatrixPlan(t *testing.T) {
	o, err := parseMatrix(strings.Fields("--kernels bullseye,sid --hooks timer,fentry -- a.test -test.v --and-- b.test"))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, g := range o.plan() {
		got = append(got, fmt.Sprint(g.suite, " ", g.set))
		for _, c := range g.commands {
			got = append(got, fmt.Sprint(c.args, c.env))
		}
	}
	want := []string{
		"bullseye -", "[a.test -test.v -test.run=^TestOldKernel$] []",
		"sid timer", "[a.test -test.v] [TWTRACE_TEST_HOOKS=timer]", "[b.test] []",
		"sid fentry", "[a.test -test.v] [TWTRACE_TEST_HOOKS=fentry]",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}
