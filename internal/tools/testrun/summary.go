package main

import (
	"fmt"
	"io"
	"regexp"
	"strings"
	"time"
)

const module = "github.com/twtrace/twtrace"

// summarize prints the end of the report: what was skipped, what failed, and the count.
func (rs *results) summarize(out io.Writer, name string, elapsed time.Duration) {
	fmt.Fprintf(out, "\n== %s: results\n", name)
	for _, r := range rs.which(func(r *result) bool { return r.test == "" && r.outcome != "" && !r.empty() }) {
		fmt.Fprintln(out, r.line())
	}
	for _, r := range rs.skipped() {
		fmt.Fprintf(out, "%s\n    skipped: %s\n    run it again: %s\n", r.line(), r.reason(), r.again())
	}
	for _, r := range rs.failed() {
		if r.test == "" {
			fmt.Fprintf(out, "--- FAIL: package %s\n    run it again: %s\n", r.pkg, r.again())
			continue
		}
		fmt.Fprintf(out, "%s\n    run it again: %s\n", r.line(), r.again())
	}
	for _, why := range rs.broken {
		fmt.Fprintf(out, "--- FAIL: %s\n", why)
	}
	verdict := "PASS"
	if !rs.passed() {
		verdict = "FAIL"
	}
	count := func(outcome string) int {
		return len(rs.which(func(r *result) bool {
			return r.outcome == outcome && r.test != "" && !strings.Contains(r.test, "/")
		}))
	}
	fmt.Fprintf(out, "%s: %s: %d tests passed, %d failed, %d skipped, in %s\n", verdict, name,
		count("pass"), count("fail"), count("skip"), duration(elapsed))
}

// line is the line that go test has for it.
func (r *result) line() string {
	switch {
	case r.test != "":
		return fmt.Sprintf("--- %s: %s (%.2fs)", strings.ToUpper(r.outcome), r.test, r.seconds)
	case r.outcome == "fail":
		return fmt.Sprintf("FAIL\t%s\t%.3fs", r.pkg, r.seconds)
	case r.tests == 0:
		return fmt.Sprintf("ok  \t%s\t%.3fs [no tests to run]", r.pkg, r.seconds)
	}
	return fmt.Sprintf("ok  \t%s\t%.3fs", r.pkg, r.seconds)
}

// again is the command that runs it again.
func (r *result) again() string {
	words := []string{"go", "test", "-count=1"}
	for _, f := range r.args.flags {
		if name, _, _ := strings.Cut(strings.TrimLeft(f, "-"), "="); name != "run" && name != "skip" && name != "count" {
			words = append(words, f)
		}
	}
	if r.test != "" {
		var levels []string
		for level := range strings.SplitSeq(r.test, "/") {
			levels = append(levels, "^"+regexp.QuoteMeta(level)+"$")
		}
		words = append(words, "-run="+strings.Join(levels, "/"))
	}
	return strings.Join(quoted(append(words, short([]string{r.pkg})...)), " ")
}

// quoted has each word as a shell reads it.
func quoted(words []string) []string {
	out := make([]string, 0, len(words))
	for _, w := range words {
		if strings.Trim(w, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_=./:,+@") != "" {
			w = "'" + strings.ReplaceAll(w, "'", `'\''`) + "'"
		}
		out = append(out, w)
	}
	return out
}

// short names packages as one does inside the module.
func short(packages []string) []string {
	out := make([]string, 0, len(packages))
	for _, p := range packages {
		if rest, ok := strings.CutPrefix(p, module); ok {
			p = "." + rest
		}
		out = append(out, p)
	}
	return out
}

// duration is d in minutes and seconds.
func duration(d time.Duration) string {
	s := int(d.Seconds())
	if s < 60 {
		return fmt.Sprintf("%d s", s)
	}
	return fmt.Sprintf("%d min %d s", s/60, s%60)
}
