package live

import (
	"context"
	"errors"
	"io"
	"maps"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/twtrace/twtrace/internal/conn"
	"github.com/twtrace/twtrace/internal/event"
	"github.com/twtrace/twtrace/internal/filter"
	"github.com/twtrace/twtrace/internal/kernel"
	"github.com/twtrace/twtrace/internal/kerneltest"
	"github.com/twtrace/twtrace/internal/process"
	"github.com/twtrace/twtrace/internal/session"
	"github.com/twtrace/twtrace/internal/tracer"
)

// patience is for what should happen at once, on a busy machine too.
const patience = 30 * time.Second

var errFake = errors.New("it is broken")

// must fails the test at once.
func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// listen returns a listener on a port of its own.
func listen(t *testing.T) *net.TCPListener {
	t.Helper()
	l, err := net.ListenTCP("tcp4", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	must(t, err)
	t.Cleanup(func() { l.Close() })
	return l
}

// dial returns both ends of a new connection.
func dial(t *testing.T, l *net.TCPListener) (client, server *net.TCPConn) {
	t.Helper()
	client, err := net.DialTCP("tcp4", nil, l.Addr().(*net.TCPAddr))
	must(t, err)
	server, err = l.AcceptTCP()
	must(t, err)
	t.Cleanup(func() { client.Close(); server.Close() })
	return client, server
}

func cookieOf(t *testing.T, c *net.TCPConn) (cookie uint64) {
	t.Helper()
	raw, err := c.SyscallConn()
	must(t, err)
	must(t, errors.Join(raw.Control(func(fd uintptr) {
		cookie, err = unix.GetsockoptUint64(int(fd), unix.SOL_SOCKET, unix.SO_COOKIE)
	}), err))
	return cookie
}

// localOf is the local end of c.
func localOf(c *net.TCPConn) netip.AddrPort { return c.LocalAddr().(*net.TCPAddr).AddrPort() }

func addrOf(l *net.TCPListener) netip.AddrPort { return l.Addr().(*net.TCPAddr).AddrPort() }

// here is the network namespace of the test.
func here(t *testing.T) kernel.NetNS {
	t.Helper()
	home, err := kernel.CurrentNetNS()
	must(t, err)
	return home
}

// toward are the options of a trace of the clients of l.
func toward(t *testing.T, l *net.TCPListener) Options {
	t.Helper()
	port := addrOf(l).Port()
	f := &filter.Filter{NetNS: filter.Set[uint32]{Items: []uint32{here(t).Inum}},
		RPorts: filter.Set[filter.Ports]{Items: []filter.Ports{{First: port, Last: port}}}}
	return Options{Tracer: tracer.Options{Filter: f}}
}

// begin starts a trace over h, with a table that holds everything.
func begin(t *testing.T, o Options, h *fakeHooks) *Trace {
	t.Helper()
	s := attach(o, h)
	t.Cleanup(s.Close)
	must(t, s.Begin(s.table, s.wanted))
	return s
}

func ignore(*event.Event) error { return nil }

// drive reads the trace and tends it until ok, and returns what it found.
func drive(t *testing.T, s *Trace, what string, ok func() bool) (found []event.Event) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("not so in %v: %s", patience, what)
		}
		var e event.Event
		err := s.Next(t.Context(), &e)
		if err == nil {
			s.table.Apply(&e)
			continue
		}
		if !errors.Is(err, session.ErrIdle) {
			t.Fatal(err)
		}
		must(t, s.Tend(true, func(e *event.Event) error { found = append(found, *e); return nil }))
	}
	return found
}

// held is the state in which the table has a socket.
func (t *Trace) held(cookie uint64) event.State { return t.table.StateOf(cookie) }

// awaitMini waits until a socket that was closed is a mini-socket: its FIN may be
// acknowledged late.
func awaitMini(t *testing.T, cookie uint64) {
	t.Helper()
	home := here(t)
	kerneltest.Eventually(t, time.Minute, func() (mini bool, last string) {
		last = "it is gone"
		must(t, home.Sockets(kernel.States(event.FinWait1, event.FinWait2, event.TimeWait), func(k kernel.Socket) error {
			if k.Cookie == cookie {
				mini, last = k.Mini(), k.State.String()
			}
			return nil
		}))
		return mini, last
	})
}

