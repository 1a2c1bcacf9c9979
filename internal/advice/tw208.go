package advice

import (
	"fmt"

	"github.com/twtrace/twtrace/internal/conn"
	"github.com/twtrace/twtrace/internal/event"
	"github.com/twtrace/twtrace/internal/output"
)

var tw208 = rule{id: "TW208", title: "TIME_WAIT lasts longer than 62 s", find: staysLonger}

// fewLong is how many TIME_WAIT may last longer: one or two are a lost ACK.
const fewLong = 3

// staysLonger is TW208.
func staysLonger(f Facts) []Finding {
	var found []Finding
	add := func(flow *Flow, owner event.Proc, pids int, scope Scope, peer Who) {
		if flow.LongWaits < fewLong || len(found) == maxFindings {
			return
		}
		each := float64(flow.Rearms) / float64(flow.LongWaits)
		x := Finding{
			Severity: event.Info,
			What: fmt.Sprintf("%s of %s sockets whose TIME_WAIT ended were in it for longer than %.0f s; the kernel restarted each timer %.1f times",
				output.Count(flow.LongWaits), output.Count(flow.TimeWaitEnds), conn.LongWait.Seconds(), each),
			Who:  peer,
			When: "in the last " + output.Seconds(f.watched()) + "; each such segment makes TIME_WAIT last 60 s more",
			Why: "TIME_WAIT starts over when the peer sends its FIN again, because it did not get our ACK, " +
				"or when it sends anything else that the connection does not expect",
			Fix:   []Remedy{{Text: "check how the peer closes, and the path: packet loss, or a firewall that forgets the connection first"}},
			Scope: scope.ofMany(owner, pids),
			Evidence: []Evidence{
				{Name: "longer_than_62s", Value: float64(flow.LongWaits), Unit: "sockets", Source: "trace"},
				{Name: "time_wait_ends", Value: float64(flow.TimeWaitEnds), Unit: "sockets", Source: "trace"},
				{Name: "rearms_each", Value: each, Source: "trace"},
			},
		}
		found = append(found, x)
	}
	for i := range f.Destinations {
		d := &f.Destinations[i]
		o := d.biggest()
		add(&d.Flow, o.Process, o.PIDs, d.scope(), peerAt("the server at", d.Remote, "it still sends"))
	}
	for i := range f.Listeners {
		l := &f.Listeners[i]
		add(&l.Flow, l.Owner, l.PIDs, Scope{Laddr: l.Local.Addr().String(), Lport: l.Local.Port()},
			peerAt("clients of the server on", l.Local, "they still send"))
	}
	return found
}
