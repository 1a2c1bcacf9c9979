package live

import (
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twtrace/twtrace/internal/event"
	"github.com/twtrace/twtrace/internal/kernel"
)

// TestSweep has connections of every sort in the owner table. Forgotten is only what two
// dumps in a row do not show, of a namespace that both have read whole, and what is older
// than the first.
func TestSweep(t *testing.T) {
	const unread, open, gone, young, elsewhere, calling, called, back = testNetNS + 1, 1, 2, 3, 4, 5, 6, 7
	begin := time.Unix(1000, 0)
	ago := func(d time.Duration) int64 { return begin.Add(-d).UnixNano() }
	h := &fakeHooks{owned: map[uint64]fakeOwned{
		open: {testNetNS, ago(time.Hour)}, gone: {testNetNS, ago(time.Second)}, young: {testNetNS, ago(-time.Second)},
		elsewhere: {unread, ago(time.Hour)}, calling: {0, ago(time.Minute)}, called: {0, ago(time.Hour)},
		back: {testNetNS, ago(time.Hour)},
	}}
	s := idleTrace()
	s.tracer = h
	full := func(at time.Time, sockets ...uint64) *dump {
		d := dumpAt(at)
		for _, cookie := range sockets {
			d.sockets = append(d.sockets, shown(cookie, event.Established, kernel.TimerNone))
		}
		d.connecting = []uint64{calling}
		d.shown = d.identities()
		return d
	}
	suspects := func(d *dump, want ...uint64) {
		t.Helper()
		swept := s.sweep(d, s.sweeper.suspects)
		s.noteSweep(&swept)
		if got := slices.Sorted(maps.Keys(s.sweeper.suspects)); !slices.Equal(got, want) || swept.err != nil {
			t.Errorf("suspected: %d, want %d (%v)", got, want, swept.err)
		}
	}
	partial := full(begin, open)
	partial.whole[testNetNS], partial.listed[unread] = false, ""
	suspects(partial)
	suspects(full(begin, open), gone, called, back)
	if s.sweeper.due.After(time.Now()) || len(h.disowned) != 0 {
		t.Errorf("the next is due at %v; forgotten at the first sight: %d", s.sweeper.due, h.disowned)
	}
	suspects(full(begin.Add(time.Second/2), open, back))
	slices.Sort(h.disowned)
	if !slices.Equal(h.disowned, []uint64{gone, called}) || s.sweeper.forgotten != 2 || s.sweeper.owned != len(h.owned)-2 {
		t.Errorf("forgotten: %d (%d), want %d; %d stay", h.disowned, s.sweeper.forgotten, []uint64{gone, called}, s.sweeper.owned)
	}
	if time.Until(s.sweeper.due) < sweepEvery-time.Minute {
		t.Errorf("the next is due at %v", s.sweeper.due)
	}
	h.unowned = errFake
	if swept := s.sweep(full(begin), nil); swept.err != errFake {
		t.Errorf("an error of the table: %v", swept.err)
	}
}

// TestSweepIsDue: a dump of all sockets sweeps, when it is time to, and what it finds has
// another one follow soon.
func TestSweepIsDue(t *testing.T) {
	l := listen(t)
	client, _ := dial(t, l)
	there, old := cookieOf(t, client), time.Now().Add(-time.Hour).UnixNano()
	h := &fakeHooks{owned: map[uint64]fakeOwned{1 << 40: {here(t).Inum, old}, there: {here(t).Inum, old}}}
	s := begin(t, Options{}, h)
	s.waiters.due = time.Now().Add(time.Hour)
	compare := func() {
		t.Helper()
		s.Reconcile()
		drive(t, s, "the table is compared", func() bool { return !s.Reconciling() })
	}
	if compare(); len(s.sweeper.suspects) != 0 {
		t.Errorf("swept before it was due: %d", s.sweeper.suspects)
	}
	s.sweeper.due = time.Now()
	if compare(); len(s.sweeper.suspects) != 1 || time.Until(s.reconcile.due) > max(repairEvery, dumpShare*s.reconcile.took) {
		t.Errorf("%d suspects, the next dump in %v", len(s.sweeper.suspects), time.Until(s.reconcile.due))
	}
	if compare(); !slices.Equal(h.disowned, []uint64{1 << 40}) {
		t.Errorf("forgotten: %d", h.disowned)
	}
	if got := s.Remarks(time.Now()); !slices.ContainsFunc(got, func(w string) bool { return strings.HasPrefix(w, "1 connections forgotten") }) {
		t.Errorf("remarks %q", got)
	}
}