// TestBegin has sockets of every sort from before: an open one, one in TIME_WAIT, a
// parked one, a listener; and others whose start, or end, is in the stream.
func TestBegin(t *testing.T) {
	l := listen(t)
	open, _ := dial(t, l)
	started, _ := dial(t, l)
	refused, _ := dial(t, l)
	parked, _ := dial(t, l)
	parkedCookie, parkedLocal := cookieOf(t, parked), localOf(parked)
	must(t, parked.Close()) // and its server does not
	awaitMini(t, parkedCookie)
	closed, server := dial(t, l)
	closedCookie, closedLocal := cookieOf(t, closed), localOf(closed)
	must(t, errors.Join(closed.CloseWrite(), server.Close()))
	_, err := io.ReadAll(closed)
	must(t, errors.Join(err, closed.Close()))

	home := here(t)
	now := time.Now().UnixNano()
	h := &fakeHooks{ring: []event.Event{
		{Time: now, Kind: event.Open, NetNS: home.Inum, Cookie: cookieOf(t, started), Local: localOf(started), Remote: addrOf(l)},
		{Time: now, Kind: event.Close, Old: event.FinWait2, NetNS: home.Inum, Cookie: 1}, // handed over
	}}
	o := toward(t, l)
	var done []int
	var all int
	o.Progress = func(n, of int) { done, all = append(done, n), of }
	s := attach(o, h)
	defer s.Close()
	not := cookieOf(t, refused)
	wanted := func(e *event.Event) bool { return e.Cookie != not }
	must(t, s.Begin(s.table, wanted))

	if got := s.held(cookieOf(t, open)); got != event.Established {
		t.Errorf("the open one is in %v", got)
	}
	if got := s.held(not); got != event.StateNone {
		t.Errorf("the table has what it does not want, in %v", got)
	}
	if got := s.held(parkedCookie); got != event.FinWait2 || !slices.Contains(h.adopted, parkedCookie) {
		t.Errorf("the parked one is in %v; adopted: %v", got, h.adopted)
	}
	if got := s.held(cookieOf(t, started)); got != event.StateNone {
		t.Errorf("the table has the one whose start is to come, in %v", got)
	}
	if process.Usable() == nil {
		k, _ := s.table.Lookup(cookieOf(t, open))
		if k.Process.PID != uint32(os.Getpid()) || k.Owner != event.ByProc {
			t.Errorf("the open one is of %+v (%v)", k.Process, k.Owner)
		}
		if !slices.ContainsFunc(s.table.Listeners(home.Inum), func(k conn.Listener) bool { return k.Local == addrOf(l) }) {
			t.Error("the listener is missing")
		}
	}
	if !slices.Equal(done, []int{0, 1}) || all != 1 {
		t.Errorf("progress %v of %d", done, all)
	}
	if h.compared != 1 {
		t.Errorf("%d surveys were compared", h.compared)
	}

	// What was in TIME_WAIT comes first, then the stream.
	var e event.Event
	if !s.Early() {
		t.Fatal("nothing is early")
	}
	must(t, s.Next(t.Context(), &e))
	if e.Kind != event.Snapshot || e.New != event.TimeWait || e.Cookie != closedCookie || e.Local != closedLocal ||
		e.Remaining <= 0 || e.Remaining > int64(61*time.Second) {
		t.Errorf("the one in TIME_WAIT is %+v", e)
	}
	if got := s.OwnersKnown(); !got.Equal(s.Began().Add(ownersKnownAfter)) {
		t.Errorf("owners known at %v, began at %v", got, s.Began())
	}
	must(t, s.Next(t.Context(), &e))
	if e.Kind != event.Open || e.Cookie != cookieOf(t, started) {
		t.Errorf("the first of the stream is %+v", e)
	}
	if s.Early() {
		t.Error("something is early yet")
	}
	// The end of the adopted one is the end of its entry in the kernel.
	h.ring = []event.Event{{Time: now, Kind: event.Close, NetNS: home.Inum, Cookie: parkedCookie, Local: parkedLocal, Remote: addrOf(l)}}
	for range 2 {
		if err := s.Next(t.Context(), &e); err != nil && !errors.Is(err, session.ErrIdle) {
			t.Fatal(err)
		}
	}
	if !slices.Equal(h.disowned, []uint64{parkedCookie}) {
		t.Errorf("disowned: %v, want %d", h.disowned, parkedCookie)
	}
}

