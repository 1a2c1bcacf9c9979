package main

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"
)

// results are what is known of all tests so far.
type results struct {
	all    map[key]*result
	order  []*result // as they started
	broken []string  // what went wrong outside of packages
	builds map[string][]string
}

// key is a test of a package, or the package itself if test is "".
type key struct{ pkg, test string }

// result is a test or a package.
type result struct {
	key
	args    arguments
	outcome string // pass, fail or skip; "" while it runs
	seconds float64
	since   time.Time
	output  []string
	tests   int  // of a package: top-level tests that ended
	paused  bool // of a test: it waits for its turn, as t.Parallel has it
	parent  bool // of a test: a subtest failed, or was skipped, and says why
}

func newResults() *results {
	return &results{all: make(map[key]*result), builds: make(map[string][]string)}
}

// take adds an event. It returns the test that failed with it, or the package that ended.
func (rs *results) take(a arguments, e goEvent, now time.Time) *result {
	switch e.Action {
	case "build-output":
		rs.builds[e.ImportPath] = append(rs.builds[e.ImportPath], e.Output)
		return nil
	case "build-fail":
		return nil // the package's own end follows
	}
	r := rs.of(a, key{e.Package, e.Test}, now)
	switch e.Action {
	case "pause":
		r.paused = true
	case "cont":
		r.paused, r.since = false, now
	case "output":
		if worthKeeping(e) {
			r.output = append(r.output, e.Output)
		}
	case "pass", "fail", "skip":
		r.outcome, r.seconds = e.Action, e.Elapsed
		rs.markParents(r)
		if e.Test == "" {
			if e.Action == "fail" {
				r.output = append(rs.buildOutput(e.Package), r.output...)
			}
			return r
		}
		if e.Action == "fail" {
			return r
		}
		if e.Action == "pass" {
			r.output = nil
		}
	}
	return nil
}

// of returns the result, new if there is none. What another run of go test had of the
// same package is kept apart.
func (rs *results) of(a arguments, k key, now time.Time) *result {
	if r := rs.all[k]; r != nil && (k.test != "" || r.outcome == "") && slices.Equal(r.args.flags, a.flags) {
		return r
	}
	r := &result{key: k, args: a, since: now}
	rs.all[k] = r
	rs.order = append(rs.order, r)
	return r
}

// worthKeeping reports whether a line says more than that a test has started or ended.
func worthKeeping(e goEvent) bool {
	text := strings.TrimSpace(e.Output)
	for _, p := range []string{"=== RUN", "=== PAUSE", "=== CONT", "=== NAME", "=== ATTR"} {
		if strings.HasPrefix(text, p) {
			return false
		}
	}
	// The line of the package is printed as its result.
	return e.Test != "" || !strings.HasPrefix(text, "ok  \t") && !strings.HasPrefix(text, "FAIL\t") && text != "PASS" && text != "FAIL"
}

// buildOutput is what the compiler said of a package and of its tests.
func (rs *results) buildOutput(pkg string) []string {
	var out []string
	for path, lines := range rs.builds {
		if name, _, _ := strings.Cut(path, " "); name == pkg || name == pkg+".test" || strings.HasSuffix(path, "["+pkg+".test]") {
			out = append(out, lines...)
		}
	}
	return out
}

// markParents counts a test that ended with its package, and marks the tests around a
// subtest that failed or was skipped.
func (rs *results) markParents(r *result) {
	if r.test == "" {
		return
	}
	if !strings.Contains(r.test, "/") {
		if p := rs.all[key{r.pkg, ""}]; p != nil {
			p.tests++
		}
	}
	if r.outcome == "pass" {
		return
	}
	for name := r.test; ; {
		i := strings.LastIndexByte(name, '/')
		if i < 0 {
			return
		}
		name = name[:i]
		if p := rs.all[key{r.pkg, name}]; p != nil {
			p.parent = true
		}
	}
}

// running says what runs, for a line of progress.
func (rs *results) running(now time.Time, elapsed time.Duration) string {
	var packages []string
	for _, p := range rs.which(func(r *result) bool { return r.outcome == "" && r.test == "" }) {
		var tests []string
		for _, r := range rs.order {
			if r.pkg == p.pkg && r.outcome == "" && !r.paused && r.test != "" && !strings.Contains(r.test, "/") {
				tests = append(tests, fmt.Sprintf("%s (%d s)", r.test, int(now.Sub(r.since).Seconds())))
			}
		}
		if len(tests) > 3 {
			tests = append(tests[:3:3], fmt.Sprintf("%d others", len(tests)-3))
		}
		text := fmt.Sprintf("%s: %d done", short([]string{p.pkg})[0], p.tests)
		if len(tests) > 0 {
			text += ", running " + strings.Join(tests, ", ")
		}
		packages = append(packages, text)
	}
	if packages == nil {
		packages = []string{"compiling"}
	}
	return fmt.Sprintf("%s; %s so far", strings.Join(packages, "; "), duration(elapsed))
}

// unfinished returns the tests whose process ended before they did.
func (rs *results) unfinished() []*result {
	return rs.which(func(r *result) bool { return r.outcome == "" })
}

// failed and skipped return the tests that say so themselves, not those around them;
// failed also packages that failed as such.
func (rs *results) failed() []*result {
	return rs.which(func(r *result) bool {
		return r.outcome == "fail" && !r.parent && (r.test != "" || !rs.explains(r.pkg))
	})
}

func (rs *results) skipped() []*result {
	return rs.which(func(r *result) bool { return r.outcome == "skip" && r.test != "" && !r.parent })
}

// explains reports whether a test of the package has failed.
func (rs *results) explains(pkg string) bool {
	return slices.ContainsFunc(rs.order, func(r *result) bool { return r.pkg == pkg && r.test != "" && r.outcome == "fail" })
}

func (rs *results) which(f func(*result) bool) []*result {
	var out []*result
	for _, r := range rs.order {
		if f(r) {
			out = append(out, r)
		}
	}
	return out
}

// broke notes what went wrong outside of all packages.
func (rs *results) broke(why string) { rs.broken = append(rs.broken, why) }

func (rs *results) passed() bool {
	return len(rs.broken) == 0 && len(rs.which(func(r *result) bool { return r.outcome == "fail" })) == 0
}

// position is what the testing package puts before what a test logs.
var position = regexp.MustCompile(`^\s*\w+\.go:\d+: `)

// reason is why a test was skipped.
func (r *result) reason() string {
	var said []string
	for _, line := range r.output {
		if position.MatchString(line) {
			said = append(said, strings.TrimSpace(position.ReplaceAllString(line, "")))
		}
	}
	if len(said) == 0 {
		return "it does not say why"
	}
	return said[len(said)-1]
}

// empty reports whether a package has no tests.
func (r *result) empty() bool { return r.outcome == "skip" && r.tests == 0 }
