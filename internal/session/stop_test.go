package session_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twtrace/twtrace/internal/event"
	"github.com/twtrace/twtrace/internal/session"
	"github.com/twtrace/twtrace/internal/session/sessiontest"
)

// TestStop: the first reason stays, and the source is finished once.
func TestStop(t *testing.T) {
	src := &sessiontest.Source{From: start, Until: start.Add(time.Hour), Last: &event.EndInfo{Births: 7}}
	s := newSession(t, src, session.Options{})
	if s.Stopping() {
		t.Error("it stops at once")
	}
	n := 0
	if err := s.Run(t.Context(), nil, func() error {
		if n++; n == 3 {
			s.Stop("pipe")
			s.Stop("signal")
		}
		return nil
	}); err != nil || n != 3 || !s.Stopping() {
		t.Errorf("%v after %d idle calls, want the end after 3", err, n)
	}
	end, err := s.EndRecord()
	if err != nil || end.Kind != event.End || end.End.Why != "pipe" || end.End.Births != 7 {
		t.Errorf("the end is %+v, %v", end, err)
	}
}

func TestStopOn(t *testing.T) {
	source := func() *sessiontest.Source { return &sessiontest.Source{Last: &event.EndInfo{}} }
	why := func(s *session.Session) string {
		end, err := s.EndRecord()
		if err != nil {
			t.Fatal(err)
		}
		return end.End.Why
	}
	t.Run("context", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s := newSession(t, source(), session.Options{})
			ctx, cancel := context.WithCancel(t.Context())
			defer s.StopOn(ctx, time.Hour)()
			synctest.Wait()
			if s.Stopping() {
				t.Error("it stops at once")
			}
			cancel()
			synctest.Wait()
			if !s.Stopping() || why(s) != "signal" {
				t.Errorf("stopping %v, by %q", s.Stopping(), why(s))
			}
		})
	})
	t.Run("duration", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s := newSession(t, source(), session.Options{})
			defer s.StopOn(t.Context(), time.Minute)()
			time.Sleep(time.Minute - time.Nanosecond) // of the bubble's clock
			synctest.Wait()
			if s.Stopping() {
				t.Error("it stops early")
			}
			time.Sleep(time.Nanosecond)
			synctest.Wait()
			if !s.Stopping() || why(s) != "duration" {
				t.Errorf("stopping %v, by %q", s.Stopping(), why(s))
			}
		})
	})
	t.Run("released", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s := newSession(t, source(), session.Options{})
			ctx, cancel := context.WithCancel(t.Context())
			s.StopOn(ctx, time.Minute)()
			s.StopOn(ctx, 0)() // no limit
			synctest.Wait()
			cancel()
			time.Sleep(time.Hour)
			if s.Stopping() {
				t.Error("it stops though nobody watches")
			}
		})
	})
}

// TestVerdict: damage first; then, if strict, what was lost, and where the kernel
// counted something else, but for namespaces that are not traced.
func TestVerdict(t *testing.T) {
	source := func() *sessiontest.Source {
		return &sessiontest.Source{From: start, Names: map[uint32]string{7: "web"}, Only: []uint32{7, 9},
			Drifted: []event.Drift{{NetNS: 8, Births: 1}, {NetNS: 7, Alive: -2}},
			AtEnd:   []event.Event{{Kind: event.Lost, Stage: event.StageRing, Count: 5}}}
	}
	s := newSession(t, source(), session.Options{})
	if err := s.Verdict(t.Context(), false); err != nil || s.Stopping() {
		t.Errorf("not strict: %v, stopped %v", err, s.Stopping())
	}
	var loss *session.LossError
	want := "events were lost: 5 (ring); try a larger --buffer or --max-conns; in web the kernel counts 2 fewer TIME_WAIT sockets"
	if err := s.Verdict(t.Context(), true); !errors.As(err, &loss) || err.Error() != want {
		t.Errorf("strict: %v, want %q", err, want)
	}
	if got := s.TracedDrift(); len(got) != 1 || len(s.Drift()) != 2 {
		t.Errorf("traced %v of %v", got, s.Drift())
	}
	if err := newSession(t, &sessiontest.Source{}, session.Options{}).Verdict(t.Context(), true); err != nil {
		t.Errorf("nothing wrong, and %v", err)
	}
	flaw := errors.New("torn")
	for _, strict := range []bool{false, true} {
		src := source()
		src.Flaw = flaw
		if err := newSession(t, src, session.Options{}).Verdict(t.Context(), strict); err != flaw {
			t.Errorf("strict %v: %v, want %v", strict, err, flaw)
		}
	}
	src := source()
	src.Fail = flaw
	if err := newSession(t, src, session.Options{}).Verdict(t.Context(), true); err != flaw {
		t.Errorf("%v, want %v", err, flaw)
	}
}

// TestOwnersKnownIn: the screen says when every owner is known, if there are sockets
// whose owner is not.
func TestOwnersKnownIn(t *testing.T) {
	src := &sessiontest.Source{From: start}
	s := newSession(t, src, session.Options{})
	if got := s.Remarks(start); len(got) != 0 {
		t.Errorf("remarks %q with no socket from before", got)
	}
	src.Owners = start.Add(62 * time.Second)
	for after, want := range map[time.Duration]string{0: "owners known in 62s", 21 * time.Second: "owners known in 41s",
		20*time.Second + 1: "owners known in 42s", 62*time.Second - 1: "owners known in 1s"} {
		if got := s.Remarks(start.Add(after)); len(got) != 1 || got[0] != want {
			t.Errorf("after %v: %q, want %q", after, got, want)
		}
	}
	if got := s.Remarks(src.Owners); len(got) != 0 {
		t.Errorf("remarks %q when all are known", got)
	}
}

// TestDriftOnScreen: the screen says by how much counts differ, where that is traced,
// and what the source has to say.
func TestDriftOnScreen(t *testing.T) {
	src := &sessiontest.Source{Drifted: []event.Drift{{NetNS: 7, Births: 3}}}
	s := newSession(t, src, session.Options{})
	if got := s.Remarks(start); len(got) != 1 || got[0] != "in netns 7 the kernel counts 3 more TIME_WAIT starts" {
		t.Errorf("remarks %q", got)
	}
	src.Names, src.Says = map[uint32]string{7: "web"}, []string{"reconciled"}
	src.Owners = start.Add(time.Second)
	if got, want := s.Remarks(start), []string{"owners known in 1s", "in web the kernel counts 3 more TIME_WAIT starts", "reconciled"}; !slices.Equal(got, want) {
		t.Errorf("remarks %q, want %q", got, want)
	}
	if got, want := s.Remarks(start.Add(time.Minute)), []string{"reconciled"}; !slices.Equal(got, want) {
		t.Errorf("a minute later %q, want %q", got, want)
	}
	src.Only = []uint32{8}
	if got, want := s.Remarks(start.Add(time.Minute)), []string{"reconciled"}; !slices.Equal(got, want) {
		t.Errorf("remarks %q, want %q", got, want)
	}
}
