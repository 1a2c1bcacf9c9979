package advice

import (
	"net/netip"
	"testing"

	"github.com/twtrace/twtrace/internal/event"
	"github.com/twtrace/twtrace/internal/kernel"
	"github.com/twtrace/twtrace/internal/pressure"
)

// fewPorts is f with 200 ports, of which so many are bound, and two destinations to which
// so many calls failed.
func fewPorts(f Facts, bound int, reserved string, failed uint64) Facts {
	f.Limits.ReservedPorts = reserved
	f.Limits = f.Limits.WithRange(40000, 40199)
	f.Traffic.Range.Ports = bound
	if failed > 0 {
		f.Traffic.Fails = []Fail{{Process: pooler, Call: event.Connect, Errno: event.EADDRNOTAVAIL, Cause: event.NoPort, Remote: database, N: 2 * failed}}
		for _, to := range []string{there, "10.2.0.10:80"} {
			f.Destinations = append(f.Destinations, Destination{Local: netip.MustParseAddr(here), Remote: netip.MustParseAddrPort(to), Failed: failed,
				Gauge: &pressure.Gauge{Limit: 200, Limited: true, Bound: 200, Severity: event.Crit, Outlook: pressure.Outlook{Used: 200, Limit: 200, Full: true}}})
		}
	}
	return f
}

var tw108Scenarios = []scenario{
	{name: "another program listens on all ports", facts: func() Facts {
		f := fewPorts(traced(), 200, "", 30)
		f.Traffic.Range.By.Add(event.Proc{PID: 12, Comm: "binder"}, 1, 200)
		return f
	},
		want: []string{"TW108 crit"},
		words: []string{"200 of 200 ports, 40000 to 40199, are free for no destination: programs have bound 200", "binder[12] has bound 200",
			"60 connect() calls to 2 destinations failed", "pooler[77] makes the calls that fail", "all destinations fail alike. TIME_WAIT is not the cause"},
		advises: []string{"ip_local_port_range=\"1024 65535\"", "ip_local_port_range=\"40000 40199\""}},
	{name: "all are reserved", facts: func() Facts { return fewPorts(traced(), 0, "40000-40199", 30) },
		want:    []string{"TW108 crit"},
		words:   []string{"ip_local_reserved_ports has 200", "60 connect() calls"},
		advises: []string{"sysctl -w net.ipv4.ip_local_reserved_ports=", "sysctl -w net.ipv4.ip_local_reserved_ports=40000-40199"}},
	{name: "nobody connects", facts: func() Facts { return fewPorts(traced(), 200, "", 0) },
		want: []string{"TW108 warn"}, words: []string{"as soon as a program calls connect()", "not known here"}},
	{name: "without a trace", facts: func() Facts { return fewPorts(healthy(), 200, "", 0) },
		want: []string{"TW108 warn", "TW900 info"}},
	{name: "a recording does not know who has bound them", facts: func() Facts { return fewPorts(traced(), 0, "", 30) },
		want:    []string{"TW108 crit"},
		words:   []string{"none of 200 ports was free for 2 destinations", "who holds the ports is not known; pooler[77] makes the calls that fail"},
		advises: []string{"sudo twtrace doctor"}},
	{name: "half of the ports are bound", facts: func() Facts { return fewPorts(traced(), 100, "", 0) },
		want: []string{"TW000 ok"}},
	{name: "clients have bound them", facts: func() Facts {
		f := fewPorts(traced(), 200, "", 30)
		f.Traffic.Bound = []BoundPorts{{Local: netip.MustParseAddr(here), Gauge: &pressure.Gauge{Key: pressure.Key{What: pressure.LocalPorts},
			TimeWait: 200, Limit: 200, Severity: event.Crit, Outlook: pressure.Outlook{Used: 200, Limit: 200, Full: true}}}}
		return f
	},
		want: []string{"TW102 crit"}},
}

func TestTW108(t *testing.T) { play(t, "TW108") }

func TestPortList(t *testing.T) {
	for want, ports := range map[string][]uint16{"": nil, "80": {80}, "22,8000-8002,8004": {8001, 22, 8000, 8002, 8004, 22}} {
		if got := portList(ports); got != want {
			t.Errorf("%v: %q, want %q", ports, got, want)
		}
	}
	if n := (kernel.Limits{PortLow: 1, PortHigh: 65535, ReservedPorts: "22,8000-8002"}).WithRange(1, 65535).Reserved; n != 4 {
		t.Errorf("the kernel's list means %d ports", n)
	}
}
