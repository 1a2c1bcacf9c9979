package diagnose

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/twtrace/twtrace/internal/advice"
	"github.com/twtrace/twtrace/internal/conn"
	"github.com/twtrace/twtrace/internal/event"
	"github.com/twtrace/twtrace/internal/session"
)

// of are the facts of an owner.
func of(t *testing.T, f *advice.Facts, comm string) *advice.Owner {
	t.Helper()
	for i := range f.Traffic.Owners {
		if o := &f.Traffic.Owners[i]; o.Process.Comm == comm {
			return o
		}
	}
	t.Fatalf("no owner %s in %+v", comm, f.Traffic.Owners)
	return nil
}

// TestOwners: processes of one name, user and cgroup are one owner.
func TestOwners(t *testing.T) {
	b := newBench(t, 10000, Options{Whole: true})
	worker := func(pid, uid, ppid uint32, parent string) event.Proc {
		return event.Proc{PID: pid, Comm: "worker", Who: &event.Who{Start: uint64(pid), HasUID: true, UID: uid, PPID: ppid, PComm: parent}}
	}
	redis := netip.MustParseAddrPort("10.2.0.8:6379")
	b.open(worker(10, 33, 1, "cron"), postgres, 5)
	b.open(worker(11, 33, 2, "cron"), postgres, 9)
	b.open(worker(12, 33, 3, "init"), redis, 2)
	b.open(worker(20, 44, 1, "cron"), redis, 3) // another user's
	first := b.open(checkout, postgres, 30)
	b.end(checkout, postgres, first, 10, event.TimeWaitEnter, time.Millisecond)
	b.open(event.Proc{}, postgres, 50) // of nobody
	server := event.Event{Time: start.UnixNano(), Kind: event.Open, Cookie: 1 << 40, NetNS: testNetNS, Role: event.Server, Local: netip.MustParseAddrPort("10.0.0.7:80"), Remote: redis, Accepter: nginx}
	other := b.event(worker(13, 33, 1, "cron"), postgres, 2<<40, event.Open)
	other.NetNS = 8
	b.apply(server, other)
	f := b.facts()
	var got []string
	for _, o := range f.Traffic.Owners {
		got = append(got, fmt.Sprint(o.Process.Comm, " ", o.Process.PID, " ", o.PIDs, " opened ", o.Opens, " to ", o.Destinations, " ", o.Remote.IsValid(), " at ", o.Local.IsValid()))
	}
	want := []string{"checkout 4242 1 opened 30 to 1 true at false", "worker 11 3 opened 16 to 2 false at false",
		"worker 20 1 opened 3 to 1 true at false", "nginx 990 1 opened 1 to 0 false at true"}
	if !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	if w := f.Traffic.Owners[1].Process.Who; w.PPID != 0 || w.PComm != "" || w.UID != 33 {
		t.Errorf("they share %+v", w)
	}
	if o := of(t, f, "checkout"); o.TimeWait != 10 || o.Established != 20 || o.Role != event.Client || o.Short != 1 || o.System >= 0 {
		t.Errorf("%+v", o)
	}
	if b.host.system = map[uint32]time.Duration{1: 0}; b.host.asked != nil {
		t.Error("processes are asked about that nobody can ask about")
	}
}

// TestWithParent: what processes have in common of their parents.
func TestWithParent(t *testing.T) {
	child := func(ppid uint32, parent string) event.Proc {
		return event.Proc{PID: 7, Who: &event.Who{PPID: ppid, PComm: parent}}
	}
	for _, tt := range []struct {
		p, o, want event.Proc
	}{
		{child(1, "cron"), child(1, "cron"), child(1, "cron")},
		{child(1, "cron"), child(2, "cron"), child(0, "cron")},
		{child(1, "cron"), child(2, "init"), child(0, "")},
		{child(0, "cron"), child(2, "init"), child(0, "")}, // of a third one
		{child(0, "cron"), child(2, "cron"), child(0, "cron")},
		{child(1, "cron"), child(1, "init"), child(1, "")},
		{child(1, "cron"), event.Proc{PID: 9}, child(1, "cron")},
	} {
		before := *tt.p.Who
		if got := withParent(tt.p, tt.o); *got.Who != *tt.want.Who || *tt.p.Who != before {
			t.Errorf("%+v with %+v: %+v, want %+v", before, tt.o.Who, got.Who, tt.want.Who)
		}
	}
	if got := withParent(event.Proc{PID: 9}, child(1, "cron")); got.Who != nil {
		t.Errorf("%+v", got)
	}
}

