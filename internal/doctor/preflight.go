package doctor

import (
	"fmt"
	"time"

	"github.com/twtrace/twtrace/internal/advice"
	"github.com/twtrace/twtrace/internal/event"
	"github.com/twtrace/twtrace/internal/tracer"
)

// Preflight reports whether this host can be traced, as check does, in the words and
// with the exit code of a diagnosis. btf is the file of the kernel's types, "" for the
// running kernel's.
func (d *Doctor) Preflight(btf string) {
	d.Report.Time = time.Now()
	d.Report.Findings = TraceFindings(tracer.Check(tracer.Options{BTF: btf}))
}

// untraceable notes why this host is not traced. That is no trouble of the host; what
// is not seen without a trace is a finding of its own.
func (d *Doctor) untraceable(err error) {
	d.Report.Findings = append([]advice.Finding{{ID: "TWD001", Group: "trace", Severity: event.Skip,
		Title: "not traced: " + err.Error()}}, d.Report.Findings...)
}

// Findings about the trace beyond its requirements.
const (
	hookMissing  = "TWD008"
	rightMissing = "TWD009"
)

// TraceFindings makes findings of what tracer.Check returns. Without one of the two hook sets, or without
// system calls, a trace runs nevertheless.
func TraceFindings(reqs []tracer.Requirement, hooks []tracer.Hook, failed error) []advice.Finding {
	var all []advice.Finding
	add := func(id string, s event.Severity, title string) {
		all = append(all, advice.Finding{ID: id, Group: "trace", Severity: s, Title: title})
	}
	refused := make(map[tracer.HookSet]bool)
	for _, r := range reqs {
		switch {
		case r.Err == nil:
			add(r.ID, event.OK, r.Name)
		case failed == nil:
			add(r.ID, event.Info, fmt.Sprintf("%s: %v", r.Name, r.Err))
		default:
			add(r.ID, event.Crit, fmt.Sprintf("%s: %v", r.Name, r.Err))
		}
		for _, set := range []tracer.HookSet{tracer.Fentry, tracer.Timer} {
			if r.Err != nil && r.Name == "hook set "+string(set) {
				refused[set] = true
			}
		}
	}
	for _, h := range hooks {
		if h.Err != nil && h.Without != "" && !refused[h.Set] {
			add(hookMissing, event.Info, fmt.Sprintf("%s on %s: %v; not shown: %s", h.Name, h.Target, h.Err, h.Without))
		}
	}
	if failed == nil {
		for _, l := range tracer.Lacks() {
			add(rightMissing, event.Info, l)
		}
	}
	return all
}
