package advice

import (
	"fmt"

	"github.com/twtrace/twtrace/internal/output"
	"github.com/twtrace/twtrace/internal/pressure"
)

// loadTest is TW302: client and server are on this host, and the client runs out of
// ports before the server is out of breath.
func loadTest(f Facts) []Finding {
	var found []Finding
	for _, d := range f.Destinations {
		u := project(d.live(), d.Expiry, f.Limits.UsablePorts())
		busy := d.Failed > 0 || u.soon() || u.Used >= pressure.HalfShare*u.Limit
		if !busy || !d.mostlyTimeWait() || !f.Around.own(d.Local) || !f.Around.own(d.Remote.Addr()) || len(found) == mostFindings {
			continue
		}
		found = append(found, f.localTest(d, u))
	}
	return found
}

func (f *Facts) localTest(d Destination, u use) Finding {
	usable := uint64(f.Limits.UsablePorts())
	x := Finding{
		Severity: Info,
		Short:    d.Remote.String() + " is this host: the client's ports are the limit, not the server",
		What: fmt.Sprintf("%s -> %s is from this host to itself, and holds %s of %s ports (%s)", d.Local, d.Remote,
			output.Count(uint64(u.Used)), output.Count(usable), output.Percent(uint64(u.Used), usable)),
		Who:  "not known without a trace",
		When: "as long as the test runs: it is the client's limit, and says nothing of the server",
		Scope: Scope{Comm: d.Owner.Comm, PID: d.Owner.PID,
			Laddr: d.Local.String(), Raddr: d.Remote.Addr().String(), Rport: d.Remote.Port()},
		Evidence: []Evidence{
			{Name: "ports_used", Value: u.Used, Limit: u.Limit, Unit: "ports", Source: "sock_diag"},
			{Name: "time_wait_begins", Value: u.Rate, Unit: "1/s", Source: "sock_diag"},
			{Name: "tcp_tw_reuse", Value: float64(f.Limits.TWReuse), Source: "net.ipv4.tcp_tw_reuse"},
			{Name: "tcp_tw_reuse_delay", Value: float64(f.Limits.TWReuseDelayMS), Unit: "ms", Source: "net.ipv4.tcp_tw_reuse_delay"},
		},
		Fix: []Remedy{
			{Text: "keep-alive in the tool: ab -k, wrk, a client that reuses connections"},
			{Text: "or several targets (127.0.0.2, 127.0.0.3, ...): each has all ports to itself"},
		},
	}
	if d.Owner.Known() {
		x.Who = fmt.Sprintf("%s[%d] opened most of them of late", d.Owner.Comm, d.Owner.PID)
	}
	switch {
	case f.Limits.Timestamps == 0:
		x.Why = "ports in TIME_WAIT are not taken over early, because TCP timestamps are off (TW303)"
	case f.Limits.TWReuse == 0:
		x.Why = "ports in TIME_WAIT are not taken over early, because tcp_tw_reuse is 0; the default, 2, does so on loopback"
	case !d.loopback() && f.Limits.TWReuse == 2:
		x.Why = "connect() takes over ports in TIME_WAIT towards 127.0.0.0/8 and ::1 only (tcp_tw_reuse=2), " +
			"and this is one of the host's other addresses, though packets to it never leave the machine"
		x.Fix = append([]Remedy{{Text: "aim at 127.0.0.1 or ::1 instead"}}, x.Fix...)
	default:
		x.Why = fmt.Sprintf("connect() takes over ports in TIME_WAIT here, but only those that are older than %s: "+
			"%s ports bear about %s of new connections", f.reuseDelay(), output.Count(usable), output.Rate(float64(usable)/f.reuseDelaySeconds()))
	}
	return x
}

// reuseDelaySeconds is how old a socket in TIME_WAIT must be for its port to be taken
// over. Before 6.14 a clock of whole seconds had to have gone on.
func (f *Facts) reuseDelaySeconds() float64 {
	if f.Limits.TWReuseDelayMS < 0 {
		return 1
	}
	return max(float64(f.Limits.TWReuseDelayMS)/1000, 0.001)
}

func (f *Facts) reuseDelay() string {
	if f.Limits.TWReuseDelayMS < 0 {
		return "the second they began in"
	}
	return fmt.Sprintf("tcp_tw_reuse_delay, %d ms", f.Limits.TWReuseDelayMS)
}
