package advice

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/twtrace/twtrace/internal/conn"
	"github.com/twtrace/twtrace/internal/event"
	"github.com/twtrace/twtrace/internal/output"
	"github.com/twtrace/twtrace/internal/pressure"
)

const (
	fewLong      = 3    // TIME_WAIT that stay longer: one or two are an ACK that was lost
	fewAnswered  = 10   // SYNs answered by ACK, or TIME_WAIT ended by a RST
	answeredPart = 0.05 // of all that end: on loopback a few in a thousand are, by the order of segments
)

// staysLonger is TW208.
func staysLonger(f Facts) []Finding {
	var found []Finding
	add := func(flow *Flow, owner event.Proc, scope Scope, peer string) {
		if flow.LongWaits < fewLong || len(found) == mostFindings {
			return
		}
		each := float64(flow.Rearms) / float64(flow.LongWaits)
		x := Finding{
			Severity: Info,
			What: fmt.Sprintf("%s sockets were in TIME_WAIT for longer than %.0f s, of %s that ended; their timers were started anew %.1f times each",
				output.Count(flow.LongWaits), conn.LongWait.Seconds(), output.Count(flow.TimeWaitEnds), each),
			Who:  peer + ": it still sends",
			When: "in " + seconds(f.Window) + "; each such segment has TIME_WAIT last 60 s more",
			Why: "TIME_WAIT begins anew when the peer sends its FIN again, because our ACK did not reach it, " +
				"or sends anything else that the connection does not expect",
			Fix:   []Remedy{{Text: "look at how the peer closes, and at the path: loss, or a firewall that forgets the connection first"}},
			Scope: scope,
			Evidence: []Evidence{
				{Name: "longer_than_62s", Value: float64(flow.LongWaits), Unit: "sockets", Source: "trace"},
				{Name: "time_wait_ends", Value: float64(flow.TimeWaitEnds), Unit: "sockets", Source: "trace"},
				{Name: "rearms_each", Value: each, Source: "trace"},
			},
		}
		x.Scope.Comm, x.Scope.PID = owner.Comm, owner.PID
		found = append(found, x)
	}
	for i := range f.Destinations {
		d := &f.Destinations[i]
		add(&d.Flow, d.Owner, Scope{Laddr: d.Local.String(), Raddr: d.Remote.Addr().String(), Rport: d.Remote.Port()},
			"the server at "+d.Remote.String())
	}
	for i := range f.Listeners {
		l := &f.Listeners[i]
		add(&l.Flow, l.Owner, Scope{Laddr: l.Local.Addr().String(), Lport: l.Local.Port()}, "clients of the server on "+l.Local.String())
	}
	return found
}

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
		if l.TimeWaitResets < fewAnswered || float64(l.TimeWaitResets) < answeredPart*float64(l.TimeWaitEnds) || len(found) == mostFindings {
			continue
		}
		x := answered(f)
		x.What = fmt.Sprintf("%s of %s TIME_WAIT of the server on %s were ended by a RST of the client, which follows when a SYN is answered by an ACK",
			output.Count(l.TimeWaitResets), output.Count(l.TimeWaitEnds), l.Local)
		x.Short = "clients of " + l.Local.String() + " come back too early: their connects are delayed"
		x.Scope = Scope{Laddr: l.Local.Addr().String(), Lport: l.Local.Port(), Comm: l.Owner.Comm, PID: l.Owner.PID}
		x.Evidence = append([]Evidence{
			{Name: "ended_by_reset", Value: float64(l.TimeWaitResets), Limit: float64(l.TimeWaitEnds), Unit: "sockets", Source: "trace"},
		}, counted...)
		found = append(found, x)
	}
	if len(found) == 0 && f.Window > 0 && max(paws, skipped) >= fewAnswered {
		x := answered(f)
		x.What = fmt.Sprintf("%s segments came into TIME_WAIT with old timestamps, and %s answers were left out by the rate limit",
			output.Count(paws), output.Count(skipped))
		x.Evidence = counted
		found = append(found, x)
	}
	return found
}

// answered is what all findings of SYNs that were not let in have in common.
func answered(f Facts) Finding {
	return Finding{
		Severity: Warn,
		Who:      "clients that share an address: NAT, IPVS, a proxy; the records of `twtrace trace --event tw_exit --reason reset` have it",
		When:     "now: in " + seconds(f.Window) + "; each of these connects takes a second longer, or several",
		Why: "the client's port comes back while the server holds the old connection in TIME_WAIT, with a sequence number or a timestamp that is not " +
			"newer; TIME_WAIT answers by an ACK, the client resets it, and sends its SYN again after a second. SYNs that were let in cost nothing",
		Now: []Remedy{{Text: "more addresses on the client's side, so that a port comes back later than after 60 s"}},
		Fix: []Remedy{{Text: "have the client side close first, or keep connections alive between the proxy and the server"}},
	}
}

