package advice

import (
	"cmp"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"github.com/twtrace/twtrace/internal/conn"
	"github.com/twtrace/twtrace/internal/event"
	"github.com/twtrace/twtrace/internal/output"
	"github.com/twtrace/twtrace/internal/pressure"
)

var tw305 = rule{id: "TW305", title: "NAT beyond the host", find: natBeyond}

// Thresholds of TW305: SYNs without an answer, and their share of the connects.
const (
	fewUnanswered  = 5
	unansweredPart = 0.05
)

// natBeyond is TW305: some connects to a public destination get no answer while others
// do, and this host is not short of ports.
func natBeyond(f Facts) []Finding {
	var found []Finding
	all := f.farDestinations()
	for _, remote := range slices.SortedFunc(maps.Keys(all), netip.AddrPort.Compare) {
		t := all[remote]
		bad := t.unanswered()
		if !public(remote.Addr()) || t.failed > 0 || !t.private || t.answered+t.open == 0 || bad < fewUnanswered ||
			float64(bad) < unansweredPart*float64(bad+t.answered) || float64(t.used) >= pressure.HalfShare*float64(f.Limits.UsablePorts()) {
			continue
		}
		found = append(found, f.beyond(remote, t, all))
	}
	slices.SortStableFunc(found, func(a, b Finding) int { return cmp.Compare(b.Evidence[0].Value, a.Evidence[0].Value) })
	return found[:min(len(found), maxFindings)]
}

// toward is what this host has to one remote end, from all of its addresses.
type toward struct {
	resent, timedOut uint64       // SYNs without an answer: still waiting, and given up by the kernel
	gaveUp           conn.GivenUp // ... and given up by their process
	answered         uint64       // connections that were established: in the Window, if a trace knows
	open             uint64       // and those that are open now
	failed           uint64       // connects that found no port on this host
	used             uint64       // ports of the source address that uses most
	private          bool         // all source addresses are private, so there is a NAT
	most             *Destination // the one that holds most
}

// unanswered is how many connects got no answer.
func (t *toward) unanswered() uint64 { return t.resent + t.timedOut + t.gaveUp.N }

// farDestinations are the remote ends that this host connects to.
func (f *Facts) farDestinations() map[netip.AddrPort]*toward {
	all := make(map[netip.AddrPort]*toward)
	for i := range f.Destinations {
		d := &f.Destinations[i]
		t := all[d.Remote]
		if t == nil {
			t = &toward{private: true}
			all[d.Remote] = t
		}
		t.resent += uint64(d.Resent)
		t.failed += d.Failed
		if used := uint64(d.States.All()); t.most == nil || used > t.used {
			t.used, t.most = used, d
		}
		t.private = t.private && !public(d.Local)
		t.open += uint64(d.States.All() - d.States.Of(event.SynSent) - d.States.Of(event.TimeWait))
		if f.Traced { // what was established earlier does not say that it answers now
			t.answered += d.Opens
		} else {
			t.answered += uint64(d.States.All() - d.States.Of(event.SynSent))
		}
	}
	for i := range f.Traffic.Fails {
		x := &f.Traffic.Fails[i]
		t := all[x.Remote]
		if t == nil || !x.unanswered() {
			continue
		}
		if x.Cause == event.GaveUp {
			t.gaveUp.Merge(x.GivenUp)
		} else {
			t.timedOut += x.N
		}
	}
	return all
}

// carrierGrade are the addresses that providers give to hosts behind their NAT (RFC 6598).
var carrierGrade = netip.MustParsePrefix("100.64.0.0/10")

// public reports whether an address is a public one of the Internet.
func public(a netip.Addr) bool {
	return a.IsGlobalUnicast() && !a.IsPrivate() && !carrierGrade.Contains(a)
}

