package advice

import (
	"fmt"

	"github.com/twtrace/twtrace/internal/output"
	"github.com/twtrace/twtrace/internal/pressure"
)

// descriptors is TW105.
func descriptors(f Facts) []Finding {
	var found []Finding
	for _, v := range f.Traffic.Descriptors {
		full := v.Limit > 0 && v.Used >= v.Limit
		if v.Failed == 0 && !full && v.Share() < pressure.HighShare || len(found) == mostFindings {
			continue
		}
		host := v.Process.PID == 0
		who, errno := named(v.Process), "EMFILE (24)"
		if host {
			who, errno = "the whole host", "ENFILE (23)"
		}
		x := Finding{
			Severity: Warn,
			What:     who + " has " + output.Count(v.Used) + " of " + output.Count(v.Limit) + " descriptors open",
			Short:    who + " runs out of descriptors",
			Who:      who,
			When:     "not yet: calls that need one will fail with " + errno,
			Why:      "each socket that a process holds takes a descriptor, until it closes it; TIME_WAIT holds none",
			Fix:      []Remedy{{Text: "find what is opened and never closed: `ls -l /proc/PID/fd` shows it; TIME_WAIT is none of it"}},
			Scope:    Scope{}.of(v.Process),
			Evidence: []Evidence{
				{Name: "descriptors", Value: float64(v.Used), Limit: float64(v.Limit), Unit: "descriptors", Source: "/proc/PID/fd"},
				{Name: "failed", Value: float64(v.Failed), Unit: "calls", Source: "trace"},
			},
		}
		if v.Limit == 0 {
			x.What = who + " has no descriptor left"
			x.Evidence = x.Evidence[1:]
		}
		switch {
		case v.Failed > 0:
			x.Severity = Crit
			x.When = fmt.Sprintf("now: %s failed with %s in %s", plural(v.Failed, "call"), errno, seconds(f.watched()))
		case full:
			x.Severity = Crit
			x.When = "now: the next call that needs one fails with " + errno
		}
		x.Now = []Remedy{moreDescriptors(v)}
		found = append(found, x)
	}
	return found
}

// moreDescriptors doubles the limit.
func moreDescriptors(v Descriptors) Remedy {
	more := 2 * max(v.Limit, 1024)
	switch {
	case v.Process.PID == 0:
		return Remedy{
			Text:    "raise the limit of the host",
			Command: fmt.Sprintf("sysctl -w fs.file-max=%d", more), Undo: fmt.Sprintf("sysctl -w fs.file-max=%d", v.Limit),
			Risk: "kernel memory, about 1K for each that is open",
		}
	case v.Limit == 0:
		return Remedy{Text: "raise the limit: LimitNOFILE in its unit, or `ulimit -n` before it starts"}
	}
	return Remedy{
		Text:    fmt.Sprintf("raise the limit; for good with LimitNOFILE=%d in its unit, or `ulimit -n %d` before it starts", more, more),
		Command: fmt.Sprintf("prlimit --pid %d --nofile=%d:", v.Process.PID, more),
		Undo:    fmt.Sprintf("prlimit --pid %d --nofile=%d:", v.Process.PID, v.Limit),
		Risk:    "fails where the hard limit is lower; a program that uses select() breaks above 1,024",
	}
}
