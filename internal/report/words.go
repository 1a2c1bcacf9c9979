package report

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/twtrace/twtrace/internal/event"
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

// shareText is a share in whole percent, and is 100% only of all.
func shareText(f float64) string { return output.Percent(uint64(f*1e6), 1e6) }

func percent(part, whole uint64) cell {
	if whole == 0 {
		return text("")
	}
	return text(output.Percent(part, whole))
}

// period is the time reported on.
func (r *Report) period() string {
	long := output.Duration(int64(r.Trace.Duration * float64(time.Second)))
	begin, end := r.local(r.Trace.Begin), r.local(r.Trace.End)
	layout := time.TimeOnly
	if !r.oneDay() {
		layout = time.DateTime
	}
	words := fmt.Sprintf("%s to %s %s (%s)", begin.Format(time.DateTime), end.Format(layout), r.zoneWords(), long)
	if r.oneDay() {
		words = strings.Replace(words, " ", ", ", 1)
	}
	return words
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

// programName is a program with its pid or the number of its processes, and how many other
// programs take part.
func programName(comm string, pid uint32, processes, others uint64) string {
	name := process(comm, pid)
	if name != "" && pid == 0 && processes > 1 {
		name += " (" + output.Count(processes) + " processes)"
	}
	if name != "" && others > 0 {
		name += " +" + output.Count(others) + " more"
	}
	return name
}

// flow is where a connection goes: 10.0.0.7 -> 10.2.0.9:5432.
func flow(laddr, raddr string, rport uint16) string {
	if raddr == "" {
		return laddr
	}
	to := remoteText(raddr, rport)
	if laddr == "" {
		return to
	}
	return laddr + " -> " + to
}

// omittedPrograms counts those that a list does not name.
func omittedPrograms(n int) string { return fmt.Sprintf(", %d more", n) }

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
		parts = append(parts, r.portsWords(&r.Destinations[0]))
	}
	var noPort uint64
	for _, d := range r.Destinations {
		noPort += d.NoPort
	}
	if noPort > 0 {
		parts = append(parts, plural(noPort, "connect() call", "connect() calls")+" failed"+r.outageWords())
	}
	if n := r.Totals.Refused; n > 0 {
		parts = append(parts, "The kernel refused "+plural(n, "TIME_WAIT socket", "TIME_WAIT sockets"))
	}
	if len(parts) == 0 {
		return ""
	}
	return strings.Join(parts, ". ") + "."
}

// portsWords are how full the ports to the worst destination were.
func (r *Report) portsWords(d *Destination) string {
	to, where := remoteText(d.Raddr, d.Rport), ""
	if name := r.names.of(d.NetNS); name != "" {
		where = " in " + name
	}
	use := fmt.Sprintf("%s of %s", output.Count(d.Used), output.Count(d.Usable))
	if i := slices.IndexFunc(r.Outages, func(o Outage) bool { return o.of(d) }); i >= 0 {
		return fmt.Sprintf("Ports to %s%s ran out at %s (%s in use)", to, where, r.when(r.Outages[i].Begin), use)
	}
	words := fmt.Sprintf("At the peak, %s local ports to %s%s were in use (%s, at %s)", use, to, where, share(d.share), r.when(d.UsedAt))
	if d.Blocked < d.Used {
		words += fmt.Sprintf(", about %s of them in TIME_WAIT and old enough for connect() to reuse", output.Count(d.Used-d.Blocked))
	}
	return words
}

// of reports whether o is an outage of the ports to d.
func (o *Outage) of(d *Destination) bool {
	return o.What == event.Ports.String() && o.NetNS == d.NetNS && o.Laddr == d.Laddr && o.Raddr == d.Raddr && o.Rport == d.Rport
}

// outageWords say in how many outages calls failed, and for how long; "" if that is not known.
func (r *Report) outageWords() string {
	var n uint64
	var long float64
	lasts := ""
	for i := range r.Outages {
		o := &r.Outages[i]
		if o.What != event.Ports.String() {
			continue
		}
		n++
		long += o.Duration
		if o.to == 0 {
			lasts = ", the last until the end of the recording"
		}
	}
	switch n {
	case 0:
		return ""
	case 1:
		if lasts != "" {
			lasts = ", until the end of the recording"
		}
		return " in " + seconds(long) + lasts
	}
	return " in " + plural(n, "", "outages") + ", " + seconds(long) + " in all" + lasts
}

// tile is a number of the head of the page.
type tile struct{ Name, Value, Note string }

// seconds words a number of seconds, one at least.
func seconds(s float64) string {
	return output.Seconds(max(time.Duration(s*float64(time.Second)), time.Second))
}

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
		t = append(t, tile{"ports, worst destination", "-", "no limits recorded"})
	}
	failed := ""
	if r.Totals.Failed > 0 {
		failed = "peak " + output.Rate(r.Peaks.FailRate.Value) + " " + at(r.Peaks.FailRate)
	}
	lost := "of the events that the hooks see"
	if r.Totals.Lost > 0 {
		lost = "numbers here are too low"
	}
	return append(t,
		tile{"calls failed", output.Count(r.Totals.Failed), failed},
		tile{"TIME_WAIT refused", output.Count(r.Totals.Refused), ""},
		tile{"events lost", output.Count(r.Totals.Lost), lost})
}
