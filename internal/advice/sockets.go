package advice

import (
	"fmt"
	"math"

	"github.com/twtrace/twtrace/internal/event"
	"github.com/twtrace/twtrace/internal/output"
	"github.com/twtrace/twtrace/internal/pressure"
)

// manyTimeWait is how many on one listening port are worth a word.
const manyTimeWait = 1000

// serverClosesFirst is TW204.
func serverClosesFirst(f Facts) []Finding {
	var found []Finding
	for _, l := range f.Listeners {
		n := l.States.Of(event.TimeWait)
		if n < manyTimeWait || len(found) == mostFindings {
			continue
		}
		port := l.Local.Port()
		x := Finding{
			Severity: Info,
			What: fmt.Sprintf("the server on %s holds %s in TIME_WAIT; they take no ephemeral port, and about %s of memory",
				l.Local, output.Count(uint64(n)), output.Bytes(uint64(n)*pressure.ServerTWBytes)),
			Who:  l.who(),
			When: "no harm by itself: " + bucketsInWords(f),
			Why: fmt.Sprintf("%s connections on this port are in TIME_WAIT, which stays with the side that closes first: the server",
				output.Count(uint64(n))),
			Fix:   []Remedy{{Text: "nothing needs to be done; to have fewer, let the clients close, or lengthen the server's keep-alive"}},
			Scope: Scope{Laddr: l.Local.Addr().String(), Lport: port}.of(l.Owner),
			Evidence: []Evidence{
				{Name: "time_wait", Value: float64(n), Unit: "sockets", Source: f.source()},
				{Name: "ephemeral_ports", Value: 0, Limit: float64(f.Limits.UsablePorts()), Unit: "ports", Source: f.source()},
				{Name: "memory", Value: float64(n * pressure.ServerTWBytes), Unit: "bytes", Source: "estimate"},
			},
		}
		if here, of := l.closedHere(); of > 0 {
			x.Why += fmt.Sprintf("; of those that ended while it was watched, it closed %s first", output.Percent(here, of))
			x.Evidence = append(x.Evidence, f.flowEvidence(&l.Flow)...)
		}
		if f.Limits.Ephemeral(port) {
			x.What += fmt.Sprintf("; but port %d lies inside ip_local_port_range, and connect() cannot use it for anything", port)
			list := fmt.Sprint(port)
			if f.Limits.ReservedPorts != "" {
				list = f.Limits.ReservedPorts + "," + list
			}
			x.Fix = append(x.Fix, Remedy{
				Text:    "reserve the port, so that no client can take it while the server restarts",
				Command: f.sysctl("ip_local_reserved_ports=" + list),
				Undo:    f.sysctl("ip_local_reserved_ports=" + f.Limits.ReservedPorts),
				Risk:    "none known: connections that exist stay",
			})
		}
		found = append(found, x)
	}
	return found
}

// who is the server.
func (l *Listener) who() string {
	if l.Owner.Known() {
		return named(l.Owner)
	}
	return "not known; `ss -tlnp` shows who listens there"
}

