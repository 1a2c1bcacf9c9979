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

var tw900 = rule{id: "TW900", title: "what twtrace could not see", find: limitedView, whole: true}

// limitedView is TW900.
func limitedView(f Facts) []Finding {
	if f.Traced {
		return traceIsLimited(f)
	}
	x := Finding{
		Severity: event.Info,
		What: "not visible: who owns the connections, which calls failed (EADDRNOTAVAIL, EADDRINUSE), " +
			"whether a peer uses TCP timestamps, and connections that the peer closed first",
		Why: "/proc and sock_diag show no more than that; the counts and limits here are exact",
		Fix: []Remedy{{
			Text:  "run it as root to see owners and failures too",
			Shell: Shell{Run: "sudo twtrace doctor", NetNS: f.elsewhere()},
		}},
	}
	if f.Window > 0 {
		x.When = fmt.Sprintf("counters were watched for %s, sockets were read once; rates of TIME_WAIT are over the last %.0f s",
			output.Seconds(f.Window), pressure.Recent.Seconds())
	} else {
		x.When = fmt.Sprintf("one snapshot: rates of TIME_WAIT are over the last %.0f s, computed from the time each socket has left; "+
			"the rate of refusals is not known", pressure.Recent.Seconds())
	}
	return []Finding{x}
}

// elsewhere is the namespace of f for a command of twtrace, nil if the user's shell is there.
func (f *Facts) elsewhere() []uint32 {
	if f.Enter == "" {
		return nil
	}
	return []uint32{f.NetNS.Inum}
}

// lostShare is the share of lost events above which numbers are in doubt.
const lostShare = 0.01

// traceIsLimited is TW900 of a trace: nothing if it saw everything.
func traceIsLimited(f Facts) []Finding {
	t := &f.Traffic
	x := Finding{Severity: event.Info, Who: traceItself(t.Seen)}
	var what []string
	if t.Lost > 0 {
		what = append(what, plural(t.Lost, "event")+" lost")
		x.Evidence = append(x.Evidence, Evidence{Name: "lost_events", Value: float64(t.Lost), Unit: "events", Source: "trace"})
		if float64(t.Lost) > lostShare*float64(f.seen()) {
			x.Severity = event.Warn
		}
	}
	if t.OwnersIn > 0 {
		what = append(what, "sockets older than the trace have no owner")
		x.When = fmt.Sprintf("all owners will be known in %s", output.Seconds(t.OwnersIn))
		x.Evidence = append(x.Evidence, Evidence{Name: "owners_known_in", Value: t.OwnersIn.Seconds(), Unit: "s", Source: "trace"})
		if f.ownerMissing() {
			x.Severity = event.Warn
			x.Fix = []Remedy{{Text: "watch longer", Shell: Shell{Run: "sudo twtrace doctor --window 70s", NetNS: f.elsewhere()}}}
		}
	}
	what = append(what, t.Doubts...)
	if len(t.Missing) > 0 {
		what = append(what, "not visible on this kernel: "+strings.Join(t.Missing, "; "))
	}
	if len(what) == 0 {
		return nil
	}
	x.What = strings.Join(what, "; ")
	x.Why = "counts of sockets and limits come from the kernel and are exact"
	if x.Severity == event.Warn {
		x.When = cmp.Or(x.When, "now")
		x.Now = []Remedy{{Text: "owners and rates here are minimums: run it again when there is less traffic"}}
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

// ownerMissing reports whether ports run out and nobody knows who uses them.
func (f *Facts) ownerMissing() bool {
	return slices.ContainsFunc(f.Destinations, func(d Destination) bool {
		u := f.use(&d)
		return d.biggest().N == 0 && (u.severity() >= event.Warn || d.Failed > 0)
	})
}
