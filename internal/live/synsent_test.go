package live

import (
	"errors"
	"io"
	"maps"
	"net"
	"net/netip"
	"os"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/twtrace/twtrace/internal/conn"
	"github.com/twtrace/twtrace/internal/event"
	"github.com/twtrace/twtrace/internal/filter"
	"github.com/twtrace/twtrace/internal/process"
	"github.com/twtrace/twtrace/internal/tracer"
)

// TestWaitersPause: a table of ports has fresh numbers, and all have them once clients wait.
func TestWaitersPause(t *testing.T) {
	for _, tt := range []struct {
		waiting []int
		took    time.Duration
		often   bool
		want    time.Duration
	}{
		{nil, time.Millisecond, true, time.Second},
		{nil, 600 * time.Millisecond, true, 2400 * time.Millisecond},
		{nil, time.Millisecond, false, 5 * time.Second},
		{[]int{8, 8}, time.Millisecond, false, 5 * time.Second},
		{[]int{8, 9}, time.Millisecond, false, time.Second},
		{[]int{8, 9}, 200 * time.Millisecond, false, 4 * time.Second},
		{nil, 500 * time.Millisecond, false, 10 * time.Second},
	} {
		l := synSentPoll{took: tt.took}
		for _, n := range tt.waiting {
			l.list = append(l.list, conn.SynSent{N: n})
		}
		if got := l.pause(tt.often, false); got != tt.want {
			t.Errorf("%v waiting, %v, %v: %v, want %v", tt.waiting, tt.took, tt.often, got, tt.want)
		}
	}
	few, many := synSentPoll{}, synSentPoll{list: []conn.SynSent{{N: 17}}}
	if few, many := few.pause(false, true), many.pause(false, true); few != 20*time.Second || many != time.Second {
		t.Errorf("sparing, with few %v and with many %v", few, many)
	}
}

// clog fills the accept queue of a listener that accepts nothing, and returns where it
// listens: whoever connects to it waits for an answer, and n do.
func clog(t *testing.T, n int) *net.TCPAddr {
	t.Helper()
	socket := func() int {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
		must(t, err)
		t.Cleanup(func() { unix.Close(fd) })
		return fd
	}
	l := socket()
	must(t, errors.Join(unix.Bind(l, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}), unix.Listen(l, 0)))
	name, err := unix.Getsockname(l)
	must(t, err)
	at := name.(*unix.SockaddrInet4)
	for range n + 1 { // one has room
		if err := unix.Connect(socket(), at); err != nil && !errors.Is(err, unix.EINPROGRESS) {
			t.Fatal(err)
		}
	}
	return &net.TCPAddr{IP: at.Addr[:], Port: at.Port}
}

// TestCountWaiting counts the clients that wait for an answer, and names them where they
// are many.
func TestCountWaiting(t *testing.T) {
	to := clog(t, manyWaiting).AddrPort()
	f := &filter.Filter{NetNS: filter.Set[uint32]{Items: []uint32{here(t).Inum}},
		RPorts: filter.Set[filter.Ports]{Items: []filter.Ports{{First: to.Port(), Last: to.Port()}}}}
	s := attach(Options{Tracer: tracer.Options{Filter: f}, CountWaiting: true}, &fakeHooks{})
	defer s.Close()
	l := s.pollWaiting(false)
	if len(l.list) != 1 || l.list[0].Remote != to || l.list[0].N != manyWaiting || l.whole || l.lingering != nil || l.took <= 0 {
		t.Fatalf("%+v", l)
	}
	if by := l.list[0].By; process.Usable() == nil && (len(by) != 1 || by[0].Process.PID != uint32(os.Getpid()) || by[0].N != manyWaiting) {
		t.Errorf("they are of %+v", by)
	}

	// The table has them, and the next poll has its time.
	drive(t, s, "the poll is over", func() bool { s.countWaiting(); return s.waiters.running == nil && !s.waiters.due.IsZero() })
	if pause := time.Until(s.waiters.due); pause > max(waitersEvery, dumpShare*patience) {
		t.Errorf("the next poll is in %v", pause)
	}
	var snap conn.Snapshot
	s.table.Snapshot(time.Now().UnixNano(), &snap)
	if len(snap.Destinations) != 1 || snap.Destinations[0].Remote != to || snap.Destinations[0].SynSent != manyWaiting {
		t.Errorf("the table has %+v", snap.Destinations)
	}
	s.waiters.due = time.Now().Add(time.Hour)
	if s.countWaiting(); s.waiters.running != nil {
		t.Error("it polls before it is time")
	}
}

// TestNameOfFew: a few that wait are not worth a walk through /proc.
func TestNameOfFew(t *testing.T) {
	l := synSentPoll{list: []conn.SynSent{{N: manyWaiting - 1}}}
	if l.name([][]uint64{{1}}, nil); l.list[0].By != nil {
		t.Errorf("they are of %+v", l.list[0].By)
	}
}