// TestBeginFails: each way, and nothing goes on after it.
func TestBeginFails(t *testing.T) {
	l := listen(t)
	parked, _ := dial(t, l)
	for name, change := range map[string]func(h *fakeHooks){
		"compare": func(h *fakeHooks) { h.broken = errFake },
		"read":    func(h *fakeHooks) { h.fail = errFake },
	} {
		h := &fakeHooks{}
		change(h)
		s := attach(toward(t, l), h)
		if err := s.Begin(s.table, s.wanted); !errors.Is(err, errFake) {
			t.Errorf("%s: %v", name, err)
		}
		s.Close()
		if !h.closed {
			t.Errorf("%s: the hooks stay", name)
		}
	}
	// One that cannot be adopted.
	must(t, parked.Close())
	h := &fakeHooks{broken: errFake}
	s := attach(toward(t, l), h)
	defer s.Close()
	k := shown(7, event.FinWait2, kernel.TimerTimeWait)
	e := k.event(time.Now())
	if err := s.addOne(&k, &e, &dump{}); !errors.Is(err, errFake) {
		t.Errorf("adopt: %v", err)
	}
}

// TestReadDuring: the stream is read until it is past the dump, or empty since.
func TestReadDuring(t *testing.T) {
	at := time.Now()
	h := &fakeHooks{}
	s := attach(Options{}, h)
	defer s.Close()
	result := make(chan dump, 1)

	t.Run("until it is empty", func(t *testing.T) {
		h.ring = []event.Event{{Time: at.UnixNano(), Kind: event.Open, Cookie: 1}}
		h.emptied, h.slow = time.Time{}, 3
		result <- dump{end: at}
		early, d, err := s.readDuring(result)
		if err != nil || len(early) != 1 || !d.end.Equal(at) || h.emptied.Before(at) {
			t.Errorf("%d events, %v, %v; empty at %v", len(early), d.end, err, h.emptied)
		}
	})
	t.Run("until it is past the dump", func(t *testing.T) {
		h.ring = nil
		for i := range 10 {
			h.ring = append(h.ring, event.Event{Time: at.Add(time.Duration(i) * settleTime).UnixNano(), Kind: event.Open, Cookie: uint64(i + 1)})
		}
		result <- dump{end: at}
		early, _, err := s.readDuring(result)
		if err != nil || len(early) != 3 || len(h.ring) != 7 {
			t.Errorf("%d events, %d left, %v", len(early), len(h.ring), err)
		}
		h.ring = nil
	})
	t.Run("no more than there is room for", func(t *testing.T) {
		h.ring = make([]event.Event, maxEarly+10)
		for i := range h.ring {
			h.ring[i] = event.Event{Time: at.UnixNano(), Kind: event.Open, Cookie: uint64(i + 1)}
		}
		// The dump is over once that much was read, and not before: else this hangs.
		go func() { result <- dump{end: at} }()
		early, d, err := s.readDuring(result)
		if err != nil || len(early) != maxEarly+10 || !d.end.Equal(at) {
			t.Errorf("%d events, %v", len(early), err)
		}
	})
	t.Run("an error waits for the dump", func(t *testing.T) {
		h.fail = errFake
		over := false
		unbuffered := make(chan dump)
		go func() { over = true; unbuffered <- dump{} }()
		if _, _, err := s.readDuring(unbuffered); !errors.Is(err, errFake) || !over {
			t.Errorf("%v, dump over: %v", err, over)
		}
		h.fail = nil
	})
}

