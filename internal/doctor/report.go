// Package doctor makes one diagnosis, of this host or of a recording, and writes what
// it found: as text, in brief, as JSON, as Markdown, and as settings for sysctl.d.
package doctor

import (
	"fmt"
	"slices"
	"time"

	"github.com/twtrace/twtrace/internal/advice"
	"github.com/twtrace/twtrace/internal/clock"
	"github.com/twtrace/twtrace/internal/event"
	"github.com/twtrace/twtrace/internal/kernel"
	"github.com/twtrace/twtrace/internal/output"
)

// Report is the outcome of one diagnosis.
type Report struct {
	Version   string
	Host      kernel.Host
	Time      time.Time        // when the facts were read
	Window    time.Duration    // watched before Time; 0 if the facts were read once
	File      string           // the trace file; "" for this host
	Spaces    []kernel.NetNS   // network namespaces in the report
	LeftOut   int              // namespaces with sockets that are not in it
	Closed    []kernel.NetNS   // namespaces that could not be read
	Hidden    bool             // there may be more, which this user cannot find
	Unwatched []kernel.NetNS   // those left out that hold enough sockets for trouble
	Root      bool             // root made it
	Traced    bool             // with BPF, so Lost has a meaning
	Lost      uint64           // events
	Clock     clock.Clock      // prints the times of text and Markdown
	FailOn    event.Severity   // the lowest severity that makes the exit code other than 0; the zero value is Warn
	Findings  []advice.Finding // the worst first
}

// Worst is the severity of the worst finding, Skip without findings.
func (r Report) Worst() event.Severity {
	worst := event.Skip
	for _, f := range r.Findings {
		worst = max(worst, f.Severity)
	}
	return worst
}

// Verdict is the report in a word: ok, warn, crit, or unknown, where nothing was found but
// not everything was seen.
func (r Report) Verdict() string {
	switch worst := r.Worst(); {
	case worst == event.Crit:
		return "crit"
	case worst == event.Warn:
		return "warn"
	case worst == event.Skip || r.NotSeen() != "":
		return "unknown"
	}
	return "ok"
}

// ExitCode is that of a monitoring plugin: 0 ok, 1 warning, 2 critical, 3
// unknown. Below FailOn it is 0, or 3 if not everything was seen; a note that fails counts
// as a warning.
func (r Report) ExitCode() int {
	failOn := r.failOn()
	switch worst := r.Worst(); {
	case worst == event.Skip:
		return 3
	case worst < failOn && r.NotSeen() != "":
		return 3
	case worst < failOn:
		return 0
	case worst == event.Crit:
		return 2
	}
	return 1
}

// failOn is the lowest severity that is trouble.
func (r Report) failOn() event.Severity {
	if r.FailOn == event.SeverityNone {
		return event.Warn
	}
	return r.FailOn
}

// troubled reports whether the verdict is about a finding.
func (r Report) troubled() bool { return r.Worst() >= min(r.failOn(), event.Warn) }

// onlyChecks reports whether the report is about whether this host can be traced.
func (r Report) onlyChecks() bool {
	return len(r.Findings) > 0 && !slices.ContainsFunc(r.Findings, func(x advice.Finding) bool { return x.Group != "trace" })
}

// shown are the findings that the report is about: trouble, and with all of them notes and
// what is fine.
func (r Report) shown(all bool) []advice.Finding {
	if all || r.onlyChecks() {
		return r.Findings
	}
	return slices.DeleteFunc(slices.Clone(r.Findings), func(x advice.Finding) bool { return x.Severity < min(r.failOn(), event.Warn) })
}

// verdict is what the report comes to; all says that it shows notes.
func (r Report) verdict(all bool) advice.Verdict {
	a := advice.About{Now: r.Time, Clock: r.Clock, FailOn: r.failOn(), NotSeen: r.NotSeen(), SeeMore: r.SeeMore(), Fine: "this host can be traced"}
	if a.NotSeen != "" && a.SeeMore == "" {
		a.SeeHow = seeHow
	}
	if !all && !r.onlyChecks() {
		a.Hint = "notes: --all"
	}
	if r.Traced {
		a.Closing = append(a.Closing, output.Count(r.Lost)+" events lost")
	}
	a.Closing = append(a.Closing, fmt.Sprintf("exit status %d", r.ExitCode()))
	return advice.Judge(r.Findings, a)
}

// space is the name of a namespace in the report.
func (r Report) space(inum uint32) string {
	for _, n := range r.Spaces {
		if n.Inum == inum {
			return n.String()
		}
	}
	return kernel.NetNS{Inum: inum}.String()
}