// TestLingering: a connection that its peer has closed lingers once it was seen so for
// long enough, and one that came later has grown.
func TestLingering(t *testing.T) {
	l := listen(t)
	port := addrOf(l).Port()
	f := &filter.Filter{NetNS: filter.Set[uint32]{Items: []uint32{here(t).Inum}},
		LPorts: filter.Set[filter.Ports]{Items: []filter.Ports{{First: port, Last: port}}}}
	s := attach(Options{Tracer: tracer.Options{Filter: f}}, &fakeHooks{})
	defer s.Close()
	client, server := dial(t, l)
	must(t, client.CloseWrite())
	_, err := server.Read(make([]byte, 1))
	if !errors.Is(err, io.EOF) {
		t.Fatal(err)
	}
	s.apply(event.Open, cookieOf(t, server), time.Now())

	if poll := s.pollWaiting(false); poll.lingering != nil || !slices.Equal(poll.closeWait, []uint64{cookieOf(t, server)}) {
		t.Fatalf("%+v, and nobody asked; in CLOSE_WAIT %v", poll.lingering, poll.closeWait)
	}
	s.WatchLingering()
	drive(t, s, "the poll is over", func() bool { s.countWaiting(); return s.lingering.sockets != nil })
	if v := s.table.Totals(); v.CloseWait != 1 || v.Established != 0 || v.CloseWaitAt == 0 {
		t.Errorf("the table has %+v", v)
	}
	home := here(t).Inum
	at := s.lingering.started
	if got := s.Lingering(home, at, at.Add(lingersAfter-1)); got != nil {
		t.Errorf("too early: %+v", got)
	}
	got := s.Lingering(home, at, at.Add(lingersAfter))
	if len(got) != 1 || got[0].State != event.CloseWait || got[0].Cookie != cookieOf(t, server) || got[0].Grown ||
		got[0].Local != addrOf(l) || got[0].Remote != localOf(client) || got[0].NetNS != home {
		t.Errorf("lingering: %+v", got)
	}
	if got := s.Lingering(home+1, at, at.Add(lingersAfter)); got != nil {
		t.Errorf("elsewhere: %+v", got)
	}
}

// TestLingeringNote keeps when a socket was first seen in its state, and forgets what is
// not seen any more.
func TestLingeringNote(t *testing.T) {
	s := idleTrace()
	s.WatchLingering()
	at := time.Unix(1000, 0)
	closeWait, finWait := shown(1, event.CloseWait, 0), shown(2, event.FinWait2, 0)
	s.lingering.note(at, []sighting{closeWait, finWait, shown(3, event.CloseWait, 0)})
	finWait.State = event.CloseWait // another state is another start
	s.lingering.note(at.Add(lingersAfter), []sighting{closeWait, finWait, shown(4, event.CloseWait, 0)})
	seen := func(now time.Time, since time.Time) map[uint64]bool {
		out := make(map[uint64]bool)
		for _, l := range s.Lingering(testNetNS, since, now) {
			out[l.Cookie] = l.Grown
		}
		return out
	}
	if got := seen(at.Add(lingersAfter), at); !maps.Equal(got, map[uint64]bool{1: false}) {
		t.Errorf("at first %v", got)
	}
	if got := seen(at.Add(2*lingersAfter), at); !maps.Equal(got, map[uint64]bool{1: false, 2: true, 4: true}) {
		t.Errorf("later %v", got)
	}
	// What came within a poll after the start of the window may be older than it.
	if got := seen(at.Add(2*lingersAfter), at.Add(lingersAfter-waitersEvery)); got[4] {
		t.Errorf("%v has grown within a poll", got)
	}
}

func TestLingeringIsBounded(t *testing.T) {
	s := idleTrace()
	many := make([]sighting, maxLingering+1)
	for i := range many {
		many[i].Cookie = uint64(i + 1)
	}
	if s.lingering.note(time.Unix(1, 0), many); len(s.lingering.sockets) != maxLingering {
		t.Errorf("%d are known", len(s.lingering.sockets))
	}
}

// TestLingeringPeer: the other end is known where it is one of these too, in whatever
// namespace, but over loopback only in its own.
func TestLingeringPeer(t *testing.T) {
	at := func(cookie uint64, netns uint32, s event.State, local, remote string) sighting {
		k := shown(cookie, s, 0)
		k.netns, k.Local, k.Remote = netns, netip.MustParseAddrPort(local), netip.MustParseAddrPort(remote)
		return k
	}
	const client, server = "10.0.0.1:40000", "10.0.0.2:80"
	for _, tt := range []struct {
		name  string
		other []sighting
		local bool // over loopback
		want  uint64
	}{
		{"nobody", nil, false, 0},
		{"another namespace", []sighting{at(2, 8, event.FinWait2, client, server)}, false, 2},
		{"the same one, and another with the same addresses", []sighting{at(2, 8, event.FinWait2, client, server), at(3, 7, event.FinWait2, client, server)}, false, 3},
		{"two others with the same addresses", []sighting{at(2, 8, event.FinWait2, client, server), at(3, 9, event.FinWait2, client, server)}, false, 0},
		{"another connection", []sighting{at(2, 8, event.FinWait2, "10.0.0.1:40001", server)}, false, 0},
		{"loopback", []sighting{at(2, 7, event.FinWait2, "127.0.0.1:40000", "127.0.0.1:80")}, true, 2},
		{"loopback of another namespace", []sighting{at(2, 8, event.FinWait2, "127.0.0.1:40000", "127.0.0.1:80")}, true, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := idleTrace()
			s.WatchLingering()
			one := at(1, 7, event.CloseWait, server, client)
			if tt.local {
				one = at(1, 7, event.CloseWait, "127.0.0.1:80", "127.0.0.1:40000")
			}
			now := time.Unix(1000, 0)
			s.lingering.note(now, append([]sighting{one}, tt.other...))
			got := s.Lingering(7, now, now.Add(lingersAfter))
			for _, l := range got {
				if l.Cookie == 1 && l.Peer.Cookie != tt.want {
					t.Errorf("its peer is %+v, want %d", l.Peer, tt.want)
				}
			}
			if len(got) == 0 {
				t.Error("nothing lingers")
			}
		})
	}
}
