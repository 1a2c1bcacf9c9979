package advice

import (
	"net/netip"
	"testing"
)

var tw102Scenarios = []scenario{
	{name: "ports bound before connect", facts: func() Facts {
		f := traced()
		f.Traffic.Bound = []BoundPorts{{Local: netip.MustParseAddr(here), Holders: *one(Contributor{Process: checkout, PIDs: 1, N: 24400}), Gauge: gauge(24400, 400), Taken: 25000}}
		return f
	},
		want:  []string{"TW102 warn"},
		words: []string{"24,400 of 28,232", "sockets to all destinations hold 25,000", "checkout[4242] of checkout.service holds 24,400 bound ports"}},
	{name: "bind() finds no port", facts: func() Facts {
		f := traced()
		f.Traffic.Bound = []BoundPorts{{Local: netip.MustParseAddr("0.0.0.0"), Failed: 31}}
		return f
	},
		want:  []string{"TW102 crit"},
		words: []string{"31 calls found no free port"}},
	{name: "a few ports bound", facts: func() Facts {
		f := traced()
		f.Traffic.Bound = []BoundPorts{{Local: netip.MustParseAddr(here), Gauge: gauge(240, 4)}}
		return f
	},
		want: []string{"TW000 ok"}},
}

func TestTW102(t *testing.T) { play(t, "TW102") }