// TestCrowd: many processes of one name that come and go, or stay.
func TestCrowd(t *testing.T) {
	for before, stays := range map[int]bool{10: true, 11: false, 100: false} { // of a hundred, none has a group of its own after
		b := newBench(t, 20000, Options{Whole: true, FromNow: true})
		b.host.Pids = map[uint32]bool{}
		swarm := func(from, n int) {
			for i := range n {
				p := event.Proc{PID: uint32(from + i), Comm: "curl"}
				b.host.Pids[p.PID] = stays
				b.open(p, postgres, 1)
			}
		}
		swarm(1000, before)
		b.facts()
		b.at = time.Second
		swarm(2000, 200)
		o := of(t, b.facts(), "curl")
		if o.PIDs < before+180 || o.PIDs > before+220 || o.Came < 160 || o.Came > 230 || o.Stays != stays || o.Opens != 200 {
			t.Errorf("%d processes opened %d, %d came, stay: %v, want %v", o.PIDs, o.Opens, o.Came, o.Stays, stays)
		}
		b.host.Pids = nil // nobody knows
		if o = of(t, b.facts(), "curl"); o.Stays {
			t.Error("they stay, and nobody knows")
		}
	}
}

// TestManyOwners: those that open most.
func TestManyOwners(t *testing.T) {
	b := newBench(t, 10000, Options{})
	for i := range 80 {
		b.open(event.Proc{PID: uint32(i + 1), Comm: fmt.Sprint("job", i)}, postgres, i+1)
	}
	f := b.facts()
	if len(f.Traffic.Owners) != maxOwners || f.Traffic.Owners[0].Opens != 80 || f.Traffic.Owners[maxOwners-1].Opens != 17 {
		t.Errorf("%d owners, from %d opens to %d", len(f.Traffic.Owners), f.Traffic.Owners[0].Opens, f.Traffic.Owners[len(f.Traffic.Owners)-1].Opens)
	}
}

// TestSystemTime: how much a process used in the kernel, of those that open most, since
// the mark.
func TestSystemTime(t *testing.T) {
	b := newBench(t, 20000, Options{Whole: true})
	b.host.Pids, b.host.system = map[uint32]bool{}, map[uint32]time.Duration{}
	for i := range uint32(10) {
		b.host.system[i+1] = time.Duration(i) * time.Second
		b.open(event.Proc{PID: i + 1, Comm: fmt.Sprint("job", i)}, postgres, 60+int(i)) // above manyOpened from the sixth on
	}
	b.at = time.Second
	b.facts()
	for pid := range b.host.system {
		b.host.system[pid] += 500 * time.Millisecond
	}
	b.at = 1500 * time.Millisecond
	if o := of(t, b.facts(), "job9"); o.System >= 0 {
		t.Errorf("%v CPUs, after too short a time", o.System)
	}
	b.at = 3 * time.Second
	f := b.facts()
	for i := range 10 {
		want := 0.25
		if i < 5 {
			want = -1
		}
		if got := of(t, f, fmt.Sprint("job", i)).System; got != want {
			t.Errorf("job%d used %v CPUs, want %v", i, got, want)
		}
	}
	b.host.system[10] = 0 // another process
	delete(b.host.system, 9)
	f = b.facts()
	if a, c := of(t, f, "job9").System, of(t, f, "job8").System; a >= 0 || c >= 0 {
		t.Errorf("%v and %v CPUs of processes that are gone", a, c)
	}
	// Of many, those that open most.
	for i := range uint32(10) {
		b.host.system[100+i] = 0
		b.open(event.Proc{PID: 100 + i, Comm: "more"}, postgres, 100+int(i))
	}
	b.facts()
	if got := slices.Sorted(maps.Keys(b.d.old.system)); !slices.Equal(got, []uint32{6, 7, 8, 9, 10, 107, 108, 109}) {
		t.Errorf("asked about %v", got)
	}
}