func (f *Facts) beyond(remote netip.AddrPort, t *toward, all map[netip.AddrPort]*toward) Finding {
	bad := t.unanswered()
	usable := uint64(f.Limits.UsablePorts())
	x := Finding{
		Severity: event.Warn,
		Short:    "connects to " + remote.String() + " get no answer, but this host has free ports",
		What: fmt.Sprintf("%s connects to %s got no answer%s, %s; only %s of %s local ports (%s) are in use to it",
			output.Count(bad), remote, t.givenUp(), t.answers(), output.Count(t.used), output.Count(usable), output.Percent(t.used, usable)),
		Who:  "not known: those that wait have not failed yet",
		When: t.when(f),
		Why: "the destination is public and this host's address is not, so there is a NAT in between, with ports of its own for each destination: " +
			"when none is free, it drops the SYN. An overloaded destination looks the same: the NAT's metrics show which it is" + sameWay(remote, all),
		Now: []Remedy{{Text: "open fewer new connections to this destination: lower the client's concurrency"}},
		Fix: []Remedy{
			{Text: "reuse connections in the client"},
			{Text: "use a private endpoint of the service, or give the NAT more ports or addresses"},
		},
		Scope: Scope{Raddr: remote.Addr().String(), Rport: remote.Port()},
		Evidence: []Evidence{
			{Name: "unanswered", Value: float64(bad), Limit: float64(bad + t.answered), Unit: "connects", Source: f.source()},
			{Name: "syn_resent", Value: float64(t.resent), Unit: "sockets", Source: "sock_diag"},
			{Name: "timed_out", Value: float64(t.timedOut), Unit: "calls", Source: "trace"},
			{Name: "gave_up", Value: float64(t.gaveUp.N), Unit: "calls", Source: "trace"},
			{Name: "answered", Value: float64(t.answered), Unit: "connections", Source: f.source()},
			{Name: "syn_retransmits", Value: float64(grown(f.After.SYNRetrans, f.Before.SYNRetrans)), Unit: "segments", Source: "TcpExtTCPSynRetrans"},
			{Name: "ports_used", Value: float64(t.used), Limit: float64(usable), Unit: "ports", Source: "sock_diag"},
		},
	}
	if !f.Traced {
		x.Who = "not known without a trace"
	}
	if t.answered == 0 {
		x.Why += "; so does one that has died, since nobody was answered in the last " + output.Seconds(f.watched())
	}
	if by := f.unansweredBy(remote); len(by.List) > 0 {
		x.by(f.counted(Fails, &by, "no answer came to connects of "+by.counts()))
	} else {
		x.by(f.opened(&t.most.Openers))
	}
	return x
}

// answers says how many were answered, or at least are open.
func (t *toward) answers() string {
	if t.answered > 0 {
		return "and " + output.Count(t.answered) + " did"
	}
	return "though " + plural(t.open, "connection") + " open now got one before"
}

// unansweredBy is whose connects to a remote end got no answer.
func (f *Facts) unansweredBy(remote netip.AddrPort) Contributors {
	var by Contributors
	for i := range f.Traffic.Fails {
		if x := &f.Traffic.Fails[i]; x.Remote == remote && x.unanswered() {
			by.Add(x.Process, max(x.PIDs, 1), x.N)
		}
	}
	return by
}

// givenUp says of how many of them the process did not wait longer, and how long it did.
func (t *toward) givenUp() string {
	if t.gaveUp.N == 0 {
		return ""
	}
	words := fmt.Sprintf(" (%s given up by the client", output.Count(t.gaveUp.N))
	if mean := t.gaveUp.Mean(); mean > 0 {
		words += " after " + waitWords(mean)
	}
	return words + ")"
}

// when is how many fail now.
func (t *toward) when(f *Facts) string {
	var parts []string
	if over := t.timedOut + t.gaveUp.N; over > 0 && f.perSecond(over) > 0 {
		parts = append(parts, output.Rate(f.perSecond(over))+" given up in the last "+output.Seconds(f.watched()))
	}
	if t.resent > 0 {
		parts = append(parts, plural(t.resent, "connect")+verb(int(t.resent), " waits", " wait")+" for an answer after sending the SYN again")
	}
	return "now: " + strings.Join(parts, "; ")
}

// sameWay says how the other public destinations do, to which the same NAT leads.
func sameWay(remote netip.AddrPort, all map[netip.AddrPort]*toward) string {
	answering, failing := uint64(0), uint64(0)
	for to, t := range all {
		switch {
		case to == remote || !public(to.Addr()):
		case t.unanswered() >= fewUnanswered:
			failing++
		case t.answered > 0:
			answering++
		}
	}
	words := ""
	if answering > 0 {
		words = "; " + plural(answering, "other public destination") + " answered without such failures"
	}
	if failing > 0 {
		words += "; " + plural(failing, "other public destination") + " failed so too"
	}
	return words
}
