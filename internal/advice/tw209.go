package advice

import (
	"fmt"
	"strings"

	"github.com/twtrace/twtrace/internal/event"
	"github.com/twtrace/twtrace/internal/output"
)

var tw209 = rule{id: "TW209", title: "SYNs answered by ACK", find: synsAnswered}

const (
	fewAnswered  = 10   // SYNs answered by ACK, or TIME_WAIT ended by a RST
	answeredPart = 0.05 // of all that end: on loopback, segments out of order make a few in a thousand
)

// synsAnswered is TW209.
func synsAnswered(f Facts) []Finding {
	paws := grown(f.After.PAWSTimewait, f.Before.PAWSTimewait)
	skipped := grown(f.After.ACKSkippedTimeWait, f.Before.ACKSkippedTimeWait)
	counted := []Evidence{
		{Name: "old_timestamps", Value: float64(paws), Unit: "segments", Source: "TcpExtPAWSTimewait"},
		{Name: "answers_left_out", Value: float64(skipped), Unit: "segments", Source: "TcpExtTCPACKSkippedTimeWait"},
	}
	var found []Finding
	for i := range f.Listeners {
		l := &f.Listeners[i]
		if l.TimeWaitResets < fewAnswered || float64(l.TimeWaitResets) < answeredPart*float64(l.TimeWaitEnds) || len(found) == maxFindings {
			continue
		}
		x := answered(f)
		x.What = fmt.Sprintf("a RST from the client ended %s of %s TIME_WAIT sockets of the server on %s: that happens when TIME_WAIT answers a SYN with an ACK",
			output.Count(l.TimeWaitResets), output.Count(l.TimeWaitEnds), l.Local)
		x.Short = "clients of " + l.Local.String() + " reuse ports too early: an ACK answers their SYN"
		x.Scope = Scope{Laddr: l.Local.Addr().String(), Lport: l.Local.Port()}.ofMany(l.Owner, l.PIDs)
		x.Evidence = append([]Evidence{
			{Name: "ended_by_reset", Value: float64(l.TimeWaitResets), Limit: float64(l.TimeWaitEnds), Unit: "sockets", Source: "trace"},
		}, counted...)
		found = append(found, x)
	}
	if len(found) == 0 && f.Window > 0 && max(paws, skipped) >= fewAnswered {
		x := answered(f)
		var parts []string
		if paws > 0 {
			parts = append(parts, "TIME_WAIT received "+plural(paws, "segment")+" with old timestamps")
		}
		if skipped > 0 {
			parts = append(parts, "the rate limit suppressed "+plural(skipped, "answer")+" of TIME_WAIT")
		}
		x.What = strings.Join(parts, ", and ")
		x.Evidence = counted
		found = append(found, x)
	}
	return found
}

// answered has what all findings about SYNs that were not accepted have in common.
func answered(f Facts) Finding {
	return Finding{
		Severity: event.Warn,
		Who:      "the clients that `sudo twtrace trace --event tw_exit --reason reset` shows; many behind one address (NAT, IPVS, a proxy) reuse ports like that",
		When:     "now: in the last " + output.Seconds(f.watched()),
		Why: "a client reuses its port while the server still holds the old connection in TIME_WAIT, and its sequence number or timestamp is not " +
			"newer; TIME_WAIT answers the SYN with an ACK, the client resets it and has to send its SYN again: by how much that delays it, " +
			"this side does not see. A SYN that is newer is accepted at once",
		Now: []Remedy{{Text: "use more addresses on the client's side, so that no port is reused within 60 s"}},
		Fix: []Remedy{{Text: "let the client side close first, or keep connections alive between the proxy and the server"}},
	}
}
