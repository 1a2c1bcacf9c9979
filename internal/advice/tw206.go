package advice

import (
	"fmt"

	"github.com/twtrace/twtrace/internal/event"
	"github.com/twtrace/twtrace/internal/output"
)

var tw206 = rule{id: "TW206", title: "connections end by reset", find: resets}

const (
	resetRate  = 10  // connections per second that end by reset; to one destination, more than a health check makes
	resetShare = 0.5 // of all that ended
)

// resets is TW206. Where both ends are on this host, it names the sender. Those of idle
// connections are TW212's. A reset that discards nothing does no harm: health checks
// end with one, and are meant to.
func resets(f Facts) []Finding {
	var sent uint64
	for _, o := range f.Traffic.Owners {
		sent += o.ResetSent
	}
	var found []Finding
	for _, o := range f.Traffic.Owners {
		n := o.ResetSent + o.ResetReceived
		n -= min(n, o.IdleResets)
		bySelf := o.ResetSent >= o.ResetReceived
		if f.perSecond(n) < resetRate || float64(n) < resetShare*float64(o.Ends) || o.Short < shortShare ||
			!bySelf && sent >= o.ResetReceived || len(found) == maxFindings {
			continue
		}
		found = append(found, o.resetFinding(&f, n, bySelf))
	}
	return found
}

func (o *Owner) resetFinding(f *Facts, n uint64, bySelf bool) Finding {
	who := many(o.Process, o.PIDs, o.About)
	total := output.Count(o.ResetSent + o.ResetReceived)
	sender := fmt.Sprintf("it sent the resets itself: %s of %s", output.Count(o.ResetSent), total)
	fix := "close connections cleanly: read to the end, shut down, close; a socket that is closed with unread data " +
		"or with a linger time of 0 sends a reset"
	if !bySelf {
		sender = fmt.Sprintf("the peer sent the resets: %s of %s", output.Count(o.ResetReceived), total)
		fix = "check the peer: it closes with unread data, or gives up"
	}
	x := Finding{
		Severity: event.Info,
		What: fmt.Sprintf("%s of %s connections of %s that ended in the last %s were reset (%s)", output.Count(n), output.Count(o.Ends), who,
			output.Seconds(f.watched()), output.Percent(n, o.Ends)),
		Short: output.Rate(f.perSecond(n)) + " connections are reset",
		When:  "now: " + output.Rate(f.perSecond(n)),
		Why:   "a reset leaves no TIME_WAIT, so a low TIME_WAIT count is no good sign here",
		Fix:   []Remedy{{Text: fix}},
		Evidence: append(f.flowEvidence(&o.Flow),
			Evidence{Name: "reset_sent", Value: float64(o.ResetSent), Limit: float64(o.Ends), Unit: "connections", Source: "trace"},
			Evidence{Name: "reset_received", Value: float64(o.ResetReceived), Limit: float64(o.Ends), Unit: "connections", Source: "trace"},
			Evidence{Name: "data_lost", Value: float64(o.DataLost), Limit: float64(o.Ends), Unit: "connections", Source: "trace"}),
	}
	if flow := f.flowInWords(&o.Flow); flow != "" {
		x.Why += ". The churn still costs: " + flow
	}
	part := Opens
	if bySelf {
		part = Closes
	}
	x.by(f.counted(part, one(o.contributor(n)), who+": "+sender))
	x.Scope = x.Scope.at(o.Local, o.Remote)
	switch {
	case o.DataLost > o.IdleResets:
		x.Severity = event.Warn
		x.Why = fmt.Sprintf("%s of them discarded data that was sent or had come, and was not acknowledged or not read; ",
			output.Count(min(o.DataLost-min(o.DataLost, o.IdleResets), n))) + x.Why
		x.Now = []Remedy{{Text: "check what the data was: a reset can destroy a response in flight"}}
	case o.Role == event.Client && f.perSecond(n) >= resetRate*float64(max(o.Destinations, 1)):
		x.Severity = event.Warn
		x.Why = "no data was lost by them, but no health check asks one destination so often; " + x.Why
		x.Now = []Remedy{{Text: "find out why the program closes so: some set a linger time of 0 to avoid TIME_WAIT"}}
	default:
		x.Why = "no data was lost by them, so they may be meant, as those of a health check are; " + x.Why
	}
	return x
}