// TestFails: which calls failed, of whom, and how many went well beside them.
func TestFails(t *testing.T) {
	b := newBench(t, 10000, Options{Whole: true})
	b.open(checkout, postgres, 9)
	b.open(checkout, netip.MustParseAddrPort("10.2.0.8:5432"), 4)
	for range 3 {
		b.fail(checkout, event.Connect, uint16(unix.ECONNREFUSED), netip.AddrPortFrom(laddr, 0), postgres)
	}
	b.apply(event.Event{Time: start.UnixNano(), Kind: event.Fail, NetNS: testNetNS, Call: event.Connect, Errno: uint16(unix.ECONNREFUSED),
		Local: netip.AddrPortFrom(laddr, 0), Remote: postgres, Opener: checkout}) // of no role
	b.fail(checkout, event.Connect, uint16(unix.ECONNREFUSED), netip.AddrPortFrom(netip.MustParseAddr("10.0.0.8"), 0), postgres)
	b.fail(nginx, event.Accept, event.EMFILE, netip.MustParseAddrPort("10.2.0.9:80"), netip.AddrPort{})
	b.fail(nginx, event.Accept, event.EMFILE, netip.MustParseAddrPort("10.2.0.9:80"), netip.AddrPort{})
	b.fail(checkout, event.Socket, event.ENFILE, netip.AddrPort{}, netip.AddrPort{})
	f := b.facts()
	var got []string
	for _, x := range f.Traffic.Fails {
		got = append(got, fmt.Sprint(x.Process.Comm, " ", x.Call, " ", x.Errno, " ", x.N, " of ", x.Opens, " ", x.Remote.IsValid()))
	}
	want := []string{"checkout connect 111 5 of 13 true", "nginx accept 24 2 of 0 false", "checkout socket 23 1 of 0 false"}
	if !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	// Nobody can be asked, and who had no descriptor left is known all the same.
	if d := f.Traffic.Descriptors; len(d) != 2 || d[0].Process.PID != nginx.PID || d[0].Failed != 2 || d[0].Limit != 0 || d[1].Process.Known() || d[1].Failed != 1 {
		t.Errorf("%+v", d)
	}
	b = newBench(t, 10000, Options{FromNow: true, Whole: true})
	b.fail(checkout, event.Connect, uint16(unix.ECONNREFUSED), netip.AddrPortFrom(laddr, 0), postgres)
	b.open(checkout, postgres, 9)
	b.facts()
	b.fail(checkout, event.Connect, uint16(unix.ECONNREFUSED), netip.AddrPortFrom(laddr, 0), postgres)
	b.fail(checkout, event.Connect, uint16(unix.ETIMEDOUT), netip.AddrPortFrom(laddr, 0), postgres)
	if f = b.facts(); len(f.Traffic.Fails) != 2 || f.Traffic.Fails[0].N != 1 || f.Traffic.Fails[1].N != 1 {
		t.Errorf("%+v, and one was before", f.Traffic.Fails)
	}
}

// TestDescriptors: of those that had none left, and of those that hold many sockets.
func TestDescriptors(t *testing.T) {
	b := newBench(t, 10000, Options{})
	b.host.Pids = map[uint32]bool{}
	for i := range uint32(7) {
		b.open(event.Proc{PID: 100 + i, Comm: fmt.Sprint("pool", i)}, postgres, 13+int(i)) // manySockets from the fourth on
	}
	b.fail(nginx, event.Accept, event.EMFILE, netip.MustParseAddrPort("10.2.0.9:80"), netip.AddrPort{})
	b.fail(checkout, event.Socket, event.ENFILE, netip.AddrPort{}, netip.AddrPort{})
	b.fail(checkout, event.Socket, event.ENFILE, netip.AddrPort{}, netip.AddrPort{})
	var got []uint32
	for _, d := range b.facts().Traffic.Descriptors {
		got = append(got, d.Process.PID)
		used := uint64(d.Process.PID)
		if used == 0 {
			used = 900
		}
		if d.Limit != 1000 || d.Used != used {
			t.Errorf("%+v", d)
		}
	}
	if want := []uint32{0, 990, 106, 105, 104, 103}; !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}

