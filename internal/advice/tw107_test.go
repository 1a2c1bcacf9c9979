package advice

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/twtrace/twtrace/internal/event"
)

var pooler = event.Proc{PID: 77, Comm: "pooler"}

// notThere is a trace with calls of pooler that failed with EADDRNOTAVAIL.
func notThere(call event.Call, why event.Cause, local, remote string) Facts {
	f := traced()
	v := Fail{Process: pooler, Call: call, Errno: event.EADDRNOTAVAIL, Cause: why, N: 40}
	if local != "" {
		v.Local = netip.MustParseAddrPort(local)
	}
	if remote != "" {
		v.Remote = netip.MustParseAddrPort(remote)
	}
	f.Traffic.Fails = []Fail{v}
	d := live(event.Established, 6)
	return f.with(d)
}

// dialing is a connect() from port 3001 whose four numbers are taken.
func dialing(t TakenTuple) Facts {
	f := notThere(event.Connect, event.TupleTaken, "", "10.77.0.2:3001")
	t.Local, t.Remote, t.By = netip.MustParseAddrPort("10.77.0.1:3001"), netip.MustParseAddrPort("10.77.0.2:3001"), pooler
	f.Traffic.Tuples = []TakenTuple{t}
	return f
}

var tw107Scenarios = []scenario{
	{name: "localhost is ::1 first, and IPv6 is off", facts: func() Facts {
		f := notThere(event.Connect, event.NoAddress, "", "[::1]:6432")
		f.Traffic.Fails[0].Instead = netip.MustParseAddrPort("127.0.0.1:6432")
		f.HostAfter.Settings.LoIPv6Off = 1
		return f
	},
		want: []string{"TW107 warn"},
		words: []string{"40 connect() calls of pooler[77] to [::1]:6432 failed with EADDRNOTAVAIL (99) in the last 10s", "4.0/s fail",
			"net.ipv6.conf.lo.disable_ipv6 is 1", "connect() to [::1]:6432 fails, then 127.0.0.1:6432 works: localhost resolves to ::1 first",
			"ports are not the problem: 6 of 28,232 ports are in use"},
		advises: []string{"/etc/hosts", "sysctl -w net.ipv6.conf.lo.disable_ipv6=0", "sysctl -w net.ipv6.conf.lo.disable_ipv6=1"}},
	{name: "127.0.0.1 is refused, and then ::1 is not there", facts: func() Facts {
		f := notThere(event.Connect, event.NoAddress, "", "[::1]:6432")
		f.Traffic.Fails = append(f.Traffic.Fails, Fail{Process: pooler, Call: event.Connect, Errno: 111, Remote: netip.MustParseAddrPort("127.0.0.1:6432"), N: 40})
		return f
	},
		want:  []string{"TW210 warn", "TW107 info"},
		words: []string{"the cause is elsewhere: connect() to 127.0.0.1:6432 fails too, 40 times with ECONNREFUSED (111)"}},
	{name: "no IPv6 address reaches so far", facts: func() Facts { return notThere(event.Connect, event.NoAddress, "", "[2001:db8::9]:443") },
		want: []string{"TW107 warn"}, words: []string{"no interface has an IPv6 address"}},
	{name: "the address of another host", facts: func() Facts {
		f := notThere(event.Bind, event.NotLocal, "192.0.2.9:0", "")
		f.HostAfter.Addrs = []netip.Addr{netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("10.0.0.7"), netip.MustParseAddr("::1")}
		f.HostAfter.Settings.Somaxconn = 4096
		return f
	},
		want:    []string{"TW107 warn"},
		words:   []string{"40 bind() calls of pooler[77] to 192.0.2.9 failed", "192.0.2.9 is not an address of this network namespace, which has 127.0.0.1, 10.0.0.7"},
		advises: []string{"bind to an address of this host (127.0.0.1, 10.0.0.7)", "sysctl -w net.ipv4.ip_nonlocal_bind=1", "sysctl -w net.ipv4.ip_nonlocal_bind=0"}},
	{name: "the peer's connection has the four numbers", facts: func() Facts {
		return dialing(TakenTuple{State: event.Established, Role: event.Server, Holder: event.Proc{PID: 5, Comm: "chainsync"}})
	},
		want: []string{"TW107 warn"},
		words: []string{"10.77.0.1:3001 -> 10.77.0.2:3001 is taken by an inbound connection in ESTABLISHED, which 10.77.0.2:3001 opened",
			"chainsync[5] accepted the connection that exists"},
		advises: []string{"use the connection that exists", "do not bind the source port", "IP_BIND_ADDRESS_NO_PORT"}},
	{name: "a connection from before the trace has them", facts: func() Facts {
		return dialing(TakenTuple{State: event.Established, Holder: event.Proc{PID: 5, Comm: "chainsync"}, Listens: true})
	},
		want: []string{"TW107 warn"}, words: []string{"an inbound one, most likely, which 10.77.0.2:3001 opened", "chainsync[5] has the connection that exists"}},
	{name: "TIME_WAIT has them", facts: func() Facts {
		return dialing(TakenTuple{State: event.TimeWait, Role: event.Client, Holder: pooler, FreeIn: 42 * time.Second})
	},
		want:    []string{"TW107 warn"},
		words:   []string{"in TIME_WAIT here, and its peer uses no TCP timestamps", "until TIME_WAIT ends, in 42s", "pooler[77] had the last connection"},
		advises: []string{"wait until TIME_WAIT ends, 42s from now", "TCP timestamps at the peer"}},
	{name: "nobody was found to have them", facts: func() Facts { return dialing(TakenTuple{}) },
		want: []string{"TW107 warn"}, words: []string{"is taken by a socket that is not there any more"}},
	{name: "ports look free", facts: func() Facts { return notThere(event.Connect, event.CauseNone, "", there) },
		want: []string{"TW107 warn"}, words: []string{"IP_LOCAL_PORT_RANGE", "6 of 28,232 ports are in use"}},
	{name: "no port was free", facts: func() Facts { return notThere(event.Connect, event.NoPort, "", there) },
		want: []string{"TW000 ok"}},
}

func TestTW107(t *testing.T) { play(t, "TW107") }

// TestNoInvalidAddress: who connects from nowhere is not "invalid IP".
func TestNoInvalidAddress(t *testing.T) {
	d := storming(28200, 4000)
	d.Local, d.Failed = netip.Addr{}, 7
	f := traced().with(d)
	f.Traffic.Fails = []Fail{{Process: pooler, Call: event.Bind, Errno: event.EADDRNOTAVAIL, Cause: event.NotLocal, N: 1}}
	for _, x := range Diagnose(f) {
		if words := x.What + string(x.Who) + x.When + x.Why + x.Short + x.Scope.Laddr + x.Scope.Raddr; strings.Contains(words, "invalid") {
			t.Errorf("%s: %s", x.ID, words)
		}
	}
}
