package conn

import (
	"testing"
	"time"

	"github.com/twtrace/twtrace/internal/event"
)

func TestIdleResets(t *testing.T) {
	ended := func(cookie uint64, change func(*event.Event)) event.Event {
		return with(at(1, event.Close), func(e *event.Event) {
			e.Cookie, e.Role, e.Closer, e.Idle, e.DataLost = cookie, event.Client, event.RemoteSide, int64(2*time.Second), true
			e.Old, e.New, e.Reason = event.CloseWait, event.Closed, event.ResetReceived
			change(e)
		})
	}
	tab := New(Options{})
	apply(tab,
		ended(1, func(*event.Event) {}),
		ended(2, func(e *event.Event) { e.Old = event.LastAck }),
		ended(3, func(e *event.Event) { e.Idle = int64(IdleClosed) - 1 }), // behind an answer
		ended(4, func(e *event.Event) { e.DataLost = false }),             // by a late close
		ended(5, func(e *event.Event) { e.Old, e.Closer = event.Established, event.SideNone }))
	g := one(t, tab)
	p50, _ := g.Idle.Quantile(0.5)
	if g.IdleResets != 2 || g.DataLost != 4 || p50 < 1800*time.Millisecond || p50 > 2200*time.Millisecond {
		t.Errorf("%d resets of idle connections, %d that lost data, %v idle", g.IdleResets, g.DataLost, p50)
	}
	check(t, tab)
	for _, role := range []event.Role{event.Client, event.Server} { // who closes, is told by its server only
		e := ended(6, func(e *event.Event) { e.Old, e.Closer, e.Reason = event.FinWait2, event.LocalSide, event.ResetSent })
		if got := resetWhenIdle(&e, role); got != (role == event.Server) {
			t.Errorf("%v: %v", role, got)
		}
	}
}

func TestGivenUp(t *testing.T) {
	tab := New(Options{})
	fail := func(waited time.Duration) event.Event {
		return with(at(0, event.Fail), func(e *event.Event) {
			e.Call, e.Cause, e.InState = event.Connect, event.GaveUp, int64(waited)
		})
	}
	apply(tab, fail(time.Second), fail(3*time.Second))
	before := one(t, tab).GivenUp
	apply(tab, fail(0), fail(5*time.Second))
	check(t, tab)
	g := one(t, tab)
	if g.GivenUp.N != 4 || g.GivenUp.Mean() != 3*time.Second || g.Fails.OfCause(event.Connect, 0, event.GaveUp) != 4 {
		t.Errorf("%+v, %+v", g.GivenUp, g.Fails)
	}
	if since := g.GivenUp.Since(before); since.N != 2 || since.Timed != 1 || since.Mean() != 5*time.Second {
		t.Errorf("since then %+v", since)
	}
}
