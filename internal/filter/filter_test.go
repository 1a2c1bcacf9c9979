package filter

import (
	"net/netip"
	"testing"

	"github.com/twtrace/twtrace/internal/event"
)

func ports(s string) Set[Ports] { return must(ParsePorts(s)) }

func addrs(s string) Set[netip.Prefix] { return must(ParsePrefixes(s)) }

func comms(s string) Set[Glob] { return must(ParseComms(s)) }

func pids(s string) Set[uint32] { return must(ParsePIDs(s)) }

func enum[T event.Enum](s string) Set[T] { return must(ParseEnum[T](s)) }

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// sample is a record in which everything is known.
func sample() event.Event {
	return event.Event{
		Kind: event.TimeWaitEnter, Reason: event.ActiveClose, Role: event.Client, Closer: event.LocalSide,
		NetNS: 4026531840,
		Local: netip.MustParseAddrPort("10.0.0.7:48213"), Remote: netip.MustParseAddrPort("10.2.0.9:5432"),
		Process: event.Proc{PID: 1, Comm: "owner"}, Opener: event.Proc{PID: 2, Comm: "opener"},
		Accepter: event.Proc{PID: 3, Comm: "accepter"}, CloseProc: event.Proc{PID: 4, Comm: "closer"},
	}
}

func TestMatch(t *testing.T) {
	v6 := func(e *event.Event) {
		e.Local, e.Remote = netip.MustParseAddrPort("[2001:db8::7]:48213"), netip.MustParseAddrPort("[2001:db8::9]:5432")
	}
	mapped := func(e *event.Event) {
		e.Local, e.Remote = netip.MustParseAddrPort("[::ffff:10.0.0.7]:1"), netip.MustParseAddrPort("[::ffff:10.2.0.9]:2")
	}
	zoned := func(e *event.Event) { e.Remote = netip.MustParseAddrPort("[fe80::9%lo]:5432") }
	blank := func(e *event.Event) { *e = event.Event{Kind: event.Fail} }
	asis := func(*event.Event) {}
	for _, tt := range []struct {
		name   string
		filter Filter
		change func(*event.Event)
		want   bool
	}{
		{"empty", Filter{}, asis, true},
		{"empty, nothing known", Filter{}, blank, true},
		{"pid of the owner", Filter{PIDs: pids("1")}, asis, true},
		{"pid of the opener", Filter{PIDs: pids("9,2")}, asis, true},
		{"pid of the accepter", Filter{PIDs: pids("3")}, asis, true},
		{"pid of the closer", Filter{PIDs: pids("4")}, asis, true},
		{"another pid", Filter{PIDs: pids("5")}, asis, false},
		{"not the closer's pid", Filter{PIDs: pids("!4")}, asis, false},
		{"not another pid", Filter{PIDs: pids("!5")}, asis, true},
		{"pid, nothing known", Filter{PIDs: pids("5")}, blank, false},
		{"not pid, nothing known", Filter{PIDs: pids("!5")}, blank, true},
		{"comm of the owner", Filter{Comms: comms("own*")}, asis, true},
		{"comm of the closer", Filter{Comms: comms("closer")}, asis, true},
		{"comm, nothing known", Filter{Comms: comms("*")}, blank, false},
		{"not comm", Filter{Comms: comms("!acc*")}, asis, false},
		{"lport", Filter{LPorts: ports("48000-49000")}, asis, true},
		{"lport is not rport", Filter{LPorts: ports("5432")}, asis, false},
		{"rport", Filter{RPorts: ports("80,5432")}, asis, true},
		{"not rport", Filter{RPorts: ports("!5000-6000")}, asis, false},
		{"rport, nothing known", Filter{RPorts: ports("1-65535")}, blank, false},
		{"not rport, nothing known", Filter{RPorts: ports("!1-65535")}, blank, true},
		{"laddr", Filter{LAddrs: addrs("10.0.0.0/24")}, asis, true},
		{"raddr", Filter{RAddrs: addrs("10.0.0.0/24")}, asis, false},
		{"raddr of two", Filter{RAddrs: addrs("::1,10.2.0.9")}, asis, true},
		{"not raddr", Filter{RAddrs: addrs("!10.2.0.9")}, asis, false},
		{"raddr v6", Filter{RAddrs: addrs("2001:db8::/32")}, v6, true},
		{"v6 prefix, v4 address", Filter{RAddrs: addrs("::/0")}, asis, false},
		{"v4 prefix, mapped address", Filter{RAddrs: addrs("10.2.0.9")}, mapped, true},
		{"mapped prefix, v4 address", Filter{RAddrs: addrs("::ffff:10.2.0.9")}, asis, true},
		{"link-local with its zone", Filter{RAddrs: addrs("fe80::/10")}, zoned, true},
		{"-4", Filter{Family: 4}, asis, true},
		{"-4, mapped", Filter{Family: 4}, mapped, true},
		{"-4, v6", Filter{Family: 4}, v6, false},
		{"-6", Filter{Family: 6}, v6, true},
		{"-6, mapped", Filter{Family: 6}, mapped, false},
		{"netns", Filter{NetNS: Set[uint32]{Items: []uint32{7, 4026531840}}}, asis, true},
		{"other netns", Filter{NetNS: Set[uint32]{Items: []uint32{7}}}, asis, false},
		{"role", Filter{Roles: enum[event.Role]("server")}, asis, false},
		{"not role", Filter{Roles: enum[event.Role]("!server")}, asis, true},
		{"not role, unknown", Filter{Roles: enum[event.Role]("!server")}, blank, true},
		{"closer", Filter{Closers: enum[event.Side]("local")}, asis, true},
		{"closer, unknown", Filter{Closers: enum[event.Side]("local,remote,both")}, blank, false},
		{"event", Filter{Events: enum[event.Kind]("open,time_wait_enter")}, asis, true},
		{"other event", Filter{Events: enum[event.Kind]("open")}, asis, false},
		{"reason", Filter{Reasons: enum[event.Reason]("late_fin")}, asis, false},
		{"all parts", Filter{PIDs: pids("1"), RPorts: ports("5432"), Family: 4}, asis, true},
		{"one part of three fails", Filter{PIDs: pids("1"), RPorts: ports("5432"), Family: 6}, asis, false},
	} {
		e := sample()
		tt.change(&e)
		if got := tt.filter.Match(&e); got != tt.want {
			t.Errorf("%s: Match = %v, want %v", tt.name, got, tt.want)
		}
	}
}

