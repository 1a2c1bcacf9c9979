package advice

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/twtrace/twtrace/internal/event"
	"github.com/twtrace/twtrace/internal/pressure"
)

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
	d.Owner, d.PIDs, d.Begun, d.Stamped, d.Flow = checkout, 1, timeWait, timeWait, churning(opens)
	d.Gauge = gauge(float64(timeWait), float64(opens)/10)
	return d
}

func gauge(used, rate float64) *pressure.Gauge {
	tw := steadily(int(used))
	g := &pressure.Gauge{Limit: 28232, TimeWait: int(used), Outlook: pressure.Foresee(pressure.Load{Limit: 28232, TimeWait: tw, Rate: rate})}
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

// asked is of a server that did not get a port, and got another one.
func asked(times uint64, instead string) Facts {
	f := traced()
	f.Traffic.Taken = []TakenPort{{Local: netip.MustParseAddrPort("0.0.0.0:8080"), By: checkout, N: times, Listens: true,
		Listener: event.Proc{PID: 7, Comm: "nginx"}, Instead: netip.MustParseAddrPort(instead)}}
	return f
}

// traces is which rules speak on what a trace saw, and how loudly.
var traces = []struct {
	name  string
	facts func() Facts
	want  []string
	words []string // that the first finding must say
}{
	{"idle", traced, []string{"TW000 ok"}, []string{"0 connections opened in 10s, 0 events lost"}},
	{"keep-alive: few connections, long lives", func() Facts {
		d := storming(100, 12)
		d.Short, d.LifeP50 = 0, time.Hour
		return traced().with(d).owned(client(d.Flow))
	}, []string{"TW000 ok"}, nil},
	{"short connections, far from any limit", func() Facts { return traced().with(storming(1200, 200)) },
		[]string{"TW201 info", "TW000 ok"}, []string{"checkout[4242] of checkout.service opens 20/s connections to " + there, "keeps none"}},
	{"86 % and steady", func() Facts { return traced().with(storming(24400, 4000)) },
		[]string{"TW101 warn", "TW201 warn"}, []string{"24,400 of 28,232", "checkout[4242] of checkout.service opened most", "less than 3.0ms", "100% closed from here first", "100% of those that began of late use TCP timestamps"}},
	{"too fast", func() Facts { return traced().with(storming(20000, 6000)) },
		[]string{"TW101 crit", "TW201 warn"}, []string{"full in about"}},
	{"it fails now", func() Facts {
		d := storming(28232, 6000)
		d.Failed = 97
		return traced().with(d)
	}, []string{"TW101 crit", "TW201 warn"}, []string{"97 connect() calls failed with EADDRNOTAVAIL (99) in 10s"}},
	{"all of it fails", func() Facts {
		d := storming(28232, 4)
		d.Failed = 970
		return traced().with(d)
	}, []string{"TW101 crit"}, nil},
	{"a peer without timestamps", func() Facts {
		d := storming(24400, 4000)
		d.Stamped = 0
		return traced().with(d)
	}, []string{"TW101 warn", "TW201 warn"}, []string{"tcp_tw_reuse could not take over any port"}},
	{"from before the trace: who knows", func() Facts {
		d := storming(24400, 0)
		d.Begun, d.Stamped = 0, 0
		return traced().with(d)
	}, []string{"TW101 warn"}, []string{"restarting the client frees no port"}},
	{"all of it is taken over", func() Facts {
		d := storming(24400, 4000)
		f := traced().with(d)
		f.Limits.TWReuse = 1
		f.Destinations[0].Gauge = &pressure.Gauge{Limit: 28232, TimeWait: 24400, Reusable: 24000, Outlook: pressure.Outlook{Limit: 28232, Used: 400, Steady: 400}}
		return f
	}, []string{"TW101 info", "TW201 info", "TW000 ok"}, []string{"no harm as long as", "100% of them use TCP timestamps"}},
	{"a leak of connections", func() Facts {
		d := live(event.Established, 20000)
		d.Owner, d.Gauge = checkout, &pressure.Gauge{Limit: 28232, Established: 20000, Severity: event.Crit,
			Outlook: pressure.Outlook{Limit: 28232, Used: 20000, Full: true, In: 40 * time.Second}}
		return traced().with(d)
	}, []string{"TW106 crit"}, []string{"ESTABLISHED", "checkout[4242]", "full in about 40s"}},
	{"ports bound before connect", func() Facts {
		f := traced()
		f.Traffic.Bound = []BoundPorts{{Local: netip.MustParseAddr(here), Owner: checkout, Gauge: gauge(24400, 400), Taken: 25000}}
		return f
	}, []string{"TW102 warn"}, []string{"24,400 of 28,232", "sockets to all destinations hold 25,000", "checkout[4242] of checkout.service bound most of them of late"}},
	{"bind() finds no port", func() Facts {
		f := traced()
		f.Traffic.Bound = []BoundPorts{{Local: netip.MustParseAddr("0.0.0.0"), Failed: 31}}
		return f
	}, []string{"TW102 crit"}, []string{"31 calls found no port"}},
	{"a few ports bound", func() Facts {
		f := traced()
		f.Traffic.Bound = []BoundPorts{{Local: netip.MustParseAddr(here), Owner: checkout, Gauge: gauge(240, 4)}}
		return f
	}, []string{"TW000 ok"}, nil},
	{"connect() searches", func() Facts {
		d := storming(18000, 3000)
		d.Passed = 14116
		o := client(d.Flow)
		o.System = 0.45
		return traced().with(d).owned(o)
	}, []string{"TW103 warn", "TW201 info"}, []string{"1.5ms in the kernel", "45% of a CPU", "passes over 14,116 ports"}},
	{"one holds the ports, and another connects", func() Facts {
		d := storming(18000, 3000)
		d.Passed = 14116
		o := client(d.Flow)
		o.System = 0.45
		d.Owner, d.Opener, d.Openers = event.Proc{PID: 7, Comm: "pool"}, checkout, 1
		return traced().with(d).owned(o)
	}, []string{"TW103 warn", "TW201 info"}, []string{"checkout[4242] of checkout.service spends 45% of a CPU"}},
	{"the range half used, ports of the first parity free, and a client that works", func() Facts {
		d := storming(18000, 3000)
		o := client(d.Flow)
		o.System = 0.45
		return traced().with(d).owned(o)
	}, []string{"TW201 info", "TW000 ok"}, nil},
	{"the range half used, and cheaply", func() Facts {
		d := storming(18000, 3000)
		d.Passed = 14116
		o := client(d.Flow)
		o.System = 0.05
		return traced().with(d).owned(o)
	}, []string{"TW201 info", "TW000 ok"}, nil},
	{"a server does not come back", func() Facts {
		f := traced()
		f.Traffic.Taken = []TakenPort{{Local: netip.MustParseAddrPort("0.0.0.0:8080"), By: checkout, N: 3, TimeWait: 12, Left: checkout, FreeIn: 41 * time.Second}}
		return f
	}, []string{"TW104 crit"}, []string{"bind() to 0.0.0.0:8080 failed with EADDRINUSE (98) 3 times", "12 sockets of the port are in TIME_WAIT", "expires in about 41s"}},
	{"somebody listens there", func() Facts {
		f := traced()
		f.Traffic.Taken = []TakenPort{{Local: netip.MustParseAddrPort("0.0.0.0:8080"), By: checkout, N: 1, Listens: true, Listener: event.Proc{PID: 7, Comm: "nginx"}}}
		return f
	}, []string{"TW104 crit"}, []string{"once", "nginx[7] listens on the port"}},
	{"it looks for a free port", func() Facts { return asked(1, "0.0.0.0:8081") }, []string{"TW104 info", "TW000 ok"}, []string{"no harm", "taken 0.0.0.0:8081 since"}},
	{"it does without the port", func() Facts { return asked(1, "0.0.0.0:9100") }, []string{"TW104 warn"}, []string{"taken 0.0.0.0:9100 since; it may need both"}},
	{"it asks again and again", func() Facts { return asked(9, "0.0.0.0:8081") }, []string{"TW104 crit"}, []string{"failed with EADDRINUSE (98) 9 times"}},
	{"no descriptor left", func() Facts {
		f := traced()
		f.Traffic.Descriptors = []Descriptors{{Process: checkout, Used: 1024, Limit: 1024, Failed: 12}}
		return f
	}, []string{"TW105 crit"}, []string{"1,024 of 1,024 descriptors", "12 calls failed with EMFILE (24)"}},
	{"the host has no descriptor left", func() Facts {
		f := traced()
		f.Traffic.Descriptors = []Descriptors{{Used: 5000, Limit: 5000, Failed: 1}}
		return f
	}, []string{"TW105 crit"}, []string{"the whole host", "ENFILE (23)"}},
	{"descriptors run low", func() Facts {
		f := traced()
		f.Traffic.Descriptors = []Descriptors{{Process: checkout, Used: 900, Limit: 1024}, {Process: event.Proc{PID: 1, Comm: "x"}, Used: 500, Limit: 1024}}
		return f
	}, []string{"TW105 warn"}, []string{"900 of 1,024"}},
	{"a swarm", func() Facts {
		o := client(churning(900))
		o.Process.Comm, o.PIDs, o.Came = "curl", 900, 900
		return traced().owned(o)
	}, []string{"TW202 info", "TW000 ok"}, []string{"900 processes of curl came in 10s", "started by systemd[1]", there}},
	{"workers that stay are no swarm", func() Facts {
		o := client(churning(150))
		o.PIDs, o.Came, o.Stays = 64, 64, true
		return traced().owned(o)
	}, []string{"TW000 ok"}, nil},
	{"a crawler", func() Facts {
		o := client(churning(2000))
		o.Remote, o.Destinations = netip.AddrPort{}, 1900
		return traced().owned(o)
	}, []string{"TW203 info", "TW000 ok"}, []string{"1,900 destinations", "190/s"}},
	{"a server that closes first", func() Facts {
		f := traced()
		f.Listeners = []Listener{{Local: netip.MustParseAddrPort("0.0.0.0:443"), Owner: event.Proc{PID: 7, Comm: "nginx"}, Flow: churning(100)}}
		f.Listeners[0].States.Full[event.TimeWait] = 6000
		return f
	}, []string{"TW204 info", "TW000 ok"}, []string{"nginx[7]", "it closed 100% first"}},
	{"TIME_WAIT refused", func() Facts {
		f := traced()
		f.Traffic.TimeWaitOwner, f.Before.TWOverflow, f.After.TWOverflow = checkout, 5, 25
		return f
	}, []string{"TW205 crit"}, []string{"20 refused in 10s", "checkout[4242] of checkout.service closed most"}},
	{"reset by the client", func() Facts {
		o, s := client(churning(500)), client(churning(500))
		o.ResetSent = 480
		s.Role, s.ResetReceived, s.Process = event.Server, 480, event.Proc{PID: 7, Comm: "nginx"}
		return traced().owned(o, s)
	}, []string{"TW206 warn"}, []string{"480 of 500 connections of checkout[4242]", "it sent the resets itself", "no good sign"}},
	{"reset by a peer elsewhere", func() Facts {
		o := client(churning(500))
		o.ResetReceived = 480
		return traced().owned(o)
	}, []string{"TW206 warn"}, []string{"the peer sent the resets"}},
	{"a load test ends with resets", func() Facts {
		o := client(Flow{Opens: 100, Ends: 100, ResetSent: 100, LifeP50: 9 * time.Second})
		return traced().owned(o)
	}, []string{"TW000 ok"}, nil},
	{"CLOSE_WAIT grows", func() Facts {
		f := traced()
		f.Traffic.Standing = []Standing{{State: event.CloseWait, Process: checkout, Remote: database, N: 340, Grown: 50}}
		return f
	}, []string{"TW207 warn"}, []string{"340 connections to " + there + " stay in CLOSE_WAIT", "50 more in 10s", "leaks sockets"}},
	{"FIN_WAIT2 grows", func() Facts {
		f := traced()
		f.Traffic.Standing = []Standing{{State: event.FinWait2, Process: checkout, Local: netip.MustParseAddrPort("10.0.0.7:80"), N: 40, Grown: 40}}
		return f
	}, []string{"TW207 warn"}, []string{"on 10.0.0.7:80 stay in FIN_WAIT2", "the peer has not"}},
	{"CLOSE_WAIT from long ago, and a few new ones", func() Facts {
		f := traced()
		f.Traffic.Standing = []Standing{{State: event.CloseWait, Process: checkout, Remote: database, N: 340, Grown: 3},
			{State: event.CloseWait, Process: checkout, Remote: netip.MustParseAddrPort("10.9.9.9:80"), N: 9, Grown: 9}}
		return f
	}, []string{"TW207 info", "TW000 ok"}, []string{"do not grow"}},
	{"refused by the destination", func() Facts {
		f := traced()
		f.Traffic.Fails = []Fail{{Process: checkout, Call: event.Connect, Errno: uint16(unix.ECONNREFUSED), Remote: database, N: 90, Opens: 10}}
		return f
	}, []string{"TW210 warn"}, []string{"90 of 100 connects of checkout to " + there, "ECONNREFUSED (111) (90%)"}},
	{"one address of two refuses", func() Facts {
		f := traced()
		f.Traffic.Fails = []Fail{{Process: checkout, Call: event.Connect, Errno: uint16(unix.ECONNREFUSED), Remote: database, N: 50, Opens: 50}}
		return f
	}, []string{"TW210 info", "TW000 ok"}, nil},
	{"several addresses do not answer", func() Facts {
		f := traced()
		for i := range 6 {
			f.Traffic.Fails = append(f.Traffic.Fails, Fail{Process: checkout, Call: event.Connect, Errno: uint16(unix.ETIMEDOUT),
				Remote: netip.MustParseAddrPort(fmt.Sprintf("10.2.0.%d:5432", i)), N: 2})
		}
		return f
	}, []string{"TW210 warn"}, []string{"12 of 12 connects", "port 5432 of 6 addresses", "did not answer"}},
	{"what failed here is no matter of the destination", func() Facts {
		f := traced()
		f.Traffic.Fails = []Fail{{Process: checkout, Call: event.Connect, Errno: uint16(unix.EADDRNOTAVAIL), Remote: database, N: 90},
			{Process: checkout, Call: event.Accept, Errno: uint16(unix.EMFILE), N: 90}}
		return f
	}, []string{"TW000 ok"}, nil},
	{"namespaces gone", func() Facts {
		f := traced()
		f.Traffic.NetnsExits, f.Traffic.NetnsGone = 900, 3
		return f
	}, []string{"TW304 info", "TW000 ok"}, []string{"900 TIME_WAIT sockets", "3 network namespaces"}},
	{"a little lost", func() Facts {
		f := traced().owned(client(churning(50000)))
		f.Traffic.Lost, f.Traffic.OwnersIn, f.Traffic.Missing = 3, 52*time.Second, []string{"accepters"}
		return f
	}, []string{"TW900 info", "TW000 ok"}, []string{"3 events lost", "all owners are known in 52s", "does not let it see: accepters"}},
	{"much lost", func() Facts {
		f := traced().owned(client(churning(50)))
		f.Traffic.Lost = 3
		return f
	}, []string{"TW900 warn"}, []string{"3 events lost"}},
	{"ports full of sockets from before the trace", func() Facts {
		d := storming(27900, 0)
		d.Owner, d.Gauge.Severity = event.Proc{}, event.Warn
		f := traced().with(d)
		f.Traffic.OwnersIn = 30 * time.Second
		return f
	}, []string{"TW101 warn", "TW900 warn"}, []string{"they were there before the trace"}},
}

func TestDiagnoseTraced(t *testing.T) {
	for _, tt := range traces {
		t.Run(tt.name, func(t *testing.T) {
			got := Diagnose(tt.facts())
			if !slices.Equal(ids(got), tt.want) {
				t.Fatalf("found %v, want %v", ids(got), tt.want)
			}
			checkWords(t, got)
			x := got[0]
			all := strings.Join([]string{x.What, x.Who, x.When, x.Why}, "\n")
			for _, words := range tt.words {
				if !strings.Contains(all, words) {
					t.Errorf("%s does not say %q:\n%s", x.ID, words, all)
				}
			}
		})
	}
}

// TestTrafficRulesSpeak: a rule that no made-up facts make speak is not tested.
func TestTrafficRulesSpeak(t *testing.T) {
	spoken := make(map[string]bool)
	for _, tt := range traces {
		for _, x := range Diagnose(tt.facts()) {
			spoken[x.ID] = true
		}
	}
	for _, id := range []string{"TW000", "TW101", "TW102", "TW103", "TW104", "TW105", "TW106", "TW201", "TW202", "TW203",
		"TW204", "TW205", "TW206", "TW207", "TW210", "TW304", "TW900"} {
		if !spoken[id] {
			t.Errorf("%s is found in none of the tests", id)
		}
	}
}