// bucketLimit is TW205.
func bucketLimit(f Facts) []Finding {
	limit := f.Limits.MaxTWBuckets
	refused := grown(f.After.TWOverflow, f.Before.TWOverflow)
	tw := f.TimeWait.Total()
	alive := int(f.After.TimeWait)
	u := project(max(alive-tw, 0), f.TimeWait, int(min(limit, math.MaxInt32)))
	refusedRate := 0.0
	if f.Window > 0 {
		refusedRate = float64(refused) / f.Window.Seconds()
		u.Steady += refusedRate * pressure.Hold.Seconds()
	}

	severity := u.severity()
	switch {
	case refused > 0, limit == 0:
		severity = Crit
	case severity < Info && f.After.TWOverflow > 0:
		severity = Info
	case severity < Info:
		return nil
	}
	x := Finding{
		Severity: severity,
		Short:    bucketsInWords(f),
		What:     bucketsInWords(f),
		Who:      unknownOwner,
		When:     u.when("the kernel drops connections instead of keeping them in TIME_WAIT"),
		Evidence: []Evidence{
			{Name: "time_wait", Value: float64(alive), Limit: float64(limit), Unit: "sockets", Source: "sockstat"},
			{Name: "refused", Value: float64(f.After.TWOverflow), Unit: "sockets", Source: "TcpExtTCPTimeWaitOverflow"},
			{Name: "refused_rate", Value: refusedRate, Unit: "1/s", Source: "TcpExtTCPTimeWaitOverflow"},
			{Name: "time_wait_begins", Value: u.Rate, Unit: "1/s", Source: f.source()},
		},
	}
	switch {
	case refused > 0:
		x.When = fmt.Sprintf("now: %s refused in %s (%s)", output.Count(refused), seconds(f.Window), output.Rate(refusedRate))
	case limit == 0:
		x.When = "now: no TIME_WAIT is allowed"
	case severity == Info:
		x.When = "not now; " + x.When
	}
	x.Why = "modern kernels log nothing at this limit; a connection that is refused TIME_WAIT is not protected against segments " +
		"that come late, and its peer may see a reset"
	if f.After.TWOverflow > 0 {
		x.Why += fmt.Sprintf("; %s refused since this namespace was made", output.Count(f.After.TWOverflow))
	}
	if refused > 0 && u.Used < pressure.HighShare*u.Limit {
		x.Why += "; the limit was not reached when the sockets were counted: it was in between, or the kernel had no memory"
	}
	if f.Traced {
		x.Who, x.Scope = earlierOwner, x.Scope.of(f.Traffic.TimeWaitOwner)
		if f.Traffic.TimeWaitOwner.Known() {
			x.Who = named(f.Traffic.TimeWaitOwner) + " closed most of them of late"
		}
	}
	switch {
	case refused > 0:
		x.Forecast = &Forecast{Event: "buckets_exhausted"}
	case u.soon():
		x.Forecast = &Forecast{Event: "buckets_exhausted", InS: u.In.Seconds()}
	}
	if severity > Info {
		x.Now = append(x.Now, moreBuckets(f, u))
		x.Fix = append(x.Fix, Remedy{Text: "find who closes so many connections and let them be reused: `sudo twtrace`"})
	}
	return []Finding{x}
}

// moreBuckets raises the limit to what the present rate needs, at least twofold,
// if there is memory for it.
func moreBuckets(f Facts, u use) Remedy {
	limit := f.Limits.MaxTWBuckets
	target := uint64(4096)
	for target < 2*limit || float64(target) < 1.25*u.Steady {
		target *= 2
	}
	target = min(target, math.MaxInt32)
	need := (target - min(limit, target)) * pressure.ClientTWBytes
	if target <= limit {
		return Remedy{Text: "the limit is as high as it can be"}
	}
	if need > f.MemAvailable/4 {
		return Remedy{Text: fmt.Sprintf("there is not the memory to raise the limit to %s: up to %s more, and %s are available",
			output.Count(target), output.Bytes(need), output.Bytes(f.MemAvailable))}
	}
	return Remedy{
		Text: fmt.Sprintf("raise the limit to %s; when full that takes up to %s more of the %s of memory available",
			output.Count(target), output.Bytes(need), output.Bytes(f.MemAvailable)),
		Command: f.sysctl(fmt.Sprintf("tcp_max_tw_buckets=%d", target)),
		Undo:    f.sysctl(fmt.Sprintf("tcp_max_tw_buckets=%d", limit)),
		Risk:    "kernel memory, as stated",
	}
}

// bucketsInWords says how many mini-sockets there are, and may be.
func bucketsInWords(f Facts) string {
	return fmt.Sprintf("%s of %s TIME_WAIT sockets (%s)", output.Count(f.After.TimeWait),
		output.Count(f.Limits.MaxTWBuckets), output.Percent(f.After.TimeWait, f.Limits.MaxTWBuckets))
}
