package advice

import (
	"fmt"
	"time"

	"github.com/twtrace/twtrace/internal/event"
	"github.com/twtrace/twtrace/internal/output"
	"github.com/twtrace/twtrace/internal/pressure"
)

var tw103 = rule{id: "TW103", title: "connect() burns CPU", find: searching}

// When the search for a port is worth reporting: at this much time in the kernel, per
// connection and as a share of a CPU. On Linux 6.18 a connect() on loopback takes 16 us,
// and a short connection some 60 us of its client's time in the kernel. The moment that
// all ports of the first parity are taken, a connect() takes 0.7 to 2 ms at the default
// range (50 to 140 ns for each port passed over), and no more than that until the last
// port. At 231 connections/s, which hold half of the range, that is 17 % of a CPU or more.
const (
	searchShare = 0.10
	searchTime  = 200 * time.Microsecond
	searchPorts = 1000 // skipped; fewer cost less than a connection does anyway
)

// Searches reports whether the client of d may be searching for ports: half of them are
// taken, and it uses much CPU time in the kernel. d.Passed proves it.
func (f *Facts) Searches(d *Destination) bool {
	o, ok := f.ownerOf(d.Openers.Most().Process, event.Client)
	u := f.use(d)
	return ok && u.Limit > 0 && float64(d.States.All()) >= pressure.HalfShare*u.Limit && u.severity() < event.Warn && d.Failed == 0 &&
		o.System >= searchShare && o.Opens > 0
}

// searching is TW103. Where the ports run out anyway, TW101 says so.
func searching(f Facts) []Finding {
	var found []Finding
	for _, d := range f.Destinations {
		if d.Passed < searchPorts || !f.Searches(&d) || len(found) == maxFindings {
			continue
		}
		u, held := f.use(&d), uint64(d.States.All())
		o, _ := f.ownerOf(d.Openers.Most().Process, event.Client)
		each := time.Duration(o.System * float64(f.watched()) / float64(o.Opens))
		if each < searchTime {
			continue
		}
		x := Finding{
			Severity: event.Warn,
			What: fmt.Sprintf("%s holds %s of %s ports (%s), and each connection costs the client %s in the kernel", d.route(),
				output.Count(held), output.Count(uint64(u.Limit)), output.Percent(held, uint64(u.Limit)), output.Duration(int64(each))),
			Short: "connect() searches for a port: " + output.Duration(int64(each)) + " per connection",
			When:  "now; no call fails yet: at this rate it " + u.settles(),
			Why: fmt.Sprintf("connect() tries every second port first, and all of those are taken: each call skips %s ports "+
				"before it finds a free one", output.Count(uint64(d.Passed))),
			Now:   portRemedies(f, d, f.reuse(d)),
			Fix:   d.reuseConnections(d.biggest()),
			Scope: d.scope(),
			Evidence: []Evidence{
				{Name: "ports_used", Value: float64(held), Limit: u.Limit, Unit: "ports", Source: "trace"},
				{Name: "ports_passed_over", Value: float64(d.Passed), Unit: "ports", Source: "trace"},
				{Name: "system_cpu", Value: 100 * o.System, Unit: "%", Source: "/proc/PID/stat"},
				{Name: "system_time_per_connection", Value: each.Seconds(), Unit: "s", Source: "/proc/PID/stat"},
			},
		}
		who := f.opened(&d.Openers)
		who.words = fmt.Sprintf("%s spends %.0f%% of a CPU in the kernel; %s", named(o.Process), 100*o.System, who.words)
		x.by(who)
		found = append(found, x)
	}
	return found
}
