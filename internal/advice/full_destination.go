package advice

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/twtrace/twtrace/internal/event"
	"github.com/twtrace/twtrace/internal/output"
	"github.com/twtrace/twtrace/internal/pressure"
)

// fullest runs find on the destinations that are short of ports, the worst
// first, and returns the first findings.
func fullest(f Facts, find func(Destination, use) (Finding, bool)) []Finding {
	type short struct {
		d Destination
		u use
	}
	var all []short
	for _, d := range f.Destinations {
		if f.rangeFull() && f.takenFrom(&d) { // TW108 says so
			continue
		}
		if u := f.use(&d); u.severity() >= event.Warn || d.Failed > 0 || u.held() {
			all = append(all, short{d, u})
		}
	}
	slices.SortStableFunc(all, func(a, b short) int {
		return cmp.Or(cmp.Compare(b.u.severity(), a.u.severity()), cmp.Compare(b.u.Used, a.u.Used))
	})
	var found []Finding
	for _, s := range all {
		x, ok := find(s.d, s.u)
		if ok && len(found) < maxFindings {
			found = append(found, x)
		}
	}
	return found
}

// finding has what TW101 and TW106 both say about d.
func (d *Destination) finding(f Facts, u use) Finding {
	usable := f.Limits.UsablePorts()
	used := d.States.All()
	x := Finding{
		Severity: u.severity(),
		What: fmt.Sprintf("%s holds %s of %s ports (%s)", d.route(),
			output.Count(uint64(used)), output.Count(uint64(usable)), output.Percent(uint64(used), uint64(usable))),
		Who:   unknownOwner,
		When:  u.when("connect() to it fails with " + errnoName(unix.EADDRNOTAVAIL)),
		Short: d.short(u, f.Time),
		Scope: d.scope(),
		Evidence: []Evidence{
			{Name: "ports_used", Value: float64(used), Limit: float64(usable), Unit: "ports", Source: f.source()},
			{Name: "time_wait_begins", Value: d.Expiry.Rate(), Unit: "1/s", Source: f.source()},
			{Name: "ports_steady", Value: u.Steady, Limit: float64(usable), Unit: "ports", Source: "forecast"},
		},
	}
	if u.gauge != nil {
		x.Evidence = append(x.Evidence, Evidence{Name: "demand", Value: u.gauge.Demand, Limit: u.gauge.MaxRate, Unit: "1/s", Source: f.source()})
	}
	if used == 0 {
		x.What = fmt.Sprintf("%s -> %s holds none of its %s ports by now", d.Local, d.Remote, output.Count(uint64(usable)))
	}
	for state, n := range d.States.Full {
		if n > 0 {
			x.Evidence = append(x.Evidence, Evidence{Name: event.State(state).String(), Value: float64(n), Unit: "sockets", Source: f.source()})
		}
	}
	if d.States.Parked > 0 {
		x.Evidence = append(x.Evidence, Evidence{Name: "FIN_WAIT2_parked", Value: float64(d.States.Parked), Unit: "sockets", Source: f.source()})
	}
	x.Evidence = append(x.Evidence,
		Evidence{Name: "tcp_tw_reuse", Value: float64(f.Limits.TWReuse), Source: "net.ipv4.tcp_tw_reuse"},
		Evidence{Name: "tcp_timestamps", Value: float64(f.Limits.Timestamps), Source: "net.ipv4.tcp_timestamps"})
	if f.Traced {
		x.Who = earlierOwner
		x.by(f.users(d)...)
		x.Evidence = append(x.Evidence, f.flowEvidence(&d.Flow)...)
		x.Evidence = append(x.Evidence,
			Evidence{Name: "with_timestamps", Value: float64(d.Stamped), Limit: float64(d.Begun), Unit: "sockets", Source: "trace"},
			Evidence{Name: "EADDRNOTAVAIL", Value: float64(d.Failed), Unit: "calls", Source: "trace"})
	}
	if u.soon() {
		x.Forecast = &Forecast{Event: "ports_exhausted", InS: u.In.Seconds()}
	}
	failed := fmt.Sprintf("%s failed with %s in the last %s", plural(d.Failed, "connect() call"), errnoName(unix.EADDRNOTAVAIL), output.Seconds(f.watched()))
	switch {
	case d.Failed > 0 && u.resolved():
		x.Severity, x.Over = max(x.Severity, event.Warn), true
		x.When = u.resolution(f.Time) + ": " + failed + "; " + u.when("connect() to it fails again")
	case d.Failed > 0:
		x.Severity = event.Crit
		x.When = "now: " + failed + ", " + output.Rate(f.perSecond(d.Failed)) + d.until(u)
		x.Forecast = &Forecast{Event: "ports_exhausted"}
		x.Since = u.since()
	}
	return x
}

// scope is the two ends of d.
func (d *Destination) scope() Scope {
	return Scope{Laddr: addrText(d.Local), Raddr: d.Remote.Addr().String(), Rport: d.Remote.Port()}
}

// until says what must happen for calls not to fail: less demand, or time; it goes behind
// how many fail.
func (d *Destination) until(u use) string {
	if words := u.fits(); words != "" {
		return words
	}
	first, last := d.Expiry.Free()
	_, _, over := drains(&d.Expiry)
	switch {
	case !over:
		return ""
	case first <= pressure.Lateness:
		return "; ports come free now, the last in about " + output.Seconds(last)
	}
	return fmt.Sprintf("; the first port is free in about %s, the last in about %s", output.Seconds(first), output.Seconds(last))
}

// short is how full the ports are, in a few words.
func (d *Destination) short(u use, now time.Time) string {
	to := "ports to " + d.Remote.String()
	switch {
	case d.Failed > 0 && u.resolved():
		return to + ": " + u.resolution(now)
	case d.Failed > 0, u.full():
		return to + " are used up: connect() fails"
	case u.soon():
		return to + " run out in ~" + output.Seconds(max(u.In, time.Second))
	case u.Used < 1: // connect() may take over those that are held
		return to + " are free, or can be reused"
	case u.Used >= nearlyFull*u.Limit:
		return fmt.Sprintf("%s free of %s %s", output.Count(uint64(u.Limit-u.Used)), output.Count(uint64(u.Limit)), to)
	}
	return to + " " + output.Percent(uint64(u.Used), uint64(u.Limit)) + " used"
}

// nearlyFull is from which share on the ports that are left are counted, not those in use.
const nearlyFull = 0.95

// live is how many ports sockets hold that are not in TIME_WAIT.
func (d *Destination) live() int { return d.States.All() - d.States.Of(event.TimeWait) }

func (d *Destination) mostlyTimeWait() bool {
	return d.States.All() > 0 && 2*d.States.Of(event.TimeWait) >= d.States.All()
}

// route is the two ends of d; who connects from no known address is left out.
func (d *Destination) route() string {
	if !d.Local.IsValid() || d.Local.IsUnspecified() {
		return d.Remote.String()
	}
	return d.Local.String() + " -> " + d.Remote.String()
}

// idle counts FIN_WAIT2, full or parked.
func (s *States) idle() int { return s.Of(event.FinWait2) + int(s.Parked) }

// loopback reports whether tcp_tw_reuse=2 covers d, as tcp_twsk_unique has it:
// by the addresses, so the host's other addresses do not count.
func (d *Destination) loopback() bool { return d.Local.IsLoopback() || d.Remote.Addr().IsLoopback() }
