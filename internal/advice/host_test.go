package advice

import (
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twtrace/twtrace/internal/event"
	"github.com/twtrace/twtrace/internal/kernel"
)

// hostile are namespaces where one thing is wrong with the host, its peers or its
// settings, and what is found.
var hostile = []struct {
	name  string
	facts func() Facts
	want  []string // beside TW900 and TW000
	words []string // that the first one says somewhere
}{
	{"a listener that dropped just now", func() Facts {
		return queued(Queue{Drops: 105, Waiting: 3, Backlog: 128}, 5)
	}, []string{"TW211 warn"}, []string{"0.0.0.0:8080", "100 dropped in 10s", "somaxconn"}},
	{"one whose queue is full", func() Facts {
		return queued(Queue{Waiting: 129, Backlog: 128}, 0)
	}, []string{"TW211 warn"}, []string{"129 wait", "full"}},
	{"one with as many as its backlog", func() Facts {
		return queued(Queue{Waiting: 128, Backlog: 128}, 0)
	}, nil, nil},
	{"one that dropped long ago", func() Facts {
		return queued(Queue{Drops: 5, Backlog: 128}, 5)
	}, []string{"TW211 info"}, []string{"not now"}},
	{"one that asked for little", func() Facts {
		return queued(Queue{Drops: 105, Backlog: 16}, 5)
	}, []string{"TW211 warn"}, []string{"asked for 16", "allows 128"}},
	{"one that dropped what no queue had to do with", func() Facts {
		f := queued(Queue{Drops: 105, Backlog: 128}, 5)
		f.Before.ListenDrops, f.After.ListenDrops = 0, 0
		return f
	}, nil, nil},
	{"one that is gone", func() Facts {
		f := watched()
		f.After.ListenOverflows = 7
		return f
	}, []string{"TW211 warn"}, []string{"7 times"}},

	{"conntrack at 40 %", func() Facts { return tracked(40000, 0, nil) }, nil, nil},
	{"at 60 % and steady", func() Facts { return tracked(60000, 0, nil) }, nil, nil},
	{"at 60 % and rising", func() Facts { return tracked(60000, 1000, nil) }, []string{"TW301 warn"}, []string{"60,000 of 100,000"}},
	{"at 60 % and rising fast", func() Facts { return tracked(60000, 10000, nil) }, []string{"TW301 crit"}, []string{"full in about 40s"}},
	{"at 85 %, of TIME_WAIT", func() Facts { return tracked(85000, 0, map[string]uint64{"TIME_WAIT": 80000, "ESTABLISHED": 5000}) },
		[]string{"TW301 warn"}, []string{"94%", "in TIME_WAIT", "timeout_time_wait=30"}},
	{"at 85 %, of ESTABLISHED", func() Facts { return tracked(85000, 0, map[string]uint64{"TIME_WAIT": 5000, "ESTABLISHED": 80000}) },
		[]string{"TW301 warn"}, []string{"in ESTABLISHED", "5 days", "timeout_established=86400"}},
	{"full", func() Facts { return tracked(100000, 0, nil) }, []string{"TW301 crit"}, nil},
	{"that drops", func() Facts {
		f := tracked(90000, 0, nil)
		f.Around.Conntrack.Drop = 12
		return f
	}, []string{"TW301 crit"}, []string{"12 packets dropped in 10s"}},
	{"that dropped once", func() Facts {
		f := tracked(100, 0, nil)
		f.Around.Conntrack.Drop, f.Earlier.Conntrack.Drop = 12, 12
		return f
	}, []string{"TW301 info"}, []string{"not now; 12"}},
	{"that cannot make entries", func() Facts {
		f := tracked(100, 0, nil)
		f.Around.Conntrack.InsertFailed = 50
		return f
	}, []string{"TW301 warn"}, []string{"50 entries"}},

	{"a load test against the host's own address", func() Facts {
		f := healthy().with(destination(here, here+":80", 20000))
		f.Around.Addrs = []netip.Addr{netip.MustParseAddr(here)}
		return f
	}, []string{"TW302 info"}, []string{"127.0.0.1 or ::1", "other addresses"}},
	{"another host with that many", func() Facts {
		f := healthy().with(destination(here, "10.0.0.8:80", 20000))
		f.Around.Addrs = []netip.Addr{netip.MustParseAddr(here)}
		return f
	}, nil, nil},
	{"a load test on loopback, faster than the delay", func() Facts {
		return healthy().with(destination("127.0.0.1", "127.0.0.1:80", 20000))
	}, []string{"TW302 info"}, []string{"1000 ms", "28,232 ports bear about 28,232/s"}},
	{"a load test on loopback without reuse", func() Facts {
		f := healthy().with(destination("127.0.0.1", "127.0.0.1:80", 20000))
		f.Limits.TWReuse = 0
		return f
	}, []string{"TW302 info"}, []string{"tcp_tw_reuse is 0"}},

	{"tcp_fin_timeout lowered", func() Facts { f := healthy(); f.Limits.FinTimeout = 15 * time.Second; return f },
		[]string{"TW303 info"}, []string{"no effect on TIME_WAIT", "tcp_fin_timeout=60", "tcp_fin_timeout=15"}},
	{"tcp_fin_timeout raised", func() Facts { f := healthy(); f.Limits.FinTimeout = 2 * time.Minute; return f }, nil, nil},
	{"tcp_tw_recycle", func() Facts { f := healthy(); f.Around.Settings.TWRecycle = 1; return f },
		[]string{"TW303 warn"}, []string{"behind NAT", "tcp_tw_recycle=0"}},
	{"buckets lowered, and not missed", func() Facts { f := healthy(); f.Around.Settings.DefaultTWBuckets = 262144; return f },
		[]string{"TW303 info"}, []string{"131,072", "262,144 by default", "tcp_max_tw_buckets=262144"}},
	{"buckets as they are by default", func() Facts { f := healthy(); f.Around.Settings.DefaultTWBuckets = 131072; return f }, nil, nil},
	{"buckets lowered, and missed", func() Facts {
		f := healthy()
		f.Limits.MaxTWBuckets, f.Around.Settings.DefaultTWBuckets = 5000, 131072
		f.Before.TWOverflow, f.After.TWOverflow = 9, 9
		return f
	}, []string{"TW303 warn", "TW205 info"}, []string{"it bites", "9 were refused"}},
	{"reuse without timestamps", func() Facts { f := healthy(); f.Limits.TWReuse, f.Limits.Timestamps = 1, 0; return f },
		[]string{"TW303 info"}, []string{"tcp_timestamps=1"}},
	{"timestamps off, and no reuse asked for", func() Facts { f := healthy(); f.Limits.Timestamps = 0; return f }, nil, nil},
	{"reuse without timestamps, and ports run out", func() Facts {
		f := healthy().with(destination(here, there, 27900))
		f.Limits.TWReuse, f.Limits.Timestamps = 1, 0
		return f
	}, []string{"TW101 crit", "TW303 warn"}, nil},
	{"listeners inside the range", func() Facts {
		f := healthy()
		for _, at := range []string{"0.0.0.0:33060", "[::]:33060", "0.0.0.0:22", "127.0.0.1:50000"} {
			f.Around.Queues = append(f.Around.Queues, Queue{Local: netip.MustParseAddrPort(at)})
		}
		f.Limits.ReservedPorts, f.Limits.Reserved = "40000", 1
		return f
	}, []string{"TW303 info"}, []string{"33060,50000", "ip_local_reserved_ports=40000,33060,50000"}},
	{"one that is reserved", func() Facts {
		f := healthy()
		f.Around.Queues = []Queue{{Local: netip.MustParseAddrPort("0.0.0.0:33060")}}
		f.Limits.ReservedPorts, f.Limits.Reserved = "33060", 1
		return f
	}, nil, nil},

	{"TIME_WAIT that stays", func() Facts {
		f := watched().with(destination(here, there, 100))
		f.Destinations[0].Flow = Flow{TimeWaitEnds: 40, LongWaits: 5, Rearms: 11}
		return f
	}, []string{"TW208 info"}, []string{there, "5 sockets", "of 40", "2.2 times"}},
	{"a few that stay", func() Facts {
		f := watched().with(destination(here, there, 100))
		f.Destinations[0].Flow = Flow{TimeWaitEnds: 40, LongWaits: 2, Rearms: 2}
		return f
	}, nil, nil},
	{"a server's that stay", func() Facts { return served(Flow{TimeWaitEnds: 40, LongWaits: 5, Rearms: 5}) },
		[]string{"TW208 info"}, []string{"clients of the server on 0.0.0.0:443"}},

	{"SYNs answered by ACK", func() Facts { return served(Flow{TimeWaitEnds: 100, TimeWaitResets: 20}) },
		[]string{"TW209 warn"}, []string{"20 of 100", "0.0.0.0:443", "NAT"}},
	{"a few RSTs on loopback", func() Facts { return served(Flow{TimeWaitEnds: 10000, TimeWaitResets: 20}) }, nil, nil},
	{"old timestamps", func() Facts { f := watched(); f.After.PAWSTimewait = 30; return f },
		[]string{"TW209 warn"}, []string{"30 segments"}},
	{"old timestamps before", func() Facts {
		f := watched()
		f.Before.PAWSTimewait, f.After.PAWSTimewait = 30, 30
		return f
	}, nil, nil},

	{"a NAT without ports", func() Facts { return unanswered(here, "198.51.100.7:443", 40, 200) },
		[]string{"TW305 warn"}, []string{"40 connects", "198.51.100.7:443", "beside 200", "NAT"}},
	{"a destination that is down", func() Facts { return unanswered(here, "198.51.100.7:443", 40, 0) }, nil, nil},
	{"one in the same network", func() Facts { return unanswered(here, "10.9.9.9:443", 40, 200) }, nil, nil},
	{"a host with an address of its own", func() Facts { return unanswered("203.0.113.5", "198.51.100.7:443", 40, 200) }, nil, nil},
	{"a SYN lost now and then", func() Facts { return unanswered(here, "198.51.100.7:443", 4, 200) }, nil, nil},
	{"few of very many", func() Facts { return unanswered(here, "198.51.100.7:443", 10, 5000) }, nil, nil},
	{"connects that timed out", func() Facts {
		f := unanswered(here, "198.51.100.7:443", 0, 200)
		f.Traffic.Fails = []Fail{
			{Call: event.Connect, Errno: etimedout, Remote: netip.MustParseAddrPort("198.51.100.7:443"), N: 30, Opens: 200},
			{Call: event.Connect, Errno: etimedout, Remote: netip.MustParseAddrPort("198.51.100.7:80"), N: 7, Opens: 3000},
		}
		return f
	}, []string{"TW305 warn"}, []string{"30 connects"}},
}

