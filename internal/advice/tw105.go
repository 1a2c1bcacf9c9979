package advice

import (
	"cmp"
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/twtrace/twtrace/internal/event"
	"github.com/twtrace/twtrace/internal/output"
	"github.com/twtrace/twtrace/internal/pressure"
)

var tw105 = rule{id: "TW105", title: "file descriptors run out", find: descriptors}

// wholeHost is who runs out where no process has a limit of its own.
const wholeHost Who = "the whole host"

// contributes is what a process is counted for: the descriptors it holds or, where these
// are not known, the calls that failed.
func (d *Descriptors) contributes() Part {
	if d.Used > 0 {
		return Holds
	}
	return Fails
}

// descriptors is TW105.
func descriptors(f Facts) []Finding {
	var found []Finding
	for _, v := range f.Traffic.Descriptors {
		full := v.Limit > 0 && v.Used >= v.Limit
		if v.Failed == 0 && !full && v.Share() < pressure.HighShare || len(found) == maxFindings {
			continue
		}
		host := v.Process.PID == 0
		who, errno := named(v.Process), errnoName(unix.EMFILE)
		if host {
			who, errno = string(wholeHost), errnoName(unix.ENFILE)
		}
		x := Finding{
			Severity: event.Warn,
			What:     who + " has " + output.Count(v.Used) + " of " + output.Count(v.Limit) + " file descriptors open",
			Short:    who + " runs out of file descriptors",
			Who:      wholeHost,
			When:     "not yet: calls that need one will fail with " + errno,
			Why:      "each open socket takes a file descriptor until the process closes it; TIME_WAIT takes none",
			Fix:      []Remedy{{Text: "find what the process opens and never closes: `ls -l /proc/PID/fd` shows it; TIME_WAIT is not the cause"}},
			Evidence: []Evidence{
				{Name: "descriptors", Value: float64(v.Used), Limit: float64(v.Limit), Unit: "descriptors", Source: "/proc/PID/fd"},
				{Name: "failed", Value: float64(v.Failed), Unit: "calls", Source: "trace"},
			},
		}
		if !host {
			x.by(f.counted(v.contributes(), one(Contributor{Process: v.Process, PIDs: 1, N: cmp.Or(v.Used, v.Failed)}), who))
		}
		if v.Limit == 0 || v.Used == 0 { // they could not be read
			x.What = who + " has no file descriptor left"
			x.Evidence = x.Evidence[1:]
		}
		switch {
		case v.Failed > 0:
			x.Severity = event.Crit
			x.When = fmt.Sprintf("now: %s failed with %s in the last %s", plural(v.Failed, "call"), errno, output.Seconds(f.watched()))
		case full:
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
	switch host := v.Process.PID == 0; {
	case host && v.Limit == 0: // it could not be read, so nothing can be doubled
		return Remedy{Text: "raise the host's limit, fs.file-max"}
	case host:
		return Remedy{
			Text:     "raise the host's limit",
			Settings: Settings{Set: []Setting{setting("fs.file-max", more, v.Limit)}},
			Risk:     "kernel memory, about 1K for each open file",
		}
	case v.Limit == 0:
		return Remedy{Text: "raise the limit: LimitNOFILE in its systemd unit, or `ulimit -n` before it starts"}
	}
	return Remedy{
		Text: fmt.Sprintf("raise the limit; permanently with LimitNOFILE=%d in its systemd unit, or `ulimit -n %d` before it starts", more, more),
		Shell: Shell{
			Run:  fmt.Sprintf("prlimit --pid %d --nofile=%d:", v.Process.PID, more),
			Undo: fmt.Sprintf("prlimit --pid %d --nofile=%d:", v.Process.PID, v.Limit),
		},
		Risk: "fails if the hard limit is lower; a program that uses select() breaks above 1,024",
	}
}
