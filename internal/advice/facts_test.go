package advice

import (
	"net/netip"
	"time"

	"github.com/twtrace/twtrace/internal/event"
	"github.com/twtrace/twtrace/internal/kernel"
	"github.com/twtrace/twtrace/internal/pressure"
)

// healthy is a namespace of an ordinary host where little happens.
func healthy() Facts {
	return Facts{
		Time:  time.Date(2026, 11, 22, 22, 14, 7, 0, time.UTC),
		Host:  kernel.Host{Hostname: "web-07", Release: "6.12.0"},
		NetNS: kernel.NetNS{Inum: 4026531840},
		Limits: kernel.Limits{PortLow: 32768, PortHigh: 60999, MaxTWBuckets: 131072, TWReuse: 2, TWReuseDelayMS: 1000,
			FinTimeout: time.Minute, Timestamps: 1, UnprivPortStart: 1024},
		MemAvailable: 4 << 30,
	}
}

// steadily spreads count sockets in TIME_WAIT over the minute that they last.
func steadily(count int) (e pressure.Expiry) {
	for i := range 60 {
		e[i] = uint32(count*(i+1)/60 - count*i/60)
	}
	return e
}

// destination is one with that many sockets in TIME_WAIT, which came at a steady rate.
func destination(local, remote string, timeWait int) Destination {
	d := Destination{Local: netip.MustParseAddr(local), Remote: netip.MustParseAddrPort(remote), Expiry: steadily(timeWait)}
	d.States.Full[event.TimeWait] = uint32(timeWait)
	return d
}

// with adds destinations to f, and what they hold to its totals.
func (f Facts) with(all ...Destination) Facts {
	f.Destinations = append(f.Destinations, all...)
	for _, d := range all {
		f.After.TimeWait += uint64(d.States.Of(event.TimeWait)) + uint64(d.States.Parked)
		for i, n := range d.Expiry {
			f.TimeWait[i] += n
		}
	}
	f.Before = f.After
	return f
}

const here, there = "10.0.0.7", "10.2.0.9:5432"

// live is a destination with so many connections in a state.
func live(state event.State, n uint32) Destination {
	d := destination(here, there, 0)
	d.States.Full[state] = n
	return d
}

// watched is healthy, with counters of ten seconds.
func watched() Facts {
	f := healthy()
	f.Window = 10 * time.Second
	return f
}

// served has a server that a trace has seen.
func served(flow Flow) Facts {
	f := watched()
	f.Traced = true
	f.Listeners = []Listener{{Local: netip.MustParseAddrPort("0.0.0.0:443"), Owner: event.Proc{PID: 99, Comm: "nginx"}, Flow: flow}}
	return f
}

var (
	checkout = event.Proc{PID: 4242, Comm: "checkout", Who: &event.Who{PPID: 1, PComm: "systemd", Unit: "checkout.service"}}
	database = netip.MustParseAddrPort(there)
)

// traced is what a trace of ten seconds saw of an ordinary host.
func traced() Facts {
	f := healthy()
	f.Traced, f.Window, f.Traffic.Seen = true, 10*time.Second, 10*time.Second
	return f
}

// churn is an owner that opened so many connections in the window, each short, and
// closed them first.
func churning(opens uint64) Flow {
	f := Flow{Opens: opens, Ends: opens, Short: 0.99, LifeP50: 3 * time.Millisecond}
	f.Closer[event.LocalSide] = opens
	return f
}

// storming is a destination that a trace saw: so many in TIME_WAIT, all of them with
// timestamps, and the gauge that a meter would make.
func storming(timeWait int, opens uint64) Destination {
	d := destination(here, there, timeWait)
	d.Begun, d.Stamped, d.Flow = timeWait, timeWait, churning(opens)
	d.Openers = NewContributors([]Contributor{{Process: checkout, PIDs: 1, N: opens, Flow: d.Flow,
		Pool: Pool{Over: 9 * time.Second, Opened: opens, Closed: opens, Brief: opens, Most: 10, Emptied: opens > 0}}}, opens)
	d.Holders.Add(checkout, 1, uint64(timeWait))
	d.Gauge = gauge(float64(timeWait), float64(opens)/10)
	return d
}

// keeping is storming, with a pool that keeps some.
func keeping(opens uint64, kept, most int) Destination {
	d := storming(1200, opens)
	p := &d.Openers.List[0].Pool
	p.Kept, p.Least, p.Most, p.Burst, p.Emptied = kept, kept, most+6, most, false
	return d
}

func gauge(used, rate float64) *pressure.Gauge {
	tw := steadily(int(used))
	g := &pressure.Gauge{Limit: 28232, TimeWait: int(used), Outlook: pressure.Forecast(pressure.Load{Limit: 28232, TimeWait: tw, Rate: rate})}
	g.Severity = g.Outlook.Severity()
	return g
}

func client(flow Flow) Owner {
	return Owner{Process: checkout, PIDs: 1, Role: event.Client, Remote: database, Destinations: 1, Flow: flow, System: -1}
}

func (f Facts) owned(all ...Owner) Facts {
	f.Traffic.Owners = append(f.Traffic.Owners, all...)
	return f
}