// watched is healthy, looked at twice.
func watched() Facts {
	f := healthy()
	f.Window = 10 * time.Second
	return f
}

// queued has one listener, that had dropped so many before the window.
func queued(q Queue, before uint32) Facts {
	f := watched()
	q.Local, q.Cookie = netip.MustParseAddrPort("0.0.0.0:8080"), 5
	was := q
	was.Drops = before
	f.Earlier.Queues, f.Around.Queues = []Queue{was}, []Queue{q}
	f.Before.ListenDrops, f.After.ListenDrops = uint64(was.Drops), uint64(q.Drops)
	f.Around.Settings.Somaxconn = 128
	return f
}

// tracked has so many entries of 100,000, grown by so many in the window.
func tracked(count, growth uint64, states map[string]uint64) Facts {
	f := watched()
	c := kernel.Conntrack{Count: count, Max: 100000, MaxIsHere: true, TimeWait: 2 * time.Minute, Established: 5 * 24 * time.Hour}
	was := c
	was.Count -= growth
	f.Earlier.Conntrack, f.Around.Conntrack, f.Around.Tracked = &was, &c, states
	return f
}

// served has a server that a trace has seen.
func served(flow Flow) Facts {
	f := watched()
	f.Traced = true
	f.Listeners = []Listener{{Local: netip.MustParseAddrPort("0.0.0.0:443"), Owner: event.Proc{PID: 99, Comm: "nginx"}, Flow: flow}}
	return f
}

