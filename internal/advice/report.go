package advice

import (
	"time"

	"github.com/twtrace/twtrace/internal/kernel"
)

// Report is the outcome of one diagnosis.
type Report struct {
	Version  string
	Host     kernel.Host
	Time     time.Time      // of the last look
	Window   time.Duration  // that was watched up to then; 0 if there was one look only
	File     string         // the trace file that was read; "" if this host was watched
	Spaces   []kernel.NetNS // network namespaces that were looked at
	LeftOut  int            // more of them that have sockets
	Closed   []kernel.NetNS // more of them that this user may not look at
	Traced   bool           // with BPF: Lost means something
	Lost     uint64         // events
	FailOn   Severity       // the least that makes an exit code other than 0; Skip is Warn
	Findings []Finding      // the worst first
}

// Worst is the severity of the worst finding, Skip if there is none.
func (r Report) Worst() Severity {
	worst := Skip
	for _, f := range r.Findings {
		worst = max(worst, f.Severity)
	}
	return worst
}

// Verdict is the report in a word: ok, warn, crit, or unknown.
func (r Report) Verdict() string {
	switch r.Worst() {
	case Crit:
		return "crit"
	case Warn:
		return "warn"
	case Info, OK:
		return "ok"
	}
	return "unknown"
}

// ExitCode is that of a monitoring plugin: 0 ok, 1 warning, 2 critical, 3
// unknown. What is below FailOn is ok; if a note is to fail, it is a warning.
func (r Report) ExitCode() int {
	failOn := r.FailOn
	if failOn == Skip {
		failOn = Warn
	}
	switch worst := r.Worst(); {
	case worst == Skip:
		return 3
	case worst < failOn:
		return 0
	case worst == Crit:
		return 2
	}
	return 1
}

// space is how people call a namespace that was looked at.
func (r Report) space(inum uint32) string {
	for _, n := range r.Spaces {
		if n.Inum == inum {
			return n.String()
		}
	}
	return kernel.NetNS{Inum: inum}.String()
}
