package workload

import (
	"fmt"
	"net/netip"
)

// Churn is many short-lived connections.
type Churn struct {
	Connections   int              // of each client process
	Processes     int              // client processes; 0 for one
	Workers       int              // threads in each of them; 0 for one
	ServerWorkers int              // threads of the server; 0 for one
	To            []netip.AddrPort // destinations, taken in turn; nil for IPv4
	ServerCloses  bool             // the server closes first, else the client
	Rate          float64          // connections per second of each client process; 0 for full speed
	CountOnly     bool             // keep no records
}

// Scenario returns the server and the clients that make the churn.
func (c Churn) Scenario() Scenario {
	s := ClientCloses(IPv4, c.Connections)
	if c.ServerCloses {
		s = ServerCloses(IPv4, c.Connections)
	}
	if c.To != nil {
		s.Server.Serve.At, s.Client.Connect.To = c.To, c.To
	}
	s.Clients = max(c.Processes, 1)
	s.Client.Workers, s.Server.Workers = c.Workers, c.ServerWorkers
	s.Client.Connect.Rate = c.Rate
	s.Client.CountOnly, s.Server.CountOnly = c.CountOnly, c.CountOnly
	return s
}

// Destinations returns addrs x ports addresses to listen on, from
// 127.0.1.1:7000 on. A namespace needs no set-up for them, and each has a range
// of ports of its own. It panics above 254 addresses.
func Destinations(addrs, ports int) []netip.AddrPort {
	if addrs > 254 {
		panic(fmt.Sprintf("workload: %d addresses do not fit 127.0.1.0/24", addrs))
	}
	var out []netip.AddrPort
	for a := range addrs {
		for p := range ports {
			ip := netip.AddrFrom4([4]byte{127, 0, 1, byte(a + 1)})
			out = append(out, netip.AddrPortFrom(ip, IPv4.Port()+uint16(p)))
		}
	}
	return out
}