// TestLosses: each loss is one event, by stage, of what came since the last time.
func TestLosses(t *testing.T) {
	h := &fakeHooks{account: tracer.Account{Late: 2, Lost: map[event.Stage]uint64{event.StageRing: 3, event.StageMap: 1}, Vitals: event.Vitals{RingSize: 4096}}}
	s := attach(Options{}, h)
	defer s.Close()
	s.reconcile.due = time.Now().Add(time.Hour)
	s.waiters.due = s.reconcile.due
	lost := func() map[event.Stage]uint64 {
		sum := make(map[event.Stage]uint64)
		must(t, s.Tend(true, func(e *event.Event) error {
			if e.Kind != event.Lost {
				t.Errorf("found %+v", e)
			}
			sum[e.Stage] += e.Count
			return nil
		}))
		return sum
	}
	if got := lost(); !maps.Equal(got, h.account.Lost) {
		t.Errorf("lost %v", got)
	}
	if v := s.Vitals(); v.RingSize != 4096 {
		t.Errorf("vitals %+v", v)
	}
	h.account.Lost = map[event.Stage]uint64{event.StageRing: 10, event.StageMap: 1}
	if got := lost(); len(got) != 0 {
		t.Errorf("lost %v within a second", got)
	}
	s.lossDue = time.Time{}
	if got := lost(); !maps.Equal(got, map[event.Stage]uint64{event.StageRing: 7}) {
		t.Errorf("lost %v, want 7 more of the ring", got)
	}
	var snap conn.Snapshot
	s.table.Snapshot(time.Now().UnixNano(), &snap)
	if got := snap.Totals.Lost; got[event.StageRing.Index()] != 10 || got[event.StageMap.Index()] != 1 {
		t.Errorf("the table has %v", got)
	}
	if got := s.Remarks(time.Now()); !slices.Contains(got, "2 TIME_WAIT starts detected late") {
		t.Errorf("remarks %q", got)
	}
	// At the end, the losses since.
	h.account.Lost[event.StageRing]++
	s.over = true
	if got := lost(); !maps.Equal(got, map[event.Stage]uint64{event.StageRing: 1}) {
		t.Errorf("lost %v at the end", got)
	}
	h.account.Lost[event.StageRing]++
	if err := s.Tend(false, func(*event.Event) error { return errFake }); !errors.Is(err, errFake) {
		t.Errorf("an error of found: %v", err)
	}
	h.broken = errFake
	s.over, s.lossDue = false, time.Time{}
	if err := s.Tend(false, ignore); !errors.Is(err, errFake) {
		t.Errorf("an error of the account: %v", err)
	}
}

