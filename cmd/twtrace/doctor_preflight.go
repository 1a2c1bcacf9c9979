package main

import (
	"fmt"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/twtrace/twtrace/internal/advice"
	"github.com/twtrace/twtrace/internal/tracer"
)

// preflight says whether this host can be traced, as check does, in the words and with
// the exit code of a diagnosis.
func (d *doctor) preflight(c *cli.Context) error {
	d.report.Time = time.Now()
	reqs, hooks, failed := tracer.Check(tracer.Options{BTF: c.String("btf")})
	d.report.Findings = traceFindings(reqs, hooks, failed)
	return nil
}

// untraceable notes why this host is not traced. That is no trouble of the host: what
// was not seen for it is a finding of its own.
func (d *doctor) untraceable(err error) {
	d.report.Findings = append([]advice.Finding{{ID: "TWD001", Group: "trace", Severity: advice.Skip,
		Title: "not traced: " + err.Error()}}, d.report.Findings...)
}

// Findings about the trace beyond its requirements.
const (
	hookMissing  = "TWD008"
	rightMissing = "TWD009"
)

// traceFindings words what Check says. Without one of the two hook sets, or without
// system calls, a trace runs nevertheless.
func traceFindings(reqs []tracer.Requirement, hooks []tracer.Hook, failed error) []advice.Finding {
	var all []advice.Finding
	add := func(id string, s advice.Severity, title string) {
		all = append(all, advice.Finding{ID: id, Group: "trace", Severity: s, Title: title})
	}
	refused := make(map[tracer.HookSet]bool)
	for _, r := range reqs {
		switch {
		case r.Err == nil:
			add(r.ID, advice.OK, r.Name)
		case failed == nil:
			add(r.ID, advice.Info, fmt.Sprintf("%s: %v", r.Name, r.Err))
		default:
			add(r.ID, advice.Crit, fmt.Sprintf("%s: %v", r.Name, r.Err))
		}
		for _, set := range []tracer.HookSet{tracer.Fentry, tracer.Timer} {
			if r.Err != nil && r.Name == "hook set "+string(set) {
				refused[set] = true
			}
		}
	}
	for _, h := range hooks {
		if h.Err != nil && h.Without != "" && !refused[h.Set] {
			add(hookMissing, advice.Info, fmt.Sprintf("%s on %s: %v; not shown: %s", h.Name, h.Target, h.Err, h.Without))
		}
	}
	if failed == nil {
		for _, l := range tracer.Lacks() {
			add(rightMissing, advice.Info, l)
		}
	}
	return all
}
