package advice

import (
	"fmt"
	"slices"

	"github.com/twtrace/twtrace/internal/event"
	"github.com/twtrace/twtrace/internal/output"
	"github.com/twtrace/twtrace/internal/pressure"
)

var tw302 = rule{id: "TW302", title: "loopback and load tests", find: loadTest}

// loadTools are the load generators that TW302 knows by name, as the kernel cuts it off.
var loadTools = []string{"ab", "wrk", "wrk2", "hey", "siege", "h2load", "bombardier", "oha", "vegeta", "k6", "locust", "httperf", "fortio",
	"ghz", "tsung", "weighttp", "cassowary", "plow", "sysbench", "pgbench", "mysqlslap", "redis-benchmark", "memtier_benchma", "nghttp"}

// loadTest is TW302: client and server are on this host. If the client is a load
// generator, its ports are the limit of the test. Of any other it is a note that the kernel
// reuses ports of 127.0.0.1 early, and those of the host's other addresses not.
func loadTest(f Facts) []Finding {
	var found []Finding
	for _, d := range f.Destinations {
		u := project(d.live(), d.Expiry, f.Limits.UsablePorts())
		busy := d.Failed > 0 || u.soon() || u.Used >= pressure.HalfShare*u.Limit
		if !busy || d.States.Of(event.TimeWait) == 0 || !d.mostlyTimeWait() || !f.HostAfter.own(d.Local) || !f.HostAfter.own(d.Remote.Addr()) || len(found) == maxFindings {
			continue
		}
		tool := slices.Contains(loadTools, d.biggest().Process.Comm)
		if !tool && (d.loopback() || f.Limits.TWReuse != 2 || f.Limits.Timestamps == 0) {
			continue // other rules say all that there is
		}
		x := f.toItself(d, u)
		if tool {
			f.ofTool(&x, d)
		}
		found = append(found, x)
	}
	return found
}

func (f *Facts) toItself(d Destination, u use) Finding {
	usable := uint64(f.Limits.UsablePorts())
	x := Finding{
		Severity: event.Info,
		Title:    "connections of this host to itself",
		Short:    d.Remote.String() + " is this host: 127.0.0.1 would reuse ports early",
		What: fmt.Sprintf("%s -> %s connects this host to itself and holds %s of %s ports (%s)", d.Local, d.Remote,
			output.Count(uint64(u.Used)), output.Count(usable), output.Percent(uint64(u.Used), usable)),
		Who:   "not known without a trace",
		Scope: d.scope(),
		Evidence: []Evidence{
			{Name: "ports_used", Value: u.Used, Limit: u.Limit, Unit: "ports", Source: "sock_diag"},
			{Name: "time_wait_begins", Value: u.Rate, Unit: "1/s", Source: "sock_diag"},
			{Name: "tcp_tw_reuse", Value: float64(f.Limits.TWReuse), Source: "net.ipv4.tcp_tw_reuse"},
			{Name: "tcp_tw_reuse_delay", Value: float64(f.Limits.TWReuseDelayMS), Unit: "ms", Source: "net.ipv4.tcp_tw_reuse_delay"},
		},
	}
	if f.Traced {
		x.Who = earlierOwner
	}
	x.by(f.opened(&d.Openers))
	switch usable := uint64(f.Limits.UsablePorts()); {
	case f.Limits.Timestamps == 0:
		x.Why = "connect() does not reuse ports in TIME_WAIT early, because TCP timestamps are off (TW303)"
	case f.Limits.TWReuse == 0:
		x.Why = "connect() does not reuse ports in TIME_WAIT early, because tcp_tw_reuse is 0; the default, 2, allows it on loopback"
	case !d.loopback() && f.Limits.TWReuse == 2:
		x.Why = "connect() reuses ports in TIME_WAIT only towards 127.0.0.0/8 and ::1 (tcp_tw_reuse=2), " +
			"and this is one of the host's other addresses, though packets to it never leave the host"
		x.Fix = []Remedy{{Text: "use 127.0.0.1 or ::1 as the target instead"}}
	default:
		x.Why = fmt.Sprintf("connect() reuses ports in TIME_WAIT here, but only those that are older than %s: "+
			"%s ports allow new connections at about %s", f.reuseDelay(), output.Count(usable), output.Rate(float64(usable)/f.reuseDelaySeconds()))
	}
	return x
}

// ofTool says what it means for the test of a load generator.
func (f *Facts) ofTool(x *Finding, d Destination) {
	x.Title = "" // the rule's
	x.Short = d.Remote.String() + " is this host: the ports of " + d.biggest().Process.Comm + " are the limit, not the server"
	x.When = "as long as the test runs: it is the client's limit and says nothing about the server"
	x.Fix = append(x.Fix,
		Remedy{Text: "use keep-alive in the tool: ab -k, wrk, a client that reuses connections"},
		Remedy{Text: "or use several targets (127.0.0.2, 127.0.0.3, ...): each has the whole range of ports"})
}

// reuseDelaySeconds is how old a socket in TIME_WAIT must be before connect() reuses its
// port. Before 6.14 a clock of whole seconds had to have advanced.
func (f *Facts) reuseDelaySeconds() float64 {
	if f.Limits.TWReuseDelayMS < 0 {
		return 1
	}
	return max(float64(f.Limits.TWReuseDelayMS)/1000, 0.001)
}

func (f *Facts) reuseDelay() string {
	if f.Limits.TWReuseDelayMS < 0 {
		return "the second in which they started"
	}
	return fmt.Sprintf("tcp_tw_reuse_delay, %d ms", f.Limits.TWReuseDelayMS)
}