// Thresholds of TW305: SYNs without an answer, and their share of the connects.
const (
	fewUnanswered  = 5
	unansweredPart = 0.05
)

// natBeyond is TW305: some connects to a public destination get no answer, while others
// do, and ports are not short here.
func natBeyond(f Facts) []Finding {
	var seen []netip.AddrPort
	var found []Finding
	for _, d := range f.Destinations {
		if !public(d.Remote.Addr()) || slices.Contains(seen, d.Remote) || len(found) == mostFindings {
			continue
		}
		seen = append(seen, d.Remote)
		t := f.towards(d.Remote)
		bad := t.resent + t.timedOut
		if t.failed > 0 || !t.private || t.answered == 0 || bad < fewUnanswered ||
			float64(bad) < unansweredPart*float64(bad+t.answered) || float64(t.used) >= pressure.HalfShare*float64(f.Limits.UsablePorts()) {
			continue
		}
		found = append(found, f.beyond(d, t))
	}
	return found
}

// toward is what the host has towards one remote end, from all of its addresses.
type toward struct {
	resent, timedOut uint64 // SYNs without an answer: those that wait, and those that gave up
	answered         uint64 // connections that were established
	failed           uint64 // connects that found no port here
	used             uint64 // the most ports of one source address
	private          bool   // all source addresses are private, so there is a NAT
}

func (f *Facts) towards(remote netip.AddrPort) toward {
	t := toward{private: true}
	for i := range f.Destinations {
		d := &f.Destinations[i]
		if d.Remote != remote {
			continue
		}
		t.resent += uint64(d.Resent)
		t.failed += d.Failed
		t.used = max(t.used, uint64(d.States.All()))
		t.private = t.private && !public(d.Local)
		t.answered += max(uint64(d.States.All()-d.States.Of(event.SynSent)), d.Opens)
	}
	for _, x := range f.Traffic.Fails {
		if x.Call == event.Connect && x.Errno == etimedout && x.Remote == remote {
			t.timedOut += x.N
		}
	}
	return t
}

// etimedout is the errno of a connect() whose SYNs were never answered.
const etimedout = 110

// carrierGrade is the addresses that providers give to hosts behind their NAT (RFC 6598).
var carrierGrade = netip.MustParsePrefix("100.64.0.0/10")

// public reports whether an address is one of the Internet.
func public(a netip.Addr) bool {
	return a.IsGlobalUnicast() && !a.IsPrivate() && !carrierGrade.Contains(a)
}

func (f *Facts) beyond(d Destination, t toward) Finding {
	bad := t.resent + t.timedOut
	usable := uint64(f.Limits.UsablePorts())
	x := Finding{
		Severity: Warn,
		Short:    "connects to " + d.Remote.String() + " get no answer, and ports are not short here",
		What: fmt.Sprintf("%s connects to %s got no answer, beside %s that did; only %s of %s local ports (%s) are in use towards it",
			output.Count(bad), d.Remote, output.Count(t.answered), output.Count(t.used), output.Count(usable), output.Percent(t.used, usable)),
		Who:  "not known without a trace",
		When: "now: " + output.Count(t.resent) + " wait for an answer to a SYN that was sent again",
		Why: "the destination is public and this host's address is not, so a NAT lies between; it has ports of its own for each destination, " +
			"keeps them for a minute or longer after the end, and drops the SYN when it has none. A destination that is overloaded looks alike: " +
			"the metrics of the NAT tell which it is",
		Now: []Remedy{{Text: "fewer new connections to this destination: lower the client's concurrency"}},
		Fix: []Remedy{
			{Text: "reuse connections in the client"},
			{Text: "a private endpoint of the service, or more ports or addresses on the NAT"},
		},
		Scope: Scope{Comm: d.Owner.Comm, PID: d.Owner.PID, Raddr: d.Remote.Addr().String(), Rport: d.Remote.Port()},
		Evidence: []Evidence{
			{Name: "syn_resent", Value: float64(t.resent), Unit: "sockets", Source: "sock_diag"},
			{Name: "timed_out", Value: float64(t.timedOut), Unit: "calls", Source: "trace"},
			{Name: "answered", Value: float64(t.answered), Unit: "connections", Source: "sock_diag"},
			{Name: "syn_retransmits", Value: float64(grown(f.After.SYNRetrans, f.Before.SYNRetrans)), Unit: "segments", Source: "TcpExtTCPSynRetrans"},
			{Name: "ports_used", Value: float64(t.used), Limit: float64(usable), Unit: "ports", Source: "sock_diag"},
		},
	}
	if d.Owner.Known() {
		x.Who = fmt.Sprintf("%s[%d] opened most of them of late", d.Owner.Comm, d.Owner.PID)
	}
	return x
}