// unanswered has connects that get no answer, and some that do.
func unanswered(local, remote string, resent uint32, established uint32) Facts {
	d := destination(local, remote, 0)
	d.States.Full[event.SynSent], d.Resent = resent, resent
	d.States.Full[event.Established] = established
	return watched().with(d)
}

func TestHostRules(t *testing.T) {
	for _, tt := range hostile {
		t.Run(tt.name, func(t *testing.T) {
			all := Diagnose(tt.facts())
			checkWords(t, all)
			var got []string
			for _, id := range ids(all) {
				if !strings.HasPrefix(id, "TW900") && !strings.HasPrefix(id, "TW000") {
					got = append(got, id)
				}
			}
			if !slices.Equal(got, tt.want) {
				t.Fatalf("found %v, want %v", got, tt.want)
			}
			if len(tt.words) == 0 {
				return
			}
			says := fmt.Sprintf("%+v", all[0])
			for _, w := range tt.words {
				if !strings.Contains(says, w) {
					t.Errorf("it does not say %q: %s", w, says)
				}
			}
			for _, e := range all[0].Evidence {
				if e.Name == "" || e.Source == "" {
					t.Errorf("evidence lacks something: %+v", e)
				}
			}
		})
	}
}

// TestConntrackLimitIsTheHosts: where the namespace can only read it, the command goes
// to the initial one.
func TestConntrackLimitIsTheHosts(t *testing.T) {
	f := tracked(90000, 0, nil)
	f.Enter = "ip netns exec web "
	if got := find(t, Diagnose(f), "TW301").Now[0]; !strings.HasPrefix(got.Command, "ip netns exec web sysctl -w net.netfilter.nf_conntrack_max=200000") {
		t.Errorf("where it can be set: %s", got.Command)
	}
	f.Around.Conntrack.MaxIsHere = false
	if got := find(t, Diagnose(f), "TW301").Now[0]; got.Command != "" || !strings.Contains(got.Text, "whole host") {
		t.Errorf("where the initial namespace is not known: %+v", got)
	}
	f.Around.Host, f.Around.HostKnown = "nsenter --net=/proc/1/ns/net ", true
	got := find(t, Diagnose(f), "TW301").Now[0]
	if got.Command != "nsenter --net=/proc/1/ns/net sysctl -w net.netfilter.nf_conntrack_max=200000" ||
		got.Undo != "nsenter --net=/proc/1/ns/net sysctl -w net.netfilter.nf_conntrack_max=100000" {
		t.Errorf("%s, undo %s", got.Command, got.Undo)
	}
	f.MemAvailable = 1 << 20
	if got := find(t, Diagnose(f), "TW301").Now[0]; got.Command != "" || !strings.Contains(got.Text, "not the memory") {
		t.Errorf("without memory: %+v", got)
	}
}

// restored is a setting that TW303 puts back to what harms nobody.
var restored = regexp.MustCompile(`tcp_fin_timeout=60\b|tcp_tw_recycle=0\b`)
