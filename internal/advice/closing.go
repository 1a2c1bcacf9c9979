package advice

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/twtrace/twtrace/internal/event"
	"github.com/twtrace/twtrace/internal/output"
	"github.com/twtrace/twtrace/internal/pressure"
)

// whatIsNotSeen is TW900.
func whatIsNotSeen(f Facts) []Finding {
	if f.Traced {
		return traceIsLimited(f)
	}
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
	x.Fix[0].Command += f.inNetNS()
	return []Finding{x}
}

// inNetNS has a command of twtrace look at the namespace of f, if the user's shell is
// elsewhere.
func (f *Facts) inNetNS() string {
	if f.Enter == "" {
		return ""
	}
	return inNetNS + fmt.Sprint(f.NetNS.Inum)
}

const inNetNS = " -N "

// lostShare is from which share of lost events on numbers are in doubt.
const lostShare = 0.01

// traceIsLimited is TW900 of a trace: nothing if it saw all.
func traceIsLimited(f Facts) []Finding {
	t := &f.Traffic
	x := Finding{Severity: Info, Who: "this trace, which runs for " + seconds(t.Seen)}
	var what []string
	if t.Lost > 0 {
		what = append(what, plural(t.Lost, "event")+" lost")
		x.Evidence = append(x.Evidence, Evidence{Name: "lost_events", Value: float64(t.Lost), Unit: "events", Source: "trace"})
		if float64(t.Lost) > lostShare*float64(f.seen()) {
			x.Severity = Warn
		}
	}
	if t.OwnersIn > 0 {
		what = append(what, "sockets from before have no owner")
		x.When = fmt.Sprintf("all owners are known in %s", seconds(t.OwnersIn))
		x.Evidence = append(x.Evidence, Evidence{Name: "owners_known_in", Value: t.OwnersIn.Seconds(), Unit: "s", Source: "trace"})
		if f.ownerMissing() {
			x.Severity = Warn
			x.Fix = []Remedy{{Text: "watch for longer", Command: "sudo twtrace doctor --window 70s" + f.inNetNS()}}
		}
	}
	what = append(what, t.Doubts...)
	if len(t.Missing) > 0 {
		what = append(what, "this kernel does not let it see: "+strings.Join(t.Missing, "; "))
	}
	if len(what) == 0 {
		return nil
	}
	x.What = strings.Join(what, "; ")
	x.Why = "counts of sockets and limits come from the kernel, and hold"
	if x.Severity == Warn {
		x.When = cmp.Or(x.When, "now")
		x.Now = []Remedy{{Text: "take owners and rates here for a lower bound, and look again when less happens"}}
	}
	return []Finding{x}
}

// seen is about how many events the owners' connections made.
func (f *Facts) seen() uint64 {
	var n uint64
	for _, o := range f.Traffic.Owners {
		n += o.Opens + o.Ends
	}
	return n
}

// ownerMissing tells whether ports run out, and it is not known to whom.
func (f *Facts) ownerMissing() bool {
	return slices.ContainsFunc(f.Destinations, func(d Destination) bool {
		u := f.use(&d)
		return !d.Owner.Known() && (u.severity() >= Warn || d.Failed > 0)
	})
}

// nothingIsWrong is TW000.
func nothingIsWrong(f Facts) []Finding {
	x := Finding{
		Severity: OK,
		What:     bucketsInWords(f),
		Evidence: []Evidence{
			{Name: "time_wait", Value: float64(f.After.TimeWait), Limit: float64(f.Limits.MaxTWBuckets), Unit: "sockets", Source: "sockstat"},
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
		x.What += fmt.Sprintf("; %s opened in %s, %s lost", plural(opens, "connection"), seconds(f.watched()), plural(f.Traffic.Lost, "event"))
		x.Evidence = append(x.Evidence,
			Evidence{Name: "opens", Value: f.perSecond(opens), Unit: "1/s", Source: "trace"},
			Evidence{Name: "lost_events", Value: float64(f.Traffic.Lost), Unit: "events", Source: "trace"},
			Evidence{Name: "window", Value: f.watched().Seconds(), Unit: "s", Source: "trace"})
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
	x.Evidence = append(x.Evidence, Evidence{Name: "ports_used_most", Value: float64(used), Limit: float64(usable), Unit: "ports", Source: f.source()})
	return []Finding{x}
}
