package advice

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/twtrace/twtrace/internal/event"
)

// Three programs of one host, each in a network namespace of its own.
var (
	caller  = event.Proc{PID: 31, Comm: "caller"}
	proxy   = event.Proc{PID: 32, Comm: "proxy"}
	backend = event.Proc{PID: 33, Comm: "backend"}

	proxyEnd   = netip.MustParseAddrPort("10.77.0.2:80")
	backendEnd = netip.MustParseAddrPort("10.78.0.2:9000")
)

const callerSpace, proxySpace, backendSpace = 101, 102, 103

// space is what a trace saw of a namespace.
func space(inum uint32, list ...Lingering) Facts {
	f := traced()
	f.NetNS.Inum = inum
	f.Traffic.Lingering = list
	return f
}

// stuck is connections of a process: to a remote end if client, else on its own.
func stuck(p event.Proc, s event.State, end netip.AddrPort, client bool, n int, peers ...Peer) Lingering {
	l := Lingering{State: s, Process: p, PIDs: 1, Local: end, N: n, Grown: n, Peers: peers}
	if client {
		l.Local, l.Remote = netip.AddrPortFrom(netip.MustParseAddr(here), 0), end
	}
	return l
}

// told is the findings as a tree: each with what is under it in brackets.
func told(all []Finding) string {
	var out []string
	for _, x := range all {
		s := fmt.Sprintf("%s %s %s", x.ID, x.Severity, x.Scope.Comm)
		var under []string
		for _, u := range x.Under {
			under = append(under, u.ID+" "+u.Scope.Comm)
		}
		if under != nil {
			s += " (" + strings.Join(under, ", ") + ")"
		}
		out = append(out, s)
	}
	return strings.Join(out, "; ")
}

// full is a destination all of whose ports are held by sockets in a state.
func full(state event.State, to netip.AddrPort, owner event.Proc) Destination {
	d := live(state, 28232)
	d.Remote, d.Failed = to, 70
	d.Holders = *one(Contributor{Process: owner, PIDs: 1, N: uint64(d.States.All())})
	d.Failers = *one(Contributor{Process: owner, PIDs: 1, N: d.Failed})
	return d
}

