package advice

import (
	"fmt"

	"github.com/twtrace/twtrace/internal/event"
	"github.com/twtrace/twtrace/internal/output"
)

var tw203 = rule{id: "TW203", title: "one process, many destinations", find: crawler}

const (
	crawlSize  = 100 // destinations in the window
	perCrawled = 3   // connections to each of them, at most
)

// crawler is TW203.
func crawler(f Facts) []Finding {
	var found []Finding
	for _, o := range f.Traffic.Owners {
		if o.Role != event.Client || o.Destinations < crawlSize || o.Opens > uint64(perCrawled*o.Destinations) || len(found) == maxFindings {
			continue
		}
		fullest := 0
		for _, d := range f.Destinations {
			if d.Holders.Part(o.Process) > 0 {
				fullest = max(fullest, d.States.All())
			}
		}
		usable := uint64(f.Limits.UsablePorts())
		x := Finding{
			Severity: event.Info,
			What: fmt.Sprintf("%s connected to %s destinations in the last %s (%s)%s", many(o.Process, o.PIDs, o.About),
				output.Count(uint64(o.Destinations)), output.Seconds(f.watched()), output.Rate(f.perSecond(uint64(o.Destinations))),
				fullestInWords(uint64(fullest), usable)),
			When: "no port problem: each destination has the whole range",
			Why:  f.flowInWords(&o.Flow),
			Fix: []Remedy{{Text: "keep-alive per host saves the time to connect; watch conntrack, the NAT's ports and file descriptors, " +
				"which all destinations share"}},
			Evidence: append(f.flowEvidence(&o.Flow),
				Evidence{Name: "destinations", Value: float64(o.Destinations), Unit: "destinations", Source: "trace"},
				Evidence{Name: "ports_used_most", Value: float64(fullest), Limit: float64(usable), Unit: "ports", Source: "trace"}),
		}
		x.by(f.opened(one(o.contributor(o.Opens))))
		found = append(found, x)
	}
	return found
}

// fullestInWords is how full the fullest destination is, "" if nobody knows of any.
func fullestInWords(used, usable uint64) string {
	if used == 0 {
		return ""
	}
	return fmt.Sprintf("; the fullest holds %s of %s ports", output.Count(used), output.Count(usable))
}
