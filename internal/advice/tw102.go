package advice

import (
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/twtrace/twtrace/internal/event"
	"github.com/twtrace/twtrace/internal/output"
)

var tw102 = rule{id: "TW102", title: "bind before connect", find: boundPorts}

// boundPorts is TW102.
func boundPorts(f Facts) []Finding {
	var found []Finding
	for _, b := range f.Traffic.Bound {
		if b.Gauge == nil && b.Failed == 0 {
			continue
		}
		u := use{}
		if b.Gauge != nil {
			u = gauged(b.Gauge)
		}
		skipped := uint64(0) // connects that found no port, since these have bound them
		if f.rangeFull() && f.boundByClients() {
			skipped, _ = f.failedForRange()
		}
		if u.severity() < event.Warn && b.Failed == 0 && skipped == 0 || len(found) == maxFindings {
			continue
		}
		usable := uint64(f.Limits.UsablePorts())
		x := Finding{
			Severity: u.severity(),
			What:     b.what(u, usable),
			Short:    "ports bound before connect: " + output.Percent(max(uint64(u.Used), uint64(b.Taken)), usable) + " used",
			Who:      earlierOwner,
			When:     u.when("bind() to port 0 fails with " + errnoName(unix.EADDRINUSE)),
			Why: "a port that bind() takes before connect() is gone for every destination, not only one: " +
				"a program that binds first cannot share ports between destinations",
			Scope: Scope{Laddr: addrText(b.Local)},
			Evidence: []Evidence{
				{Name: "ports_bound", Value: u.Used, Limit: float64(usable), Unit: "ports", Source: "trace"},
				{Name: "EADDRINUSE", Value: float64(b.Failed), Unit: "calls", Source: "trace"},
			},
			Now: []Remedy{{Text: "also bind to other source addresses: each has its own ports"}},
			Fix: []Remedy{{Text: "set IP_BIND_ADDRESS_NO_PORT before bind() to an address and port 0, so that connect() chooses the port " +
				"(HAProxy and recent nginx do), or do not bind at all"}},
		}
		if b.Taken > 0 {
			x.Evidence = append(x.Evidence, Evidence{Name: "ports_taken", Value: float64(b.Taken), Limit: float64(usable), Unit: "ports", Source: "trace"})
		}
		x.by(f.holding(&b.Holders, "bound ports"), f.counted(Fails, &b.Failers, "found no free port: "+f.rates(&b.Failers)))
		if w, ok := widerRange(f); ok {
			x.Now = append(x.Now, w)
		}
		if u.soon() {
			x.Forecast = &Forecast{Event: "ports_exhausted", InS: u.In.Seconds()}
		}
		switch {
		case b.Failed > 0 && u.resolved():
			x.Severity, x.Over = max(x.Severity, event.Warn), true
			x.Short = "ports bound before connect: " + u.resolution(f.Time)
			x.When = u.resolution(f.Time) + ": " + plural(b.Failed, "call") + " found no free port in the last " + output.Seconds(f.watched())
		case b.Failed > 0:
			x.Severity, x.Forecast = event.Crit, &Forecast{Event: "ports_exhausted"}
			x.Since = u.since()
			x.Short = "bind() to port 0 fails: no port is free"
			x.When = fmt.Sprintf("now: %s calls found no free port in the last %s", output.Count(b.Failed), output.Seconds(f.watched()))
		}
		if b.Failed == 0 && skipped > 0 {
			x.Severity, x.Forecast = event.Crit, &Forecast{Event: "ports_exhausted"}
			x.When = fmt.Sprintf("now: %s found no free port in the last %s", plural(skipped, "connect() call"), output.Seconds(f.watched()))
			x.Evidence = append(x.Evidence, Evidence{Name: "EADDRNOTAVAIL", Value: float64(skipped), Unit: "calls", Source: "trace"})
		}
		found = append(found, x)
	}
	return found
}

// what is how many ports are taken. A trace does not know whether older sockets were
// bound.
func (b *BoundPorts) what(u use, usable uint64) string {
	words := fmt.Sprintf("no port bound to %s is held by now; at most %s can be", b.Local, output.Count(usable))
	if uint64(u.Used) > 0 {
		words = fmt.Sprintf("clients that bind %[4]s before they connect hold %[1]s of %[2]s ports (%[3]s)", output.Count(uint64(u.Used)),
			output.Count(usable), output.Percent(uint64(u.Used), usable), b.Local)
	}
	if b.Taken > 0 {
		words += fmt.Sprintf("; sockets to all destinations hold %s", output.Count(uint64(b.Taken)))
	}
	return words
}
