package advice

import (
	"fmt"

	"github.com/twtrace/twtrace/internal/output"
	"github.com/twtrace/twtrace/internal/pressure"
)

// whatIsNotSeen is TW900 of a look without BPF.
func whatIsNotSeen(f Facts) []Finding {
	x := Finding{
		Severity: Info,
		What: "not seen: who owns the connections, calls that failed (EADDRNOTAVAIL, EADDRINUSE), " +
			"whether a peer uses TCP timestamps, and connections that the peer closed first",
		Why: "this is what /proc and sock_diag show any user; the counts and the limits hold",
		Fix: []Remedy{{
			Text:    "see the owners and the failures too",
			Command: "sudo twtrace doctor",
		}},
	}
	if f.Window > 0 {
		x.When = fmt.Sprintf("counters were watched for %s, sockets looked at once; a rate of TIME_WAIT is that of the last %.0f s",
			seconds(f.Window), pressure.Recent.Seconds())
	} else {
		x.When = fmt.Sprintf("one look only: a rate of TIME_WAIT is that of the last %.0f s, told by the time the sockets have left; "+
			"refusals have none", pressure.Recent.Seconds())
	}
	if f.Enter != "" { // not where the user's shell is
		x.Fix[0].Command += fmt.Sprintf(" -N %d", f.NetNS.Inum)
	}
	return []Finding{x}
}

// nothingIsWrong is TW000.
func nothingIsWrong(f Facts) []Finding {
	x := Finding{
		Severity: OK,
		What:     bucketsInWords(f),
		Evidence: []Evidence{
			{Name: "time_wait", Value: float64(f.After.TimeWait), Limit: float64(f.Limits.MaxTWBuckets), Unit: "sockets", Source: "sockstat"},
			{Name: "time_wait_begins", Value: f.TimeWait.Rate(), Unit: "1/s", Source: "sock_diag"},
			{Name: "refused", Value: float64(grown(f.After.TWOverflow, f.Before.TWOverflow)), Unit: "sockets", Source: "TcpExtTCPTimeWaitOverflow"},
		},
	}
	usable := f.Limits.UsablePorts()
	if len(f.Destinations) == 0 {
		x.What += "; no outgoing connection holds any of the " + output.Count(uint64(usable)) + " ports"
		return []Finding{x}
	}
	d := f.Destinations[0]
	used := d.States.All()
	x.What += fmt.Sprintf("; the fullest destination, %s -> %s, holds %s of %s ports (%s)", d.Local, d.Remote,
		output.Count(uint64(used)), output.Count(uint64(usable)), output.Percent(uint64(used), uint64(usable)))
	x.Evidence = append(x.Evidence, Evidence{Name: "ports_used_most", Value: float64(used), Limit: float64(usable), Unit: "ports", Source: "sock_diag"})
	return []Finding{x}
}