var chains = []struct {
	name  string
	facts func() []Facts
	want  string
	says  []string // in the first finding
}{
	{"no pool, and the ports run out", func() []Facts { return []Facts{traced().with(storming(20000, 6000))} },
		"TW101 crit checkout (TW201 checkout)", nil},
	{"a pool is missing, and nothing is short", func() []Facts { return []Facts{traced().with(storming(1200, 200))} },
		"TW201 info checkout; TW000 ok ", nil},
	{"a server that does not close", func() []Facts {
		return []Facts{
			space(callerSpace, stuck(caller, event.FinWait2, backendEnd, true, 340, Peer{backend, backendSpace, event.CloseWait, 340})),
			space(backendSpace, stuck(backend, event.CloseWait, backendEnd, false, 371, Peer{caller, callerSpace, event.FinWait2, 340})),
		}
	}, "TW207 warn backend (TW207 caller)", []string{"backend[33] has 371 connections on 10.78.0.2:9000", "caller[31] waits for it at the other end of 340"}},
	{"a server that does not close, and its client runs out of ports", func() []Facts {
		f := space(callerSpace, stuck(caller, event.FinWait2, backendEnd, true, 28000, Peer{backend, backendSpace, event.CloseWait, 28000}))
		return []Facts{f.with(full(event.FinWait2, backendEnd, caller)),
			space(backendSpace, stuck(backend, event.CloseWait, backendEnd, false, 28000, Peer{caller, callerSpace, event.FinWait2, 28000}))}
	}, "TW207 crit backend (TW207 caller, TW106 caller)", []string{"ip_local_port_range"}},
	{"a client that does not close, and runs out of ports", func() []Facts {
		f := space(callerSpace, stuck(caller, event.CloseWait, backendEnd, true, 28000, Peer{backend, backendSpace, event.FinWait2, 120}))
		return []Facts{f.with(full(event.CloseWait, backendEnd, caller)),
			space(backendSpace, stuck(backend, event.FinWait2, backendEnd, false, 120, Peer{caller, callerSpace, event.CloseWait, 120}))}
	}, "TW207 crit caller (TW106 caller, TW207 backend)", []string{"this process has not"}},
	{"a proxy passes the close on to a server that does nothing", func() []Facts {
		return []Facts{
			space(callerSpace, stuck(caller, event.FinWait2, proxyEnd, true, 60, Peer{proxy, proxySpace, event.CloseWait, 60})),
			space(proxySpace, stuck(proxy, event.CloseWait, proxyEnd, false, 60, Peer{caller, callerSpace, event.FinWait2, 60}),
				stuck(proxy, event.FinWait2, backendEnd, true, 60, Peer{backend, backendSpace, event.CloseWait, 60})),
			space(backendSpace, stuck(backend, event.CloseWait, backendEnd, false, 60, Peer{proxy, proxySpace, event.FinWait2, 60})),
		}
	}, "TW207 warn backend (TW207 proxy, TW207 proxy, TW207 caller)", []string{"proxy[32] waits for it"}},
	{"the server behind the proxy is on another host", func() []Facts {
		return []Facts{space(proxySpace, stuck(proxy, event.CloseWait, proxyEnd, false, 60),
			stuck(proxy, event.FinWait2, backendEnd, true, 60))}
	}, "TW207 warn proxy (TW207 proxy)", []string{"to 10.78.0.2:9000 stuck in FIN_WAIT2"}},
	{"a proxy that leaks one side only", func() []Facts {
		return []Facts{space(proxySpace, stuck(proxy, event.CloseWait, proxyEnd, false, 60),
			stuck(proxy, event.FinWait2, backendEnd, true, 12))}
	}, "TW207 warn proxy; TW207 warn proxy", []string{"it leaks sockets"}},
	{"two leaks that have nothing to do with each other", func() []Facts {
		return []Facts{space(callerSpace, stuck(caller, event.FinWait2, backendEnd, true, 40)),
			space(backendSpace, stuck(backend, event.CloseWait, proxyEnd, false, 40))}
	}, "TW207 warn caller; TW207 warn backend", nil},
	{"each waits for the other", func() []Facts {
		return []Facts{space(proxySpace,
			stuck(proxy, event.CloseWait, proxyEnd, false, 60), stuck(proxy, event.FinWait2, backendEnd, true, 60, Peer{backend, proxySpace, event.CloseWait, 60}),
			stuck(backend, event.CloseWait, backendEnd, false, 60), stuck(backend, event.FinWait2, proxyEnd, true, 60, Peer{proxy, proxySpace, event.CloseWait, 60}))}
	}, "TW207 warn proxy; TW207 warn proxy; TW207 warn backend; TW207 warn backend", nil},
	{"a queue overflows, and its clients get no answer", func() []Facts {
		f := queued(Queue{Drops: 105, Waiting: 3, Backlog: 128}, 5)
		f.HostAfter.Addrs = []netip.Addr{proxyEnd.Addr()}
		return []Facts{silent(netip.AddrPortFrom(proxyEnd.Addr(), 8080)), f}
	}, "TW211 warn  (TW210 caller); TW900 info ", nil},
	{"a queue overflows, and connects to another host get no answer", func() []Facts {
		return []Facts{silent(netip.AddrPortFrom(proxyEnd.Addr(), 8080)), queued(Queue{Drops: 105, Waiting: 3, Backlog: 128}, 5)}
	}, "TW210 warn caller; TW211 warn ; TW900 info ", nil},
	{"a queue overflows, and connects are refused", func() []Facts {
		f := queued(Queue{Drops: 105, Waiting: 3, Backlog: 128}, 5)
		f.HostAfter.Addrs = []netip.Addr{proxyEnd.Addr()}
		o := silent(netip.AddrPortFrom(proxyEnd.Addr(), 8080))
		o.Traffic.Fails[0].Errno = uint16(unix.ECONNREFUSED)
		return []Facts{o, f}
	}, "TW210 warn caller; TW211 warn ; TW900 info ", nil},
}

// silent is a namespace whose connects to one address get no answer.
func silent(to netip.AddrPort) Facts {
	f := space(callerSpace)
	f.Traffic.Fails = []Fail{{Process: caller, Call: event.Connect, Errno: uint16(unix.ETIMEDOUT), Remote: to, N: 90, Opens: 10}}
	return f
}

func TestChain(t *testing.T) {
	for _, tt := range chains {
		t.Run(tt.name, func(t *testing.T) {
			got := Diagnose(tt.facts()...)
			if told(got) != tt.want {
				t.Fatalf("%s\nwant %s", told(got), tt.want)
			}
			checkWords(t, got)
			x := got[0]
			words := strings.Join([]string{x.What, string(x.Who), x.When, x.Why}, "\n")
			for _, r := range slices.Concat(x.Now, x.Fix) {
				words += "\n" + r.Text + "\n" + r.Command()
			}
			if !containsAll(words, tt.says) {
				t.Errorf("it does not say all of %q:\n%s", tt.says, words)
			}
		})
	}
}

// TestNothingIsAdvisedTwice: what is under a finding advises nothing that this does.
func TestNothingIsAdvisedTwice(t *testing.T) {
	for _, tt := range chains {
		for _, x := range Diagnose(tt.facts()...) {
			for _, u := range x.Under {
				if len(u.Under) > 0 || u.Severity > x.Severity {
					t.Errorf("%s: %s is under %s: %+v", tt.name, u.ID, x.ID, u)
				}
				for _, r := range slices.Concat(u.Now, u.Fix) {
					if slices.ContainsFunc(slices.Concat(x.Now, x.Fix), func(o Remedy) bool { return o.Text == r.Text }) {
						t.Errorf("%s: %s and %s advise %s", tt.name, x.ID, u.ID, r.Text)
					}
				}
			}
		}
	}
}
