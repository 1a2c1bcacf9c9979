package advice

import (
	"fmt"

	"github.com/twtrace/twtrace/internal/event"
	"github.com/twtrace/twtrace/internal/output"
)

// What clients must do to be worth a word.
const (
	churnRate  = 20  // connections per second to one destination, those that failed too
	fewOpens   = 5   // that did not; of fewer it is not said how they are
	shortShare = 0.5 // of them short-lived
	swarmSize  = 50  // processes that came in the window
	crawlSize  = 100 // destinations in the window
	perSwarmer = 3   // connections of each of a swarm, at most
	perCrawled = 3   // connections to each of the crawled, at most
)

// ownerOf is what the processes of a name do in a role.
func (f *Facts) ownerOf(p event.Proc, role event.Role) (Owner, bool) {
	for _, o := range f.Traffic.Owners {
		if o.Role == role && o.Process.Comm == p.Comm && p.Comm != "" {
			return o, true
		}
	}
	return Owner{}, false
}

// noPool is TW201.
func noPool(f Facts) []Finding {
	var found []Finding
	for _, d := range f.Destinations {
		d = d.byOpener()
		rate := f.perSecond(d.Opens)
		if f.perSecond(d.Opens+d.Failed) < churnRate || d.Opens < fewOpens || d.Short < shortShare || !d.Owner.Known() || len(found) == mostFindings {
			continue
		}
		if o, ok := f.ownerOf(d.Owner, event.Client); ok && o.swarms() {
			continue
		}
		x := Finding{
			Severity: Info,
			What: fmt.Sprintf("%s opens %s to %s and keeps none of them", many(d.Owner, d.PIDs, d.PIDs > 1),
				output.Rate(rate)+" connections", d.Remote),
			Short: fmt.Sprintf("%s opens %s connections to %s", d.Owner.Comm, output.Rate(rate), d.Remote),
			Who:   many(d.Owner, d.PIDs, d.PIDs > 1),
			When:  "no limit is near",
			Why:   f.flowInWords(&d.Flow),
			Fix:   reuseConnections(d),
			Scope: Scope{Laddr: d.Local.String(), Raddr: d.Remote.Addr().String(), Rport: d.Remote.Port()}.ofMany(d.Owner, d.PIDs),

			Evidence: f.flowEvidence(&d.Flow),
		}
		if u := f.use(&d); d.mostlyTimeWait() && (u.severity() >= Warn || d.Failed > 0) {
			x.Severity = Warn
			x.When = "it fills the ports to there: " + u.when("connect() fails with EADDRNOTAVAIL (99)")
			x.Now = []Remedy{{Text: "ports can be had for the moment as TW101 says; reuse is what ends it"}}
		}
		found = append(found, x)
	}
	return found
}

// swarms tells whether o is processes that come, connect once or so, and go.
func (o *Owner) swarms() bool {
	return o.Role == event.Client && o.Came >= swarmSize && !o.Stays && o.Opens <= uint64(perSwarmer*o.Came)
}

// swarm is TW202.
func swarm(f Facts) []Finding {
	var found []Finding
	for _, o := range f.Traffic.Owners {
		if !o.swarms() || len(found) == mostFindings {
			continue
		}
		x := Finding{
			Severity: Info,
			What: fmt.Sprintf("%s processes of %s came in %s, and opened %s", output.Count(uint64(o.Came)), o.Process.Comm,
				seconds(f.watched()), plural(o.Opens, "connection")),
			Who:      many(o.Process, o.PIDs, o.About),
			When:     output.Rate(f.perSecond(uint64(o.Came))) + " come and go",
			Why:      "no process lives long enough to use a connection twice: " + f.flowInWords(&o.Flow),
			Fix:      []Remedy{{Text: "start it less often, let one run do the work of many, or let a process that stays hold the connections"}},
			Scope:    Scope{}.ofMany(o.Process, o.PIDs),
			Evidence: append(f.flowEvidence(&o.Flow), Evidence{Name: "processes", Value: float64(o.Came), Unit: "processes", Source: "trace"}),
		}
		if o.Remote.IsValid() {
			x.What += " to " + o.Remote.String()
			x.Scope.Raddr, x.Scope.Rport = o.Remote.Addr().String(), o.Remote.Port()
		}
		if parent := parentOf(o.Process); parent != "" {
			x.Who += ", started by " + parent
			x.Fix[0].Text = parent + " starts them: " + x.Fix[0].Text
		}
		found = append(found, x)
	}
	return found
}

// crawler is TW203.
func crawler(f Facts) []Finding {
	var found []Finding
	for _, o := range f.Traffic.Owners {
		if o.Role != event.Client || o.Destinations < crawlSize || o.Opens > uint64(perCrawled*o.Destinations) || len(found) == mostFindings {
			continue
		}
		most := 0
		for _, d := range f.Destinations {
			if d.Owner.Comm == o.Process.Comm {
				most = max(most, d.States.All())
			}
		}
		usable := uint64(f.Limits.UsablePorts())
		found = append(found, Finding{
			Severity: Info,
			What: fmt.Sprintf("%s connects to %s destinations in %s (%s new ones); the fullest holds %s of %s ports", many(o.Process, o.PIDs, o.About),
				output.Count(uint64(o.Destinations)), seconds(f.watched()), output.Rate(f.perSecond(uint64(o.Destinations))),
				output.Count(uint64(most)), output.Count(usable)),
			Who:  many(o.Process, o.PIDs, o.About),
			When: "no harm to ports: each destination has all of them",
			Why:  f.flowInWords(&o.Flow),
			Fix: []Remedy{{Text: "keep-alive for each host saves the time to connect; watch conntrack, the NAT's ports and the descriptors, " +
				"which so many destinations share"}},
			Scope: Scope{}.ofMany(o.Process, o.PIDs),
			Evidence: append(f.flowEvidence(&o.Flow),
				Evidence{Name: "destinations", Value: float64(o.Destinations), Unit: "destinations", Source: "trace"},
				Evidence{Name: "ports_used_most", Value: float64(most), Limit: float64(usable), Unit: "ports", Source: "trace"}),
		})
	}
	return found
}
