package advice

import (
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/twtrace/twtrace/internal/conn"
	"github.com/twtrace/twtrace/internal/event"
)

var tw305Scenarios = []scenario{
	{name: "a NAT without ports", facts: func() Facts { return unanswered(here, "198.51.100.7:443", 40, 200) },
		want:  []string{"TW305 warn", "TW900 info"},
		words: []string{"40 connects", "198.51.100.7:443", "and 200 did", "NAT"}},
	{name: "a destination that is down", facts: func() Facts { return unanswered(here, "198.51.100.7:443", 40, 0) },
		want: []string{"TW900 info", "TW000 ok"}},
	{name: "one in the same network", facts: func() Facts { return unanswered(here, "10.9.9.9:443", 40, 200) },
		want: []string{"TW900 info", "TW000 ok"}},
	{name: "a host with an address of its own", facts: func() Facts { return unanswered("203.0.113.5", "198.51.100.7:443", 40, 200) },
		want: []string{"TW900 info", "TW000 ok"}},
	{name: "a SYN lost now and then", facts: func() Facts { return unanswered(here, "198.51.100.7:443", 4, 200) },
		want: []string{"TW900 info", "TW000 ok"}},
	{name: "few of very many", facts: func() Facts { return unanswered(here, "198.51.100.7:443", 10, 5000) },
		want: []string{"TW900 info", "TW000 ok"}},
	{name: "a client that waits 2 s", facts: func() Facts {
		f := traced().with(opened(here, "198.51.100.7:443", 26, 16), opened(here, "198.51.100.9:443", 4, 1))
		f.Destinations[0].Resent = 2
		f.Traffic.Fails = []Fail{{Process: checkout, Call: event.Connect, Cause: event.GaveUp, Remote: netip.MustParseAddrPort("198.51.100.7:443"), N: 37, GivenUp: conn.GivenUp{N: 37, Timed: 37, Waited: 74 * time.Second}, Opens: 30}}
		return f
	},
		want: []string{"TW305 warn"},
		words: []string{"39 connects to 198.51.100.7:443 got no answer (37 given up by the client after 2.0 s), and 26 did", "16 of 28,232 local ports",
			"no answer came to connects of checkout[4242] of checkout.service 37", "3.7/s given up in the last 10s; 2 connects wait", "1 other public destination answered"}},
	{name: "a NAT whose ports are all held, or a server that has died", facts: func() Facts {
		f := traced().with(opened(here, "198.51.100.7:443", 0, 16))
		f.Traffic.Fails = []Fail{{Process: checkout, Call: event.Connect, Cause: event.GaveUp, Remote: netip.MustParseAddrPort("198.51.100.7:443"), N: 37, GivenUp: conn.GivenUp{N: 37, Timed: 37, Waited: 74 * time.Second}}}
		return f
	},
		want:  []string{"TW305 warn"},
		words: []string{"got no answer (37 given up by the client after 2.0 s), though 16 connections open now got one before", "so does one that has died"}},
	{name: "a server that is gone", facts: func() Facts {
		f := traced().with(opened(here, "198.51.100.7:443", 0, 0))
		f.Traffic.Fails = []Fail{{Process: checkout, Call: event.Connect, Errno: uint16(unix.ETIMEDOUT), Remote: netip.MustParseAddrPort("198.51.100.7:443"), N: 37}}
		return f
	},
		want: []string{"TW210 warn"}},
	{name: "connects that timed out", facts: func() Facts {
		f := unanswered(here, "198.51.100.7:443", 0, 200)
		f.Traffic.Fails = []Fail{
			{Call: event.Connect, Errno: uint16(unix.ETIMEDOUT), Remote: netip.MustParseAddrPort("198.51.100.7:443"), N: 30, Opens: 200},
			{Call: event.Connect, Errno: uint16(unix.ETIMEDOUT), Remote: netip.MustParseAddrPort("198.51.100.7:80"), N: 7, Opens: 3000},
		}
		return f
	},
		want:  []string{"TW305 warn", "TW900 info"},
		words: []string{"30 connects"}},
}

func TestTW305(t *testing.T) { play(t, "TW305") }

// opened is a destination to which connections were opened in the window, and are open.
func opened(local, remote string, opens uint64, established uint32) Destination {
	d := destination(local, remote, 0)
	d.Opens = opens
	d.States.Full[event.Established] = established
	return d
}

// unanswered has connects that get no answer, and some that do.
func unanswered(local, remote string, resent uint32, established uint32) Facts {
	d := destination(local, remote, 0)
	d.States.Full[event.SynSent], d.Resent = resent, resent
	d.States.Full[event.Established] = established
	return watched().with(d)
}