// TestTheTraceItself checks that no filter hides start, lost and end.
func TestTheTraceItself(t *testing.T) {
	f := Filter{PIDs: pids("9"), Events: enum[event.Kind]("open"), Reasons: enum[event.Reason]("expired"), Family: 6,
		NetNS: Set[uint32]{Items: []uint32{1}}}
	for k := event.Start; k <= event.Listen; k++ {
		want := k == event.Start || k == event.Lost || k == event.End
		if got := f.Match(&event.Event{Kind: k}); got != want {
			t.Errorf("%s: Match = %v, want %v", k, got, want)
		}
	}
	if !(*Filter)(nil).Match(&event.Event{Kind: event.Open}) {
		t.Error("a nil filter hides")
	}
}

func TestString(t *testing.T) {
	f := Filter{
		PIDs: pids("4242,1"), Comms: comms("!ssh*,b"), LPorts: ports("80"), RPorts: ports("3306,8000-8099"),
		LAddrs: addrs("10.0.0.1"), RAddrs: addrs("!10.0.0.0/8,::1"), Family: 4,
		NetNS: Set[uint32]{Items: []uint32{4026531840}}, Roles: enum[event.Role]("client"),
		Closers: enum[event.Side]("!remote"), Events: enum[event.Kind]("open"), Reasons: enum[event.Reason]("expired,syn"),
	}
	want := "pid 4242 or 1, not comm ssh* or b, local port 80, remote port 3306 or 8000-8099, local address 10.0.0.1, " +
		"not remote address 10.0.0.0/8 or ::1, IPv4, netns 4026531840, role client, not closed by remote, event open, reason expired or syn"
	if got := f.String(); got != want {
		t.Errorf("String() = %q\nwant       %q", got, want)
	}
	if s := (&Filter{}).String() + (*Filter)(nil).String(); s != "" {
		t.Errorf("the empty filter is %q", s)
	}
}

func TestMatchAllocs(t *testing.T) {
	e := sample()
	f := fullFilter()
	if !f.Match(&e) {
		t.Fatal("the filter does not match, so not all of it ran")
	}
	if n := testing.AllocsPerRun(100, func() { f.Match(&e) }); n != 0 {
		t.Errorf("Match allocates %v times", n)
	}
}

func fullFilter() *Filter {
	return &Filter{
		PIDs: pids("4"), Comms: comms("x*,*ner"), LPorts: ports("1-10,48213"), RPorts: ports("!80"),
		LAddrs: addrs("::1,10.0.0.0/8"), RAddrs: addrs("!10.3.0.0/16"), Family: 4,
		NetNS: Set[uint32]{Items: []uint32{4026531840}}, Roles: enum[event.Role]("client"),
		Closers: enum[event.Side]("!remote"), Events: enum[event.Kind]("time_wait_enter"),
		Reasons: enum[event.Reason]("active_close"),
	}
}

func BenchmarkMatch(b *testing.B) {
	e := sample()
	f := fullFilter()
	b.ReportAllocs()
	for b.Loop() {
		f.Match(&e)
	}
}
