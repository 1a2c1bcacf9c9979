package workload

import (
	"net/netip"
	"time"

	"github.com/twtrace/twtrace/internal/event"
)

// Addresses to use where any will do.
var (
	IPv4   = netip.MustParseAddrPort("127.0.0.1:7000")
	IPv6   = netip.MustParseAddrPort("[::1]:7000")
	Mapped = netip.MustParseAddrPort("[::ffff:127.0.0.1]:7000") // IPv6 sockets at both ends that speak IPv4
)

// Names of the processes of a scenario, unless they are changed.
const (
	ServerComm = "tw-server"
	ClientComm = "tw-client"
)

// Scenario is a server and clients that connect to it. Both specs may be
// changed before it runs, as far as the two ends still agree.
type Scenario struct {
	Server Spec
	Client Spec
	// Clients is how many client processes there are, each with Client.
	Clients int
	// AtHeld is called when the clients hold all their connections, if their End
	// holds them, and before Finish.
	AtHeld func() error
	// Finish ends clients that hold their connections; nil for (*Process).Stop,
	// which lets the exit of the process close them.
	Finish func(client *Process) error
}

// Result is what the processes of a scenario logged.
type Result struct {
	Server  Log
	Clients []Log
}

// Opened returns the number of connections that were established, as the
// clients saw it.
func (r Result) Opened() uint64 {
	var n uint64
	for _, c := range r.Clients {
		n += c.Opened
	}
	return n
}

// Failed returns how often each call of a client failed.
func (r Result) Failed() map[Failure]uint64 {
	out := make(map[Failure]uint64)
	for _, c := range r.Clients {
		for f, n := range c.Failed {
			out[f] += n
		}
	}
	return out
}

// Records returns what all processes logged, both ends of each connection.
func (r Result) Records() []Record {
	out := append([]Record(nil), r.Server.Records...)
	for _, c := range r.Clients {
		out = append(out, c.Records...)
	}
	return out
}

// pair returns a scenario with n connections to at.
func pair(at netip.AddrPort, n int, closer event.Side, client, server End) Scenario {
	other := map[event.Side]event.Side{
		event.LocalSide: event.RemoteSide, event.RemoteSide: event.LocalSide, event.BothSides: event.BothSides,
	}[closer]
	return Scenario{
		Server: Spec{Comm: ServerComm, Serve: &Serve{
			At: []netip.AddrPort{at}, Greet: true, End: server, Closer: other,
		}},
		Client: Spec{Comm: ClientComm, Connect: &Connect{
			To: []netip.AddrPort{at}, Greet: true, End: client, Closer: closer, Count: n,
		}},
		Clients: 1,
	}
}

// ClientCloses has the client close first, and the server when it sees the FIN.
// Whether the client's TIME_WAIT is born as such, or in FIN_WAIT2 and promoted a
// moment later, is for the scheduler and the delayed ACK to decide.
//
// On more than one CPU, now and then the ACK of the client's FIN comes after the
// server's own FIN. TIME_WAIT answers it, the server's socket is gone, and its
// RST ends TIME_WAIT; net.ipv4.tcp_rfc1337=1 has TIME_WAIT ignore that.
func ClientCloses(at netip.AddrPort, n int) Scenario {
	return pair(at, n, event.LocalSide, Close, WaitEOF)
}

// ActiveClose is ClientCloses with a client that still holds its socket when
// the server's FIN arrives, so that TIME_WAIT is never born in FIN_WAIT2.
func ActiveClose(at netip.AddrPort, n int) Scenario {
	return pair(at, n, event.LocalSide, HalfClose, WaitEOF)
}

// LateFin is ClientCloses with a server that closes only after delay. Each
// TIME_WAIT is born in FIN_WAIT2 and promoted, if delay is far above what it
// takes to acknowledge the client's FIN (a delayed ACK comes after 40 to 200 ms).
func LateFin(at netip.AddrPort, n int, delay time.Duration) Scenario {
	s := pair(at, n, event.LocalSide, Close, WaitEOF)
	s.Server.Serve.Delay = delay
	return s
}

// ServerCloses has the server close each connection as soon as it has accepted
// it: TIME_WAIT is the server's.
func ServerCloses(at netip.AddrPort, n int) Scenario {
	s := pair(at, n, event.RemoteSide, WaitEOF, Close)
	s.Server.Serve.Greet, s.Client.Connect.Greet = false, false
	return s
}

// Reset has the client reset each connection (SO_LINGER 0): no end has a
// TIME_WAIT.
func Reset(at netip.AddrPort, n int) Scenario {
	return pair(at, n, event.LocalSide, Abort, WaitEOF)
}

// HalfClosed has the client send its FIN and the server send none: the
// connections stay in FIN_WAIT2 and CLOSE_WAIT, as full sockets, until the
// processes end.
func HalfClosed(at netip.AddrPort, n int) Scenario {
	return pair(at, n, event.LocalSide, HalfCloseHold, Hold)
}

// CloseByExit has the client exit with n connections open.
func CloseByExit(at netip.AddrPort, n int) Scenario {
	return pair(at, n, event.LocalSide, Hold, WaitEOF)
}

// CloseByKill has the client killed, by SIGKILL, with n connections open.
func CloseByKill(at netip.AddrPort, n int) Scenario {
	s := pair(at, n, event.LocalSide, Hold, WaitEOF)
	s.Finish = (*Process).Kill
	return s
}

// Exhaust has the client connect to one destination, and close first, until
// connect() has failed fails times, most likely with EADDRNOTAVAIL. Over
// loopback the kernel reuses ports after a second unless net.ipv4.tcp_tw_reuse
// is 0.
func Exhaust(at netip.AddrPort, fails int) Scenario {
	s := pair(at, 0, event.LocalSide, HalfClose, WaitEOF)
	s.Client.Connect.Fails = fails
	return s
}
