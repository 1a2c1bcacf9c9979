package live

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"time"

	"github.com/twtrace/twtrace/internal/conn"
	"github.com/twtrace/twtrace/internal/event"
	"github.com/twtrace/twtrace/internal/process"
	"github.com/twtrace/twtrace/internal/session"
)

// recordsOf runs a session over h to its end, and returns its records and the totals at
// its end. It calls happens once the sockets from before are in the table.
func recordsOf(t *testing.T, l *net.TCPListener, h *fakeHooks, happens func()) (all []event.Event, totals conn.Totals) {
	t.Helper()
	o := toward(t, l)
	trace := newTrace(o)
	trace.limits.refresh()
	trace.attached(h)
	s, err := session.New(trace, session.Options{Filter: o.Tracer.Filter})
	must(t, err)
	defer s.Close()
	happens()
	must(t, s.Run(t.Context(), func(e *event.Event) error {
		all = append(all, *e)
		return nil
	}, func() error {
		s.Stop("test")
		return nil
	}))
	return all, s.Table().Totals()
}

// only are the records of a kind.
func only(all []event.Event, kind event.Kind) (some []event.Event) {
	for _, e := range all {
		if e.Kind == kind {
			some = append(some, e)
		}
	}
	return some
}

// requireOwners skips a test where /proc does not say who owns a socket.
func requireOwners(t *testing.T) {
	t.Helper()
	if err := process.Usable(); err != nil {
		t.Skip(err)
	}
}

// closedFirst makes a connection that its client closes first, and waits until that is in
// TIME_WAIT.
func closedFirst(t *testing.T, l *net.TCPListener) (cookie uint64) {
	t.Helper()
	client, server := dial(t, l)
	cookie = cookieOf(t, client)
	must(t, errors.Join(client.CloseWrite(), server.Close()))
	_, err := io.ReadAll(client)
	must(t, errors.Join(err, client.Close()))
	awaitMini(t, cookie)
	return cookie
}

// TestEstablishedBefore has connections that were there before the trace close in it: the
// opener cannot be known, and /proc tells whose they are.
func TestEstablishedBefore(t *testing.T) {
	requireOwners(t)
	const n = 7
	l, h, home := listen(t), &fakeHooks{}, here(t)
	var ends []event.Event
	for range n {
		c, _ := dial(t, l)
		ends = append(ends, event.Event{Time: time.Now().UnixNano(), Kind: event.TimeWaitEnter, NetNS: home.Inum, Cookie: cookieOf(t, c),
			Local: localOf(c), Remote: addrOf(l), Closer: event.LocalSide, New: event.TimeWait})
	}
	all, _ := recordsOf(t, l, h, func() { h.ring = ends })
	begins := only(all, event.TimeWaitEnter)
	for _, e := range begins {
		if e.Owner != event.ByProc || e.Process.PID != uint32(os.Getpid()) || e.Opener.Known() {
			t.Errorf("owner %+v by %v, opener %+v; want this process by proc", e.Process, e.Owner, e.Opener)
		}
	}
	if snapshots := only(all, event.Snapshot); len(begins) != n || len(snapshots) != 0 {
		t.Errorf("%d begins, want %d; %d snapshot records of established connections", len(begins), n, len(snapshots))
	}
}

