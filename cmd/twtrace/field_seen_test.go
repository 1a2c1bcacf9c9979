package main

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// seen is what twtrace says of an incident, by all verbs at the same time.
type seen struct {
	verdict
	report string // doctor's, as text
	ports  string
	top    string
	storms string
	storm  bool // by the exit code of storms
}

// lookWindow is how long they watch.
const lookWindow = "6s"

// look has all verbs watch the incident, and checks what has to hold of any.
func (f *incident) look(t *testing.T) *seen {
	t.Helper()
	var s seen
	var storms outcome
	at := func(args ...string) outcome { return ended(t, command(append(args, "-N", f.ns.Path())...)) }
	var all sync.WaitGroup
	var js, text outcome
	all.Go(func() { js = at("doctor", "-o", "json", "--window", lookWindow) })
	all.Go(func() { text = at("doctor", "--all", "--window", lookWindow) })
	all.Go(func() { storms = at("storms", "--duration", lookWindow) })
	all.Go(func() { s.ports = at("ports", "-i", "3s", "-c", "2").stdout })
	all.Go(func() { s.top = at("top", "-b", "-i", "3s", "-c", "2").stdout })
	all.Wait()
	s.verdict, s.report = verdictOf(t, js), text.stdout
	s.storms, s.storm = storms.stdout, storms.code == 10
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("doctor:\n%s\nports:\n%s\ntop:\n%s\nstorms:\n%s", s.report, s.ports, s.top, s.storms)
		}
	})
	if code := text.code; code != s.ExitCode || !strings.Contains(s.report, fmt.Sprintf("Exit status %d.", code)) {
		t.Errorf("doctor: exit code %d as JSON, %d as text", s.ExitCode, code)
	}
	s.checkExit(t)
	honest(t, "doctor -o json", js.stdout)
	for verb, said := range map[string]string{"doctor": s.report, "ports": s.ports, "top": s.top, "storms": s.storms} {
		honest(t, verb, said)
	}
	calm(t, "ports", s.ports)
	calm(t, "top", s.top)
	return &s
}

// checkExit wants the exit code, the verdict and the findings of a diagnosis to agree.
func (v verdict) checkExit(t *testing.T) {
	t.Helper()
	want, code := "ok", 0
	for _, x := range v.Checks {
		switch {
		case x.Group == "host" && x.Status == "crit":
			want, code = "crit", 2
		case x.Group == "host" && x.Status == "warn" && code == 0:
			want, code = "warn", 1
		}
	}
	if v.Verdict != want || v.ExitCode != code {
		t.Errorf("verdict %s, exit code %d; the findings are %s", v.Verdict, v.ExitCode, v.words())
	}
}

// nonsense is what no sentence says: nothing as a fact, nobody as a culprit, and what Go
// prints of values that are not there.
var nonsense = regexp.MustCompile(`(?:^|[^0-9.,])(?:0 of |0/s|0%? of)|\bpid 0\b|\w\[0\]|"pid":0\b|invalid (?:IP|AddrPort|Prefix)|%!|<nil>`)

// honest checks that.
func honest(t *testing.T, verb, said string) {
	t.Helper()
	for _, at := range nonsense.FindAllStringIndex(said, -1) {
		t.Errorf("%s: %q in %q", verb, said[at[0]:at[1]], said[max(0, at[0]-60):min(len(said), at[1]+60)])
	}
}

// calm wants no alarm in a table about what is not in use.
func calm(t *testing.T, verb, table string) {
	t.Helper()
	for _, row := range rowsOf(table) {
		used, err := strconv.ParseFloat(row["USE%"], 64)
		if row["SEVERITY"] == "crit" && (err != nil || used < 1) {
			t.Errorf("%s: crit at %s %% of use: %v", verb, row["USE%"], row)
		}
	}
}

// rowsOf are the rows of tables as text, by their headings.
func rowsOf(table string) (rows []map[string]string) {
	var headings []string
	for line := range strings.Lines(table) {
		cells := strings.Fields(line)
		switch {
		case len(cells) == 0 || cells[0] == "#":
		case cells[0] == "SEVERITY":
			headings = cells
		case len(cells) == len(headings):
			row := make(map[string]string)
			for i, h := range headings {
				row[h] = cells[i]
			}
			rows = append(rows, row)
		}
	}
	return rows
}

// only wants one of these findings, each an ID and a severity, and none of warn and above
// that is not among them. What twtrace could not know (TW900) may be beside them.
func (v verdict) only(t *testing.T, want ...string) {
	t.Helper()
	got := slices.DeleteFunc(v.alarms(), func(s string) bool { return strings.HasPrefix(s, "TW900") })
	strange := slices.DeleteFunc(slices.Clone(got), func(s string) bool { return slices.Contains(want, s) })
	if len(strange) > 0 || (len(got) == 0) != (len(want) == 0) {
		t.Errorf("found %q, want %q:%s", got, want, v.words())
	}
}

// claim is all that the findings of some rules say.
type claim struct {
	id, words string
}

// claims are the words of some rules' findings, with what follows from them.
func (v verdict) claims(ids ...string) claim {
	c := claim{id: strings.Join(ids, ", ")}
	for _, x := range v.Checks {
		if slices.Contains(ids, x.ID) {
			c.words += sentences(x)
		}
	}
	return c
}

// sentences is all that a finding says to people, a sentence a line.
func sentences(x finding) string {
	all := []string{x.Status + " " + x.ID + " " + x.Title, "what: " + x.What, "who: " + x.Who, "when: " + x.When, "why: " + x.Reason}
	for _, r := range x.Remedies {
		all = append(all, r.Kind+": "+r.Text+" "+r.Command)
	}
	words := strings.Join(all, "\n") + "\n"
	for _, u := range x.Consequences {
		words += sentences(u)
	}
	return words
}

// says wants each pattern to match.
func (c claim) says(t *testing.T, patterns ...string) {
	t.Helper()
	for _, p := range patterns {
		if !regexp.MustCompile(`(?i)` + p).MatchString(c.words) {
			t.Errorf("%s does not say %q:\n%s", c.id, p, c.words)
		}
	}
}

// never wants none of the patterns to match.
func (c claim) never(t *testing.T, patterns ...string) {
	t.Helper()
	for _, p := range patterns {
		if at := regexp.MustCompile(`(?i)` + p).FindString(c.words); at != "" {
			t.Errorf("%s says %q:\n%s", c.id, at, c.words)
		}
	}
}

// stormLine is the line of a storm that starts, which is not the one with the filter.
var stormLine = regexp.MustCompile(`(?m)^[^#].* storm_start `)

// noStorm wants none to have been reported.
func (s *seen) noStorm(t *testing.T) {
	t.Helper()
	if s.storm || stormLine.MatchString(s.storms) {
		t.Errorf("a storm:\n%s", s.storms)
	}
	for _, table := range []string{s.ports, s.top} {
		for _, row := range rowsOf(table) {
			if row["SEVERITY"] == "crit" {
				t.Errorf("crit: %v", row)
			}
		}
	}
}

// storming wants one to have been reported, with the exit code that says so.
func (s *seen) storming(t *testing.T) {
	t.Helper()
	if !s.storm || !stormLine.MatchString(s.storms) {
		t.Errorf("no storm, or not by the exit code:\n%s", s.storms)
	}
}
