package advice

import (
	"net/netip"
	"testing"
	"time"

	"github.com/twtrace/twtrace/internal/event"
)

var (
	nginx     = event.Proc{PID: 7, Comm: "nginx"}
	apiserver = event.Proc{PID: 99, Comm: "apiserver"}
)

var tw104Scenarios = []scenario{
	{name: "the old server's connections are in TIME_WAIT", facts: func() Facts {
		return taken("0.0.0.0:8080", PortHolder{State: event.TimeWait, Role: event.Server, Process: checkout, N: 12, FreeIn: 41 * time.Second})
	},
		want: []string{"TW104 crit"},
		words: []string{"bind() to 0.0.0.0:8080 failed with EADDRINUSE (98) 3 times", "12 accepted connections of checkout[4242] of checkout.service are in TIME_WAIT",
			"expires in about 41s", "checkout[4242] of checkout.service left what holds it"},
		advises: []string{"start it again in 41s", "set SO_REUSEADDR before bind(), if checkout[4242] of checkout.service does not set it yet", "both the old server and the new one"}},
	{name: "somebody listens there", facts: func() Facts {
		return taken("0.0.0.0:8080", PortHolder{State: event.Listening, Process: nginx, Local: netip.MustParseAddrPort("10.0.0.7:8080"), N: 1})
	},
		want:  []string{"TW104 crit"},
		words: []string{"nginx[7] listens on 10.0.0.7:8080", "nginx[7] has it"}, advises: []string{"stop nginx[7]", "SO_REUSEPORT"}},
	{name: "an outgoing connection has it", facts: func() Facts {
		f := taken("0.0.0.0:40010", PortHolder{State: event.Established, Role: event.Client, Process: apiserver, N: 1,
			Local: netip.MustParseAddrPort("127.0.0.1:40010"), Remote: netip.MustParseAddrPort("127.0.0.1:2379"), Peer: event.Proc{PID: 3, Comm: "etcd"}})
		f.Limits.ReservedPorts, f.Enter = "9000-9005", "ip netns exec web "
		return f
	},
		want: []string{"TW104 crit"},
		words: []string{"checkout[4242] of checkout.service wants the port; apiserver[99] has it",
			"1 outgoing connection of apiserver[99] to 127.0.0.1:2379, where etcd[3] listens, is open with it as local port"},
		advises: []string{"ip netns exec web sysctl -w net.ipv4.ip_local_reserved_ports=9000-9005,40010",
			"ip netns exec web sysctl -w net.ipv4.ip_local_reserved_ports=9000-9005\n", "or give checkout[4242] of checkout.service one outside ip_local_port_range, 32768 to 60999"}},
	{name: "an outgoing connection left it in TIME_WAIT", facts: func() Facts {
		return taken("0.0.0.0:40010", PortHolder{State: event.TimeWait, Role: event.Client, N: 1, FreeIn: 46 * time.Second,
			Local: netip.MustParseAddrPort("127.0.0.1:40010"), Remote: netip.MustParseAddrPort("127.0.0.1:2379")})
	},
		want: []string{"TW104 crit"},
		words: []string{"who left what holds it is not known", "1 outgoing connection to 127.0.0.1:2379 is in TIME_WAIT on the port, for 46s more",
			"expires in about 46s, then the port is free"},
		advises: []string{"start it again in 46s", "ip_local_reserved_ports=40010"}},
	{name: "it is likely whose that was", facts: func() Facts {
		return taken("0.0.0.0:40010", PortHolder{State: event.TimeWait, Role: event.Client, N: 1, FreeIn: 46 * time.Second, Process: apiserver, Guess: true,
			Local: netip.MustParseAddrPort("127.0.0.1:40010"), Remote: netip.MustParseAddrPort("127.0.0.1:2379")})
	},
		want:  []string{"TW104 crit"},
		words: []string{"likely apiserver[99] left what holds it", "1 outgoing connection, likely of apiserver[99], to 127.0.0.1:2379 is in TIME_WAIT"}},
	{name: "a connection to itself", facts: func() Facts {
		at := netip.MustParseAddrPort("127.0.0.1:40010")
		return taken("0.0.0.0:40010", PortHolder{State: event.Established, Role: event.Client, Process: apiserver, N: 1, Local: at, Remote: at})
	},
		want:    []string{"TW104 crit"},
		words:   []string{"1 outgoing connection of apiserver[99] from 127.0.0.1:40010 to itself"},
		advises: []string{"ip_local_reserved_ports=40010"}},
	{name: "it is bound and no more", facts: func() Facts {
		return taken("0.0.0.0:8080", PortHolder{State: event.Closed, Process: apiserver, N: 1, Local: netip.MustParseAddrPort("127.0.0.1:8080")})
	},
		want:  []string{"TW104 crit"},
		words: []string{"apiserver[99] has bound 127.0.0.1:8080, and neither listens nor connects"}},
	{name: "clients of the old server are connected", facts: func() Facts {
		return taken("0.0.0.0:8080", PortHolder{State: event.Established, Role: event.Server, Process: apiserver, N: 4, Local: netip.MustParseAddrPort("127.0.0.1:8080")},
			PortHolder{State: event.TimeWait, Role: event.Server, Process: apiserver, N: 2, FreeIn: time.Second})
	},
		want: []string{"TW104 crit"},
		words: []string{"4 accepted connections of apiserver[99] are open with it as local port; 2 accepted connections of apiserver[99] are in TIME_WAIT on the port, for 1s more",
			"\nnow\n"},
		advises: []string{"SO_REUSEADDR before bind(), if"}},
	{name: "nothing is found", facts: func() Facts {
		f := taken("0.0.0.0:8080")
		f.Enter = "ip netns exec web "
		return f
	},
		want:    []string{"TW104 crit"},
		words:   []string{"who has it is not known", "nothing was found on the port"},
		advises: []string{"ip netns exec web ss -tanp 'sport = :8080'"}},
	{name: "it was there when the call failed", facts: func() Facts {
		f := taken("0.0.0.0:8080", PortHolder{State: event.TimeWait, Role: event.Server, N: 1})
		f.Traffic.Taken[0].Past = true
		return f
	},
		want:  []string{"TW104 crit"},
		words: []string{"when it last failed, 1 accepted connection is in TIME_WAIT on the port; by now nothing has the port"}},
	{name: "it has the port by now", facts: func() Facts {
		f := taken("0.0.0.0:8080", PortHolder{State: event.Listening, Process: checkout, N: 1, Local: netip.MustParseAddrPort("0.0.0.0:8080")})
		f.Traffic.Taken[0].Got = true
		return f
	},
		want:  []string{"TW104 info", "TW000 ok"},
		words: []string{"over: checkout listens on the port by now"}},
	{name: "it looks for a free port", facts: func() Facts { return asked(1, "0.0.0.0:8081") },
		want:  []string{"TW104 info", "TW000 ok"},
		words: []string{"no harm", "bound 0.0.0.0:8081 since"}},
	{name: "it does without the port", facts: func() Facts { return asked(1, "0.0.0.0:9100") },
		want:  []string{"TW104 warn"},
		words: []string{"bound 0.0.0.0:9100 since; it may need both"}},
	{name: "it asks again and again", facts: func() Facts { return asked(9, "0.0.0.0:8081") },
		want:  []string{"TW104 crit"},
		words: []string{"failed with EADDRINUSE (98) 9 times"}},
	{name: "no port of the range is free, which is for TW102", facts: func() Facts {
		f := traced()
		f.Traffic.Bound = []BoundPorts{{Local: netip.MustParseAddr("0.0.0.0"), Failed: 31}}
		return f
	},
		want: []string{"TW102 crit"}},
}

func TestTW104(t *testing.T) { play(t, "TW104") }

// taken is of a server that did not get a port three times.
func taken(local string, by ...PortHolder) Facts {
	f := traced()
	f.Traffic.Taken = []TakenPort{{Local: netip.MustParseAddrPort(local), By: checkout, N: 3, Holders: by}}
	return f
}

// asked is of a server that did not get a port, and got another one.
func asked(times uint64, instead string) Facts {
	f := taken("0.0.0.0:8080", PortHolder{State: event.Listening, Process: nginx, Local: netip.MustParseAddrPort("0.0.0.0:8080"), N: 1})
	f.Traffic.Taken[0].N, f.Traffic.Taken[0].Instead = times, netip.MustParseAddrPort(instead)
	return f
}