// TestParkedBefore has sockets that were parked in FIN_WAIT2 before the trace get their FIN
// in it: they are alive then, and nothing was told of them before.
func TestParkedBefore(t *testing.T) {
	const n = 7
	l, h, home := listen(t), &fakeHooks{}, here(t)
	var promoted []event.Event
	for range n {
		c, _ := dial(t, l)
		e := event.Event{Kind: event.TimeWaitEnter, NetNS: home.Inum, Cookie: cookieOf(t, c), Local: localOf(c), Remote: addrOf(l),
			Reason: event.LateFin, Closer: event.LocalSide, Old: event.FinWait2, New: event.TimeWait}
		must(t, c.Close()) // and its server does not
		awaitMini(t, e.Cookie)
		promoted = append(promoted, e)
	}
	all, totals := recordsOf(t, l, h, func() {
		for _, e := range promoted {
			e.Time = time.Now().UnixNano()
			h.ring = append(h.ring, e)
		}
	})
	begins := only(all, event.TimeWaitEnter)
	if snapshots := only(all, event.Snapshot); len(begins) != n || len(snapshots) != 0 {
		t.Errorf("%d begins, want %d; %d snapshot records of parked sockets", len(begins), n, len(snapshots))
	}
	for _, e := range begins {
		if e.Reason != event.LateFin || e.Cookie == 0 {
			t.Errorf("begin by %v of %x, want late_fin", e.Reason, e.Cookie)
		}
	}
	if len(h.adopted) != n || totals.TimeWait != n || totals.Parked != 0 {
		t.Errorf("%d adopted; %d in TIME_WAIT and %d parked at the end, want %d and 0", len(h.adopted), totals.TimeWait, totals.Parked, n)
	}
}

// TestOwnerOfSnapshot has no owner for a socket from before, unless one process alone
// connects to the same destination.
func TestOwnerOfSnapshot(t *testing.T) {
	requireOwners(t)
	const n = 3
	l, home := listen(t), here(t)
	for range n {
		closedFirst(t, l)
	}
	check := func(what string, h *fakeHooks, pid uint32, by event.OwnerFrom) {
		t.Helper()
		all, _ := recordsOf(t, l, h, func() {})
		snapshots := only(all, event.Snapshot)
		if len(snapshots) != n {
			t.Errorf("%s: %d snapshots, want %d", what, len(snapshots), n)
		}
		for _, e := range snapshots {
			if e.Process.PID != pid || e.Owner != by {
				t.Errorf("%s: owner %+v by %v, want %d by %v", what, e.Process, e.Owner, pid, by)
			}
		}
	}
	check("nobody connects to it", &fakeHooks{}, 0, event.OwnerNone)
	dial(t, l)
	check("this process alone does", &fakeHooks{}, uint32(os.Getpid()), event.Inferred)
	another := event.Event{Time: time.Now().UnixNano(), Kind: event.Open, NetNS: home.Inum, Cookie: 1 << 60, Role: event.Client,
		Local: addrOf(l), Remote: addrOf(l), Opener: event.Proc{PID: 1 << 21, Comm: "another"}}
	check("another process does too", &fakeHooks{ring: []event.Event{another}}, 0, event.OwnerNone)
}

// TestStalledConsumer has sockets enter TIME_WAIT whose events are lost: the losses are
// counted, and one comparison later the table has the sockets, each once.
func TestStalledConsumer(t *testing.T) {
	const n = 3
	l, h := listen(t), &fakeHooks{}
	o := toward(t, l)
	trace := newTrace(o)
	trace.limits.refresh()
	trace.attached(h)
	s, err := session.New(trace, session.Options{Filter: o.Tracer.Filter})
	must(t, err)
	defer s.Close()
	missed := make(map[uint64]int)
	for range n {
		missed[closedFirst(t, l)] = 0
	}
	h.account.Lost = map[event.Stage]uint64{event.StageRing: 2 * n}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	lost, compared := uint64(0), false
	trace.Reconcile()
	must(t, s.Run(ctx, func(e *event.Event) error {
		switch e.Kind {
		case event.Lost:
			lost += e.Count
		case event.Snapshot:
			missed[e.Cookie]++
		}
		return nil
	}, func() error {
		if !trace.Reconciling() && !compared {
			compared = true
			trace.Reconcile() // a second one finds nothing
		} else if !trace.Reconciling() {
			s.Stop("test")
		}
		return nil
	}))
	for cookie, times := range missed {
		if times != 1 || s.Table().StateOf(cookie) != event.TimeWait {
			t.Errorf("%x was found %d times, and is in %v", cookie, times, s.Table().StateOf(cookie))
		}
	}
	totals := s.Table().Totals()
	if len(missed) != n || lost != 2*n || totals.Lost[event.StageRing] != lost || totals.TimeWait != n {
		t.Errorf("%d sockets, %d lost; the table has %d and %d", len(missed), lost, totals.TimeWait, totals.Lost[event.StageRing])
	}
}
