package advice

import (
	"fmt"

	"github.com/twtrace/twtrace/internal/event"
	"github.com/twtrace/twtrace/internal/output"
)

var tw202 = rule{id: "TW202", title: "one process per connection", find: swarm}

const (
	swarmSize  = 50 // processes that came in the window
	perSwarmer = 3  // connections that each of them opens, at most
)

// swarms reports whether o is processes that start, connect once or so, and exit.
func (o *Owner) swarms() bool {
	return o.Role == event.Client && o.Came >= swarmSize && !o.Stays && o.Opens > 0 && o.Opens <= uint64(perSwarmer*o.Came)
}

// swarm is TW202.
func swarm(f Facts) []Finding {
	var found []Finding
	for _, o := range f.Traffic.Owners {
		if !o.swarms() || len(found) == maxFindings {
			continue
		}
		x := Finding{
			Severity: event.Info,
			What: fmt.Sprintf("%s processes of %s started in the last %s and opened %s", output.Count(uint64(o.Came)), o.Process.Comm,
				output.Seconds(f.watched()), plural(o.Opens, "connection")),
			When:     output.Rate(f.perSecond(uint64(o.Came))) + " start and exit",
			Why:      "no process lives long enough to use a connection twice: " + f.flowInWords(&o.Flow),
			Fix:      []Remedy{{Text: "start it less often, let one run do the work of many, or let a long-running process hold the connections"}},
			Evidence: append(f.flowEvidence(&o.Flow), Evidence{Name: "processes", Value: float64(o.Came), Unit: "processes", Source: "trace"}),
		}
		who := f.opened(one(o.contributor(o.Opens)))
		if parent := parentOf(o.Process); parent != "" {
			who.words += ", started by " + parent
			x.Fix[0].Text = parent + " starts them: " + x.Fix[0].Text
		}
		x.by(who)
		if o.Remote.IsValid() {
			x.What += " to " + o.Remote.String()
			x.Scope.Raddr, x.Scope.Rport = o.Remote.Addr().String(), o.Remote.Port()
		}
		found = append(found, x)
	}
	return found
}