// TestTakenPorts: who has the ports that a bind() did not get.
func TestTakenPorts(t *testing.T) {
	at := netip.MustParseAddrPort
	for _, tables := range []bool{false, true} {
		b := newBench(t, 1000, Options{Whole: true, FromNow: true, TablesOnly: tables})
		b.open(checkout, postgres, 9)
		listen := func(cookie uint64, p event.Proc, local netip.AddrPort) {
			b.apply(event.Event{Time: start.Add(b.at).UnixNano(), Kind: event.Listen, Cookie: cookie, NetNS: testNetNS, Local: local, Process: p})
		}
		carol := event.Proc{PID: 6, Comm: "carol"}
		listen(9<<40, carol, at("10.0.0.7:82"))
		b.at = time.Second
		b.all() // the window starts here
		listen(1<<40, nginx, at("0.0.0.0:80"))
		listen(2<<40, checkout, at("10.0.0.7:8081"))
		timeWait := func(p event.Proc, local netip.AddrPort, n int) {
			for i := range n {
				e := b.event(p, netip.AddrPortFrom(postgres.Addr(), uint16(6000+i)), uint64(3<<40+int(local.Port())*100+i)+uint64(p.PID)<<24, event.TimeWaitEnter)
				e.Local, e.Role = local, event.Server
				e.Remote = netip.AddrPortFrom(postgres.Addr(), uint16(6000+i))
				e.CloseProc, e.Opener = p, event.Proc{}
				b.apply(e)
			}
		}
		timeWait(nginx, at("10.0.0.7:9000"), 2)
		timeWait(event.Proc{PID: 5, Comm: "haproxy"}, at("10.0.0.7:9000"), 3)
		timeWait(event.Proc{}, at("10.0.0.7:9000"), 4)
		timeWait(nginx, at("10.0.0.8:9000"), 5)
		other := b.event(nginx, postgres, 8<<40, event.TimeWaitEnter)
		other.NetNS, other.Local = 8, at("10.0.0.7:9000")
		b.apply(other)
		b.at = 11 * time.Second
		for range 2 {
			b.fail(checkout, event.Bind, event.EADDRINUSE, at("10.0.0.7:80"), netip.AddrPort{})
		}
		bob := event.Proc{PID: 77, Comm: "bob"}
		b.fail(bob, event.Bind, event.EADDRINUSE, at("10.0.0.7:9000"), netip.AddrPort{})
		b.fail(carol, event.Bind, event.EADDRINUSE, at("10.0.0.7:9001"), netip.AddrPort{})
		client := b.event(bob, postgres, 5<<40, event.Open)
		client.Local = at("10.0.0.7:700") // it took another one, of its own choice
		b.apply(client)
		b.fail(bob, event.Bind, event.EADDRINUSE, at("10.0.0.7:0"), netip.AddrPort{}) // no port asked for
		taken := b.facts().Traffic.Taken
		if len(taken) != 3 {
			t.Fatalf("%+v", taken)
		}
		a, c, old := taken[0], taken[2], taken[1]
		if old.By.PID != carol.PID || old.Instead.IsValid() {
			t.Errorf("%+v, and its other port is older than the window", old)
		}
		if a.Local != at("10.0.0.7:80") || a.By.PID != checkout.PID || a.N != 2 || c.Local != at("10.0.0.7:9000") || c.By.PID != bob.PID || c.N != 1 {
			t.Errorf("%+v", taken)
		}
		if tables {
			if a.Holders != nil || a.Instead.IsValid() || c.Holders != nil {
				t.Errorf("by the tables only: %+v", taken)
			}
			continue
		}
		if len(a.Holders) != 1 || a.Holders[0].State != event.Listening || a.Holders[0].Process.PID != nginx.PID || a.Instead != at("10.0.0.7:8081") || a.Got {
			t.Errorf("%+v", a)
		}
		if c.Instead != at("10.0.0.7:700") || len(c.Holders) != 3 || c.Past {
			t.Fatalf("%+v", c)
		}
		for i, want := range []advice.PortHolder{{Process: event.Proc{}, N: 4}, {Process: event.Proc{Comm: "haproxy"}, N: 3}, {Process: nginx, N: 2}} {
			h := c.Holders[i]
			if h.State != event.TimeWait || h.Role != event.Server || h.Process.Comm != want.Process.Comm || h.N != want.N || h.Remote.IsValid() ||
				h.FreeIn < 50*time.Second || h.FreeIn > 52*time.Second {
				t.Errorf("%+v, want %+v", h, want)
			}
		}
	}
}

// TestManyTakenPorts: those asked for most often.
func TestManyTakenPorts(t *testing.T) {
	b := newBench(t, 1000, Options{})
	b.open(checkout, postgres, 9)
	for i := range 20 {
		for range i + 1 {
			b.fail(event.Proc{PID: uint32(i + 1), Comm: fmt.Sprint("job", i)}, event.Bind, event.EADDRINUSE, netip.AddrPortFrom(laddr, uint16(100+i)), netip.AddrPort{})
		}
	}
	if taken := b.facts().Traffic.Taken; len(taken) != maxTaken || taken[0].N != 20 || taken[maxTaken-1].N != 5 {
		t.Errorf("%+v", taken)
	}
	if !inTheWay(netip.MustParseAddr("::"), laddr) || !inTheWay(laddr, netip.IPv4Unspecified()) || inTheWay(laddr, postgres.Addr()) {
		t.Error("which addresses are in the way")
	}
}