// TestReconcile repairs the table after a loss, with what the kernel shows: one socket
// is missing in it, and one is gone.
func TestReconcile(t *testing.T) {
	l := listen(t)
	o := toward(t, l)
	var talk []string
	o.Talk = func(format string, a ...any) { talk = append(talk, format) }
	some := []event.Drift{{NetNS: 7, Births: 1}}
	h := &fakeHooks{drift: [][]event.Drift{nil, some}, account: tracer.Account{Lost: map[event.Stage]uint64{event.StageRing: 1}}}
	s := begin(t, o, h)
	home := here(t)
	missed, _ := dial(t, l)
	closed, server := dial(t, l)
	closedCookie := cookieOf(t, closed)
	must(t, errors.Join(closed.CloseWrite(), server.Close()))
	_, err := io.ReadAll(closed)
	must(t, errors.Join(err, closed.Close()))
	gone := event.Event{Time: time.Now().UnixNano(), Kind: event.Open, NetNS: home.Inum, Cookie: 1 << 60,
		Local: netip.MustParseAddrPort("127.0.0.1:1"), Remote: addrOf(l)}
	s.table.Apply(&gone)

	s.Reconcile()
	if !s.Reconciling() {
		t.Error("no comparison is due")
	}
	found := drive(t, s, "the table is compared", func() bool { return !s.Reconciling() })
	if s.held(cookieOf(t, missed)) != event.Established || s.held(closedCookie) != event.TimeWait || s.held(gone.Cookie) != event.StateNone {
		t.Errorf("the missed one is in %v, the closed one in %v, the one that is gone in %v",
			s.held(cookieOf(t, missed)), s.held(closedCookie), s.held(gone.Cookie))
	}
	found = slices.DeleteFunc(found, func(e event.Event) bool { return e.Kind == event.Lost })
	if len(found) != 1 || found[0].Kind != event.Snapshot || found[0].Cookie != closedCookie {
		t.Errorf("records %+v, want the one in TIME_WAIT", found)
	}
	if len(talk) != 1 || !strings.Contains(talk[0], "after the loss: added %d missing, removed %d gone") {
		t.Errorf("it said %q", talk)
	}
	if got := s.Drift(); len(got) != 0 {
		t.Errorf("drift %+v, which may be on its way", got)
	}
	if got := s.Remarks(time.Now()); !slices.Contains(got, "corrected: 1 socket was already gone, 2 sockets were missing") {
		t.Errorf("remarks %q", got)
	}
	if got := s.Remarks(time.Now().Add(reconcileEvery)); slices.ContainsFunc(got, func(w string) bool { return strings.Contains(w, "corrected") }) {
		t.Errorf("remarks %q half a minute later", got)
	}
	// With nothing lost since, it is silent, and wants to see it twice. So it does with drift.
	gone.Cookie++
	s.table.Apply(&gone)
	for _, want := range []event.State{event.Established, event.StateNone} {
		s.Reconcile()
		drive(t, s, "the table is compared again", func() bool { return !s.Reconciling() })
		if s.held(gone.Cookie) != want || len(talk) != 1 || !slices.Equal(s.Drift(), some) {
			t.Errorf("%v, want %v; it said %q; drift %+v", s.held(gone.Cookie), want, talk, s.Drift())
		}
	}
}

// TestStranger: an event of a network namespace that is new has the counters read,
// once, and no sockets.
func TestStranger(t *testing.T) {
	h := &fakeHooks{}
	s := begin(t, Options{}, h)
	s.waiters.due = time.Now().Add(time.Hour)
	before := h.compared
	took := s.reconcile.took
	h.ring = []event.Event{{Time: time.Now().UnixNano(), Kind: event.Open, NetNS: 77, Cookie: 1}, {Time: time.Now().UnixNano(), Kind: event.Close, NetNS: 77, Cookie: 1}}
	drive(t, s, "the counters are read", func() bool { return h.compared > before })
	if s.reconcile.took != took || s.reconcile.stranger {
		t.Errorf("sockets were dumped in %v, or it is due again", s.reconcile.took)
	}
	h.broken = errFake
	s.reconcile.result = &dump{end: time.Now().Add(-time.Hour)}
	h.emptied = time.Now()
	if err := s.reconcileTable(true, ignore); !errors.Is(err, errFake) {
		t.Errorf("an error of the comparison: %v", err)
	}
	// A dump that failed changes nothing, and is reported.
	var talk []string
	s.opt.Talk = func(format string, a ...any) { talk = append(talk, format) }
	if err := s.compare(&dump{err: errFake}, ignore); err != nil || len(talk) != 1 {
		t.Errorf("%v, %q", err, talk)
	}
}

// TestDriftIsReadAgain: what the counters differ by may be on its way, so they are read again
// soon.
func TestDriftIsReadAgain(t *testing.T) {
	h := &fakeHooks{drift: [][]event.Drift{nil, {{NetNS: 7, Alive: -1}}, nil}}
	s := begin(t, Options{}, h)
	s.waiters.due = time.Now().Add(time.Hour)
	s.Reconcile()
	drive(t, s, "the counters differ", func() bool { return s.reconcile.unsure })
	if len(s.Drift()) != 0 {
		t.Errorf("drift %+v at the first sight", s.Drift())
	}
	before := h.compared
	drive(t, s, "they are read again", func() bool { return h.compared > before })
	if s.reconcile.unsure || len(s.Drift()) != 0 || s.reconcile.dumping {
		t.Errorf("drift %+v; unsure %v", s.Drift(), s.reconcile.unsure)
	}
}

