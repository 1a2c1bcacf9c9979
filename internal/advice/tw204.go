package advice

import (
	"fmt"

	"github.com/twtrace/twtrace/internal/event"
	"github.com/twtrace/twtrace/internal/output"
	"github.com/twtrace/twtrace/internal/pressure"
)

var tw204 = rule{id: "TW204", title: "TIME_WAIT on the server side (harmless)", find: serverClosesFirst}

// manyTimeWait is how many on one listening port are worth reporting.
const manyTimeWait = 1000

// serverClosesFirst is TW204.
func serverClosesFirst(f Facts) []Finding {
	var found []Finding
	for _, l := range f.Listeners {
		n := l.States.Of(event.TimeWait)
		if n < manyTimeWait || len(found) == maxFindings {
			continue
		}
		port := l.Local.Port()
		x := Finding{
			Severity: event.Info,
			What: fmt.Sprintf("the server on %s holds %s sockets in TIME_WAIT; they take no ephemeral port and about %s of memory",
				l.Local, output.Count(uint64(n)), output.Bytes(uint64(n)*pressure.ServerTWBytes)),
			When: "harmless by itself: " + bucketsInWords(f),
			Why: fmt.Sprintf("%s connections on this port are in TIME_WAIT, which stays on the side that closes first: the server",
				output.Count(uint64(n))),
			Fix:   []Remedy{{Text: "nothing to do; to have fewer, let the clients close first, or lengthen the server's keep-alive"}},
			Scope: Scope{Laddr: l.Local.Addr().String(), Lport: port},
			Evidence: []Evidence{
				{Name: "time_wait", Value: float64(n), Unit: "sockets", Source: f.source()},
				{Name: "ephemeral_ports", Value: 0, Limit: float64(f.Limits.UsablePorts()), Unit: "ports", Source: f.source()},
				{Name: "memory", Value: float64(n * pressure.ServerTWBytes), Unit: "bytes", Source: "estimate"},
			},
		}
		l.serves(&f, &x)
		if here, of := l.closedHere(); here > 0 {
			x.Why += fmt.Sprintf("; in the last %s it closed %s first", output.Seconds(f.watched()), output.Percent(here, of))
			x.Evidence = append(x.Evidence, f.flowEvidence(&l.Flow)...)
		}
		if f.Limits.Ephemeral(port) {
			x.What += fmt.Sprintf("; port %d is inside ip_local_port_range, so connect() cannot use it for any destination", port)
			x.Fix = append(x.Fix, Remedy{Text: fmt.Sprintf("if the server asks for port %d by number, add it to net.ipv4.ip_local_reserved_ports; "+
				"whether bind() to port 0 chose it is not known", port)})
		}
		found = append(found, x)
	}
	return found
}

// serves sets who the server is: whose the sockets in TIME_WAIT are.
func (l *Listener) serves(f *Facts, x *Finding) {
	x.Who = f.whoListens()
	c := l.Holders
	c.Total = max(c.Total, uint64(l.States.Of(event.TimeWait)))
	if len(c.List) == 0 {
		x.by(f.listens(l))
		return
	}
	x.by(f.holding(&c, "sockets in TIME_WAIT"))
}

// show is a command in a sentence, for the namespace of f.
func (f *Facts) show(command string) string { return "`" + f.Enter + command + "`" }
