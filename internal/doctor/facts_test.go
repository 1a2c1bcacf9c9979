package doctor

import (
	"net/netip"
	"time"

	"github.com/twtrace/twtrace/internal/advice"
	"github.com/twtrace/twtrace/internal/event"
	"github.com/twtrace/twtrace/internal/kernel"
)

const here, there = "10.0.0.7", "10.2.0.9:5432"

// healthy is a namespace of an ordinary host where little happens.
func healthy() advice.Facts {
	return advice.Facts{
		Time:  time.Date(2026, 11, 22, 22, 14, 7, 0, time.UTC),
		Host:  kernel.Host{Hostname: "web-07", Release: "6.12.0"},
		NetNS: kernel.NetNS{Inum: 4026531840},
		Limits: kernel.Limits{PortLow: 32768, PortHigh: 60999, MaxTWBuckets: 131072, TWReuse: 2, TWReuseDelayMS: 1000,
			FinTimeout: time.Minute, Timestamps: 1, UnprivPortStart: 1024},
		MemAvailable: 4 << 30,
	}
}

// filled is healthy, with so many sockets in TIME_WAIT to each of some destinations.
func filled(timeWait int, to ...string) advice.Facts {
	f := healthy()
	for _, remote := range to {
		d := advice.Destination{Local: netip.MustParseAddr(here), Remote: netip.MustParseAddrPort(remote)}
		for i := range 60 {
			n := uint32(timeWait*(i+1)/60 - timeWait*i/60)
			d.Expiry[i] = n
			f.TimeWait[i] += n
		}
		d.States.Full[event.TimeWait] = uint32(timeWait)
		f.After.TimeWait += uint64(timeWait)
		f.Destinations = append(f.Destinations, d)
	}
	f.Before = f.After
	return f
}

// leak is a server that does not close, and its client, in another namespace, which runs
// out of ports.
func leak() (client, server advice.Facts) {
	shop, billing := event.Proc{PID: 31, Comm: "shop"}, event.Proc{PID: 33, Comm: "billing"}
	at := netip.MustParseAddrPort(there)
	client, server = filled(0, there), healthy()
	client.NetNS, server.NetNS = kernel.NetNS{Inum: 4026532101, Name: "shop"}, kernel.NetNS{Inum: 4026532102, Name: "billing"}
	client.Enter, server.Enter = "ip netns exec shop ", "ip netns exec billing "
	for _, f := range []*advice.Facts{&client, &server} {
		f.Traced, f.Window, f.Traffic.Seen = true, 10*time.Second, 10*time.Second
	}
	d := &client.Destinations[0]
	d.States.Full[event.FinWait2], d.Failed = 28232, 70
	client.Traffic.Lingering = []advice.Lingering{{State: event.FinWait2, Process: shop, PIDs: 1, Local: netip.MustParseAddrPort(here + ":0"), Remote: at,
		N: 28232, Grown: 700, Peers: []advice.Peer{{Process: billing, NetNS: server.NetNS.Inum, State: event.CloseWait, N: 28232}}}}
	server.Traffic.Lingering = []advice.Lingering{{State: event.CloseWait, Process: billing, PIDs: 1, Local: at,
		N: 28232, Grown: 700, Peers: []advice.Peer{{Process: shop, NetNS: client.NetNS.Inum, State: event.FinWait2, N: 28232}}}}
	return client, server
}
