package advice

import (
	"fmt"

	"github.com/twtrace/twtrace/internal/event"
	"github.com/twtrace/twtrace/internal/output"
)

var tw000 = rule{id: "TW000", title: "TIME_WAIT is not the problem here", find: nothingIsWrong, whole: true}

// burstShare is which share of the ports a burst that is over must have taken to be worth
// a word.
const burstShare = 0.10

// nothingIsWrong is TW000.
func nothingIsWrong(f Facts) []Finding {
	x := Finding{
		Severity: event.OK,
		What:     bucketsInWords(f),
		Evidence: []Evidence{
			{Name: "time_wait", Value: float64(f.After.TimeWait), Limit: float64(max(f.Limits.MaxTWBuckets, 0)), Unit: "sockets", Source: "sockstat"},
			{Name: "time_wait_begins", Value: f.TimeWait.Rate(), Unit: "1/s", Source: f.source()},
			{Name: "refused", Value: float64(grown(f.After.TWOverflow, f.Before.TWOverflow)), Unit: "sockets", Source: "TcpExtTCPTimeWaitOverflow"},
		},
	}
	if f.Traced {
		var opens uint64
		for _, o := range f.Traffic.Owners {
			if o.Role == event.Client {
				opens += o.Opens
			}
		}
		x.What += fmt.Sprintf("; %s opened in the last %s", atLeastNo(opens, "connection"), output.Seconds(f.watched()))
		if f.Traffic.Lost > 0 {
			x.What += ", " + plural(f.Traffic.Lost, "event") + " lost"
		}
		x.Evidence = append(x.Evidence,
			Evidence{Name: "opens", Value: f.perSecond(opens), Unit: "1/s", Source: "trace"},
			Evidence{Name: "lost_events", Value: float64(f.Traffic.Lost), Unit: "events", Source: "trace"},
			Evidence{Name: "window", Value: f.watched().Seconds(), Unit: "s", Source: "trace"})
	}
	usable := f.Limits.UsablePorts()
	if len(f.Destinations) == 0 || f.Destinations[0].States.All() == 0 {
		x.What += "; no outgoing connection holds any of the " + output.Count(uint64(usable)) + " ports"
		return []Finding{x}
	}
	d := f.Destinations[0]
	used := d.States.All()
	x.What += fmt.Sprintf("; the fullest destination, %s, holds %s of %s ports (%s)", d.route(),
		output.Count(uint64(used)), output.Count(uint64(usable)), output.Percent(uint64(used), uint64(usable)))
	if b := d.Expiry.Burst(); b.Over && float64(b.N) >= burstShare*float64(usable) {
		x.What += "; " + f.entered(&d.Expiry) + "; " + f.freeBy(&d.Expiry)
	}
	x.Evidence = append(x.Evidence, Evidence{Name: "ports_used_most", Value: float64(used), Limit: float64(usable), Unit: "ports", Source: f.source()})
	return []Finding{x}
}
