package advice

import (
	"fmt"
	"math"
	"strings"

	"github.com/twtrace/twtrace/internal/event"
	"github.com/twtrace/twtrace/internal/output"
	"github.com/twtrace/twtrace/internal/pressure"
)

var tw205 = rule{id: "TW205", title: "TIME_WAIT bucket limit", find: bucketLimit}

// bucketLimit is TW205.
func bucketLimit(f Facts) []Finding {
	limit := f.Limits.MaxTWBuckets
	refused := grown(f.After.TWOverflow, f.Before.TWOverflow)
	tw := f.TimeWait.Total()
	alive := int(f.After.TimeWait)
	u := project(max(alive-tw, 0), f.TimeWait, int(min(max(limit, 0), math.MaxInt32))) // no limit is none that is reached
	refusedRate := 0.0
	if f.Window > 0 {
		refusedRate = float64(refused) / f.Window.Seconds()
		u.Steady += refusedRate * pressure.Hold.Seconds()
	}

	severity := u.severity()
	switch {
	case refused > 0:
		severity = event.Crit
	case limit == 0:
		severity = event.Warn
	case severity < event.Info && f.After.TWOverflow > 0:
		severity = event.Info
	case severity < event.Info:
		return nil
	}
	x := Finding{
		Severity: severity,
		Short:    bucketsInWords(f),
		What:     bucketsInWords(f),
		Who:      unknownOwner,
		When:     u.when("the kernel destroys closing connections instead of keeping them in TIME_WAIT"),
		Evidence: []Evidence{
			{Name: "time_wait", Value: float64(alive), Limit: float64(max(limit, 0)), Unit: "sockets", Source: "sockstat"},
			{Name: "refused", Value: float64(f.After.TWOverflow), Unit: "sockets", Source: "TcpExtTCPTimeWaitOverflow"},
			{Name: "refused_rate", Value: refusedRate, Unit: "1/s", Source: "TcpExtTCPTimeWaitOverflow"},
			{Name: "time_wait_begins", Value: u.Rate, Unit: "1/s", Source: f.source()},
		},
	}
	switch {
	case refused > 0:
		x.When = fmt.Sprintf("now: %s refused in the last %s (%s)", output.Count(refused), output.Seconds(f.Window), output.Rate(refusedRate))
	case limit == 0:
		x.When = "as soon as a connection closes here first: tcp_max_tw_buckets is 0, so no socket may enter TIME_WAIT"
	case limit < 0:
		x.When = "not now: there is no limit"
	case severity == event.Info:
		x.When = "not now; " + x.When
	}
	x.Why = whyRefused(&f, u, refused)
	if entered := f.entered(&f.TimeWait); entered != "" {
		x.Why += "; " + entered
	}
	g := f.Traffic.Buckets
	over := refused > 0 && g != nil && g.Outage.Over()
	if over {
		x.Severity, x.Over = max(event.Warn, g.Severity), true
		x.When = gauged(g).resolution(f.Time) + ": " + strings.TrimPrefix(x.When, "now: ")
	}
	if f.Traced {
		x.Who = earlierOwner
		x.by(f.closed(&f.Traffic.Closers), f.holding(&f.Traffic.TimeWaitHolders, "sockets in TIME_WAIT"))
	}
	switch {
	case refused > 0 && !over:
		x.Forecast = &Forecast{Event: "buckets_exhausted"}
		if g != nil {
			x.Since = gauged(g).since()
		}
	case u.soon():
		x.Forecast = &Forecast{Event: "buckets_exhausted", InS: u.In.Seconds()}
	}
	if severity > event.Info {
		x.Now = append(x.Now, moreBuckets(f, u))
		x.Fix = append(x.Fix, Remedy{Text: "find who closes so many connections, and reuse them: `sudo twtrace`"})
	}
	return []Finding{x}
}

// whyRefused says what a refusal costs, and how many there were; refused is those of the
// window.
func whyRefused(f *Facts, u use, refused uint64) string {
	why := "the kernel logs nothing at this limit; a connection that is refused TIME_WAIT is not protected against late " +
		"segments, and its peer may see a reset"
	if f.After.TWOverflow > 0 {
		why += fmt.Sprintf("; %s refused since this network namespace was created", output.Count(f.After.TWOverflow))
	}
	switch {
	case f.Limits.MaxTWBuckets < 0 && refused > 0:
		why += "; tcp_max_tw_buckets is negative, which is no limit from Linux 5.19 on and allows none before, so else the kernel had no memory"
	case refused > 0 && u.Used < pressure.HighShare*u.Limit:
		why += "; the count was below the limit when it was read: it reached the limit in between, or the kernel had no memory"
	}
	return why
}

// moreBuckets raises the limit to what the current rate needs, at least to the double,
// if there is memory for it.
func moreBuckets(f Facts, u use) Remedy {
	if f.Limits.MaxTWBuckets < 0 {
		return Remedy{Text: "free kernel memory: the limit is not what refuses"}
	}
	limit := uint64(f.Limits.MaxTWBuckets)
	target := uint64(4096)
	for target < 2*limit || float64(target) < 1.25*u.Steady {
		target *= 2
	}
	target = min(target, math.MaxInt32)
	need := (target - min(limit, target)) * pressure.ClientTWBytes
	if target <= limit {
		return Remedy{Text: "the limit is at its maximum already"}
	}
	if need > f.MemAvailable/4 {
		return Remedy{Text: fmt.Sprintf("not enough memory to raise the limit to %s: it takes up to %s more, and %s is available",
			output.Count(target), output.Bytes(need), output.Bytes(f.MemAvailable))}
	}
	return Remedy{
		Text: fmt.Sprintf("raise the limit to %s; when full, that takes up to %s more of the %s of available memory",
			output.Count(target), output.Bytes(need), output.Bytes(f.MemAvailable)),
		Settings: f.set(ipv4("tcp_max_tw_buckets", target, limit)),
		Risk:     "kernel memory, as stated",
	}
}

// bucketsInWords is how many mini-sockets there are, and the limit.
func bucketsInWords(f Facts) string {
	now := plural(f.After.TimeWait, "TIME_WAIT socket")
	if f.After.TimeWait == 0 {
		now = "no socket is in TIME_WAIT"
	}
	switch limit := f.Limits.MaxTWBuckets; {
	case limit < 0:
		return fmt.Sprintf("%s, and no limit: tcp_max_tw_buckets is %d", now, limit)
	case limit == 0:
		return now + ", and tcp_max_tw_buckets is 0: none is allowed"
	case f.After.TimeWait == 0:
		return now
	default:
		return fmt.Sprintf("%s of %s TIME_WAIT sockets (%s)", output.Count(f.After.TimeWait),
			output.Count(uint64(limit)), output.Percent(f.After.TimeWait, uint64(limit)))
	}
}
