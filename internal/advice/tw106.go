package advice

import "github.com/twtrace/twtrace/internal/event"

var tw106 = rule{id: "TW106", title: "ports held by live connections", find: portsHeldByLive}

// portsHeldByLive is TW106.
func portsHeldByLive(f Facts) []Finding {
	return fullest(f, func(d Destination, u use) (Finding, bool) {
		if d.mostlyTimeWait() || d.States.All() == 0 {
			return Finding{}, false
		}
		x := d.finding(f, u)
		s := &d.States
		switch most := max(s.Of(event.Established), s.Of(event.SynSent), s.Of(event.CloseWait), s.idle()); {
		case most == s.Of(event.SynSent):
			x.Why = "most are in SYN_SENT: the destination does not answer"
			x.Fix = []Remedy{{Text: "find out why the destination does not answer; a shorter connect timeout in the client frees the ports sooner"}}
		case most == s.Of(event.CloseWait):
			x.Why = "most are in CLOSE_WAIT: the peer has closed, but the client never does"
			x.Fix = []Remedy{{Text: "the client leaks sockets: it must close connections that the peer has closed"}}
		case most == s.idle():
			x.Why = "most are in FIN_WAIT2: the client has closed, but the peer does not"
			x.Fix = []Remedy{{Text: "the peer leaks sockets: it must close connections that the client has closed"}}
		case f.Coarse:
			x.Why = "most are open: ESTABLISHED, or in CLOSE_WAIT, which this trace cannot distinguish (" + f.show("ss -tan") + " can). " +
				"A connection pool leaks or is too large, or the client does not close what the peer has closed"
			x.Fix = []Remedy{{Text: "limit the size of the client's pool, and find the code that never returns or closes connections"}}
		default:
			x.Why = "most are ESTABLISHED: a connection pool leaks or is too large"
			x.Fix = []Remedy{{Text: "limit the size of the client's pool, or find the code that never returns connections to it"}}
		}
		x.Why += "; tcp_tw_reuse does not help here"
		if r, ok := widerRange(f); ok {
			x.Now = append(x.Now, r)
		}
		return x, true
	})
}
