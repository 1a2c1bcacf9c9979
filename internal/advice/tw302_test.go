package advice

import (
	"net/netip"
	"testing"

	"github.com/twtrace/twtrace/internal/event"
)

var tw302Scenarios = []scenario{
	{name: "the host's own address, of an unknown client", facts: func() Facts {
		f := healthy().with(destination(here, here+":80", 20000))
		f.HostAfter.Addrs = []netip.Addr{netip.MustParseAddr(here)}
		return f
	},
		want:    []string{"TW302 info", "TW900 info", "TW000 ok"},
		words:   []string{"other addresses"},
		advises: []string{"127.0.0.1 or ::1"}},
	{name: "another host with that many", facts: func() Facts {
		f := healthy().with(destination(here, "10.0.0.8:80", 20000))
		f.HostAfter.Addrs = []netip.Addr{netip.MustParseAddr(here)}
		return f
	},
		want: []string{"TW900 info", "TW000 ok"}},
	{name: "a load test on loopback, faster than the delay", facts: func() Facts { return loadedBy("wrk") },
		want:    []string{"TW302 info", "TW900 info", "TW000 ok"},
		words:   []string{"1000 ms", "28,232 ports allow new connections at about 28,232/s", "as long as the test runs"},
		advises: []string{"keep-alive in the tool", "127.0.0.2"}},
	{name: "a load test on loopback without reuse", facts: func() Facts { f := loadedBy("ab"); f.Limits.TWReuse = 0; return f },
		want:  []string{"TW302 info", "TW900 info", "TW000 ok"},
		words: []string{"tcp_tw_reuse is 0"}},
	{name: "a service on loopback is no load test", facts: func() Facts { return loadedBy("nginx") },
		want: []string{"TW900 info", "TW000 ok"}},
	{name: "nor is one without reuse", facts: func() Facts { f := loadedBy("nginx"); f.Limits.TWReuse = 0; return f },
		want: []string{"TW900 info", "TW000 ok"}},
}

// loadedBy is a host on which a program has opened many connections to 127.0.0.1.
func loadedBy(comm string) Facts {
	d := destination("127.0.0.1", "127.0.0.1:80", 20000)
	d.Holders = *one(Contributor{Process: event.Proc{PID: 5, Comm: comm}, PIDs: 1, N: 20000})
	return healthy().with(d)
}

func TestTW302(t *testing.T) { play(t, "TW302") }
