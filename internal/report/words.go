package report

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/twtrace/twtrace/internal/output"
)

func count(n uint64) cell { return text(output.Count(n)) }

// life words a duration that may not be known.
func life(ns *int64) cell {
	if ns == nil {
		return text("")
	}
	return text(output.Duration(*ns))
}

// share words a share with a tenth of a percent, and never rounds up to all.
func share(f float64) string {
	p := math.Floor(f*1000) / 10
	return strconv.FormatFloat(p, 'f', 1, 64) + "%"
}

func percent(part, whole uint64) cell {
	if whole == 0 {
		return text("")
	}
	return text(output.Percent(part, whole))
}

// clock is the time of day of a time of the report, to the second.
func clock(stamp string) string {
	if len(stamp) < len("2006-01-02T15:04:05") {
		return "-"
	}
	return stamp[len("2006-01-02T"):len("2006-01-02T15:04:05")]
}

// when is a time in words: with its day if the report has several.
func (r *Report) when(stamp string) string {
	if stamp == "" {
		return "-"
	}
	if r.oneDay() {
		return clock(stamp)
	}
	return stamp[:len("2006-01-02")] + " " + clock(stamp)
}

func (r *Report) oneDay() bool {
	const day = len("2006-01-02")
	return r.Trace.Begin[:day] == r.Trace.End[:day]
}

// period is the time reported on.
func (r *Report) period() string {
	day := r.Trace.Begin[:len("2006-01-02")]
	long := output.Duration(int64(r.Trace.Duration * float64(time.Second)))
	if r.oneDay() {
		return fmt.Sprintf("%s, %s to %s UTC (%s)", day, clock(r.Trace.Begin), clock(r.Trace.End), long)
	}
	return fmt.Sprintf("%s to %s UTC (%s)", r.when(r.Trace.Begin), r.when(r.Trace.End), long)
}

// severityWords are what a severity is called; colour is never the only sign.
var severityWords = map[string]string{"crit": "CRITICAL", "warn": "WARNING", "info": "NOTE", "ok": "OK", "skip": "SKIPPED", "unknown": "UNKNOWN"}

func severityWord(s string) string {
	if w := severityWords[s]; w != "" {
		return w
	}
	return s
}

// process is a process in words: checkout[21337].
func process(comm string, pid uint32) string {
	switch {
	case comm == "" && pid == 0:
		return ""
	case pid == 0:
		return comm
	}
	return fmt.Sprintf("%s[%d]", comm, pid)
}

// flow is where a connection goes: 10.0.0.7 -> 10.2.0.9:5432.
func flow(laddr, raddr string, rport uint16) string {
	if raddr == "" {
		return laddr
	}
	to := sameRemote(raddr, rport)
	if laddr == "" {
		return to
	}
	return laddr + " -> " + to
}

// omitted says what a table leaves out, "" if nothing.
func omitted(n uint64, what string) string {
	if n == 0 {
		return ""
	}
	return output.Count(n) + " more " + what + " not shown"
}

func plural(n uint64, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return output.Count(n) + " " + many
}

// headline is the report in a sentence or two.
func (r *Report) headline() string {
	var parts []string
	if p := r.Peaks.PortsShare; p != nil && len(r.Destinations) > 0 && r.Destinations[0].Usable > 0 {
		d := r.Destinations[0]
		parts = append(parts, fmt.Sprintf("At the most, %s of %s local ports towards %s were in use (%s, at %s)",
			output.Count(d.Used), output.Count(d.Usable), sameRemote(d.Raddr, d.Rport), share(d.share), r.when(d.UsedAt)))
	}
	var noPort uint64
	for _, d := range r.Destinations {
		noPort += d.NoPort
	}
	if noPort > 0 {
		parts = append(parts, plural(noPort, "connect() found no free port", "calls of connect() found no free port"))
	}
	if n := r.Totals.Refused; n > 0 {
		parts = append(parts, "the kernel refused "+plural(n, "TIME_WAIT socket", "TIME_WAIT sockets"))
	}
	if n := uint64(len(r.Storms)) + r.Omitted.Storms; n > 0 {
		parts = append(parts, plural(n, "storm", "storms")+" recorded")
	}
	if len(parts) == 0 {
		return ""
	}
	return strings.Join(parts, "; ") + "."
}

// tile is a number of the head of the page.
type tile struct{ Name, Value, Note string }

func (r *Report) tiles() []tile {
	at := func(p Peak) string {
		if p.At == "" {
			return ""
		}
		return "at " + r.when(p.At)
	}
	t := []tile{
		{"TIME_WAIT, peak", output.Count(uint64(r.Peaks.TimeWait.Value)), at(r.Peaks.TimeWait)},
		{"opened", output.Count(r.Totals.Opened), "peak " + output.Rate(r.Peaks.OpenRate.Value) + " " + at(r.Peaks.OpenRate)},
	}
	if p := r.Peaks.PortsShare; p != nil {
		t = append(t, tile{"ports, worst destination", share(p.Value), at(*p)})
	} else {
		t = append(t, tile{"ports, worst destination", "-", "no limit in the recording"})
	}
	failed := ""
	if r.Totals.Failed > 0 {
		failed = "peak " + output.Rate(r.Peaks.FailRate.Value) + " " + at(r.Peaks.FailRate)
	}
	lost := "of what the hooks see"
	if r.Totals.Lost > 0 {
		lost = "the numbers here are too low"
	}
	return append(t,
		tile{"calls failed", output.Count(r.Totals.Failed), failed},
		tile{"TIME_WAIT refused", output.Count(r.Totals.Refused), ""},
		tile{"events lost", output.Count(r.Totals.Lost), lost})
}