// TestFinish compares the counters until there is no drift, four times at most.
func TestFinish(t *testing.T) {
	some := []event.Drift{{NetNS: 7, Alive: 1}}
	for _, tt := range []struct {
		name     string
		drift    [][]event.Drift
		compared int
		left     int // of drift
	}{
		{"no drift", nil, 1, 0},
		{"drift that passes", [][]event.Drift{some, some, nil}, 3, 0},
		{"drift that stays", [][]event.Drift{some}, finishTries, 1},
	} {
		h := &fakeHooks{drift: tt.drift, ring: []event.Event{{Kind: event.Open, Cookie: 1, Time: 1}}}
		s := attach(Options{}, h)
		s.Finish()
		deadline := time.Now().Add(patience)
		events := 0
		for !s.over {
			var e event.Event
			switch err := s.Next(t.Context(), &e); {
			case err == nil:
				events++
			case errors.Is(err, io.EOF):
			case !errors.Is(err, session.ErrIdle), time.Now().After(deadline):
				t.Fatalf("%s: %v", tt.name, err)
			}
		}
		if h.compared != tt.compared || len(s.Drift()) != tt.left || events != 1 || !h.stopped {
			t.Errorf("%s: compared %d times, drift %v, %d events", tt.name, h.compared, s.Drift(), events)
		}
		s.Close()
	}
}

// TestFirstAndLast: the start and the end record.
func TestFirstAndLast(t *testing.T) {
	h := &fakeHooks{}
	o := toward(t, listen(t))
	o.Version, o.Shown = "1.2", &filter.Filter{Family: 6}
	s := attach(o, h)
	defer s.Close()
	s.start = time.Unix(7, 0)
	home := here(t)
	first, err := s.Start()
	must(t, err)
	if first.Kind != event.Start || first.Time != 7e9 || first.Start.Version != "1.2" || first.Start.Schema == 0 ||
		h.filter != o.Shown.String() || h.home.Inum != home.Inum || !slices.Contains(first.Start.Missing, "what the fake hides") {
		t.Errorf("%+v of %q in %v: %+v", first, h.filter, h.home, first.Start)
	}
	if process.Usable() == nil && len(first.Start.Missing) != 1 {
		t.Errorf("missing %q", first.Start.Missing)
	}
	s.opt.Named = []kernel.NetNS{{Inum: 4}}
	s.opt.Shown = nil
	if _, err := s.Start(); err != nil || h.home.Inum != 4 || h.filter != s.filter.String() {
		t.Errorf("%v: limits of %v, filter %q", err, h.home, h.filter)
	}
	if got := s.Missing(); !slices.Equal(got, []string{"what the fake hides"}) {
		t.Errorf("missing %q", got)
	}
	last, err := s.End("signal")
	if err != nil || last.Kind != event.End || last.End.Why != "signal" || last.End.Unnamed == nil {
		t.Errorf("%+v, %v", last, err)
	}
	h.broken = errFake
	if _, err := s.Start(); !errors.Is(err, errFake) {
		t.Errorf("start: %v", err)
	}
	if _, err := s.End(""); !errors.Is(err, errFake) {
		t.Errorf("end: %v", err)
	}
	if _, err := s.Account(); !errors.Is(err, errFake) {
		t.Errorf("account: %v", err)
	}
}

// TestNextFails: an error that is neither idle nor the end comes through.
func TestNextFails(t *testing.T) {
	s := attach(Options{}, &fakeHooks{fail: errFake})
	defer s.Close()
	var e event.Event
	if err := s.Next(context.Background(), &e); !errors.Is(err, errFake) || s.over {
		t.Errorf("%v", err)
	}
}