// TestLingering: connections that stay in CLOSE_WAIT or FIN_WAIT2, by owner and place.
func TestLingering(t *testing.T) {
	b := newBench(t, 1000, Options{})
	b.open(checkout, postgres, 9)
	add := func(n int, p event.Proc, role event.Role, state event.State, grown bool) {
		for i := range n {
			l := session.Lingering{Grown: grown}
			l.NetNS, l.State, l.Role, l.Process = testNetNS, state, role, p
			l.Local, l.Remote = netip.AddrPortFrom(laddr, 80), netip.AddrPortFrom(postgres.Addr(), uint16(6000+i))
			if role != event.Server {
				l.Local, l.Remote = netip.AddrPortFrom(laddr, uint16(40000+i)), postgres
			}
			b.host.Linger = append(b.host.Linger, l)
		}
	}
	add(3, checkout, event.Client, event.CloseWait, true)
	add(2, checkout, event.Client, event.CloseWait, false)
	add(7, nginx, event.Server, event.FinWait2, false)
	add(1, nginx, event.Server, event.CloseWait, false)
	other := session.Lingering{}
	other.NetNS = 8
	b.host.Linger = append(b.host.Linger, other)
	for i := range 4 { // the other ends of some are here too
		l := &b.host.Linger[i]
		l.Peer = conn.Socket{NetNS: 8, State: event.FinWait2, Process: event.Proc{PID: 80 + uint32(i%2), Comm: "caller"}}
		if i == 3 {
			l.Peer.Process.Comm = "other"
		}
	}
	if l := b.facts().Traffic.Lingering[1]; l.PIDs != 1 || !slices.Equal(l.Peers, []advice.Peer{
		{Process: event.Proc{PID: 80, Comm: "caller"}, NetNS: 8, State: event.FinWait2, N: 3},
		{Process: event.Proc{PID: 81, Comm: "other"}, NetNS: 8, State: event.FinWait2, N: 1}}) {
		t.Errorf("peers %+v of %d", l.Peers, l.PIDs)
	}
	var got []string
	for _, l := range b.facts().Traffic.Lingering {
		got = append(got, fmt.Sprint(l.State, " ", l.Process.Comm, " ", l.Local, " ", l.Remote.IsValid(), " ", l.N, " ", l.Grown))
	}
	want := []string{"FIN_WAIT2 nginx 10.0.0.7:80 false 7 0", "CLOSE_WAIT checkout 10.0.0.7:0 true 5 3", "CLOSE_WAIT nginx 10.0.0.7:80 false 1 0"}
	if !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

// TestOwnState: what the trace knows of itself.
func TestOwnState(t *testing.T) {
	b := newBench(t, 1000, Options{})
	b.open(checkout, postgres, 9)
	b.host.Owners, b.host.Blind = start.Add(time.Minute), []string{"the closer"}
	b.host.Drifted, b.host.Names = []event.Drift{{NetNS: 7, Births: 3}, {NetNS: 8, Births: 1}}, map[uint32]string{7: "web"}
	b.host.Only = []uint32{7}
	b.host.AtEnd = []event.Event{{Kind: event.Lost, Stage: event.StageRing, Count: 5}}
	if err := b.session.Drain(t.Context()); err != nil {
		t.Fatal(err)
	}
	b.at = 20 * time.Second
	x := b.facts().Traffic
	if x.Seen != 20*time.Second || x.OwnersIn != 40*time.Second || x.Lost != 5 || !slices.Equal(x.Missing, b.host.Blind) || !slices.Equal(x.Doubts, []string{"in web the kernel counts 3 more TIME_WAIT starts"}) {
		t.Errorf("%+v", x)
	}
	b.at = 2 * time.Minute
	b.open(checkout, postgres, 1)
	if x = b.facts().Traffic; x.OwnersIn != 0 {
		t.Errorf("owners known in %v", x.OwnersIn)
	}
	b.d.opt.TablesOnly = true
	if x = b.facts().Traffic; x.Lost != 0 || x.Missing != nil || x.Doubts != nil || x.Seen != 0 {
		t.Errorf("by the tables only: %+v", x)
	}
}
