package recorder

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twtrace/twtrace/internal/event"
	"github.com/twtrace/twtrace/internal/session"
	"github.com/twtrace/twtrace/internal/session/sessiontest"
)

// demanded is a session that a recording on demand is attached to. Its files are in a
// directory of their own.
func demanded(t *testing.T, src session.Source) (*OnDemand, *session.Session) {
	t.Helper()
	t.Chdir(t.TempDir())
	d := NewOnDemand()
	s, _ := open(t, src, session.Options{Witness: d.Witness})
	d.Attach(s)
	return d, s
}

// TestOnDemand: a recording that starts while a trace runs has what is there then, and
// what comes until it is stopped; its end record is of that time alone.
func TestOnDemand(t *testing.T) {
	src := source(6)
	early := about(event.TimeWaitEnter, 90, 0)
	src.Events = append([]event.Event{early}, src.Events...)
	parked, promoted := about(event.Parked, 80, time.Second), about(event.TimeWaitEnter, 80, 1100*time.Millisecond)
	promoted.Reason = event.LateFin
	expired, gone := about(event.TimeWaitExit, 1, 1200*time.Millisecond), about(event.TimeWaitExit, 2, 1300*time.Millisecond)
	expired.Reason = event.Expired
	refused := about(event.TimeWaitRefused, 81, 1400*time.Millisecond)
	late := about(event.TimeWaitEnter, 82, 2*time.Second)
	src.Events = append(src.Events, parked, promoted, expired, gone, refused, late)
	src.Before = []event.Event{fact(event.Established, 40)}
	src.Last = &event.EndInfo{Why: "?", Births: 99, Alive: 5, Late: 1, Drift: []event.Drift{{NetNS: 7, Births: 1}},
		Unnamed: map[string]uint64{"gone": 3}, Ends: map[string]uint64{"expired": 88}}
	d, s := demanded(t, src)

	var path string
	n := 0
	each := func(e *event.Event) error {
		if d.Add(e); n == 0 { // in the middle of a trace
			var err error
			path, err = d.start(start.Add(10 * time.Second))
			must(t, err)
			if _, err := d.start(start); err == nil || err.Error() != "already recording" {
				t.Errorf("started twice: %v", err)
			}
			src.Found = []event.Event{{Time: e.Time, Kind: event.Lost, Stage: event.StageRing, Count: 4}}
		}
		if n++; e.Cookie == refused.Cookie {
			d.Answer()
			if got := d.State(); got.Path != path || got.Records == 0 || got.Bytes == 0 || got.Failed != "" {
				t.Errorf("state %+v of %s", got, path)
			}
			stopped, err := d.stop("stopped")
			if err != nil || stopped != path {
				t.Errorf("stopped %s, %v", stopped, err)
			}
			if _, err := d.stop("stopped"); err == nil || err.Error() != "not recording" {
				t.Errorf("stopped twice: %v", err)
			}
		}
		return nil
	}
	must(t, s.Run(t.Context(), each, func() error { return nil }))
	want, err := os.Getwd()
	must(t, err)
	if want = filepath.Join(want, "twtrace-20261122-221417.ndjson.zst"); path != want {
		t.Errorf("%s, want %s", path, want)
	}
	var said said
	must(t, d.Close(said.talk))
	events, limits, end := read(t, path)
	if len(said) != 1 || said[0] != fmt.Sprintf("recorded to %s: %d records", path, len(events)+2) {
		t.Errorf("it said %q, of %d records", said, len(events))
	}
	before := cookies(events, event.Snapshot)
	slices.Sort(before)
	if !slices.Equal(before, []uint64{40, 90}) || len(limits) != 1 {
		t.Errorf("from before: %v; limits %v", before, limits)
	}
	for _, e := range events {
		if e.Cookie == 90 && (e.New != event.TimeWait || e.Remaining != int64(50*time.Second)) {
			t.Errorf("the one that was in TIME_WAIT for 10 s: %+v", e)
		}
	}
	if got := cookies(events, event.TimeWaitEnter); !slices.Equal(got, []uint64{1, 2, 3, 4, 5, 6, 80}) {
		t.Errorf("starts of %v", got)
	}
	if end == nil {
		t.Fatal("no end")
	}
	got := end.End
	if got.Why != "stopped" || got.Births != 7 || got.Parked != 1 || got.Promoted != 1 || got.Begins != 7 || got.Refused != 1 ||
		got.Alive != 5 || got.Late != 1 || len(got.Drift) != 1 ||
		!maps.Equal(got.Ends, map[string]uint64{"expired": 1, "unknown": 1}) || !maps.Equal(got.Lost, map[string]uint64{"ring": 4}) || got.Unnamed["gone"] != 3 {
		t.Errorf("end %+v", got)
	}
}

// TestOnDemandOfAnother: any goroutine may ask, while the session is read, and is
// answered when that is over too.
func TestOnDemandOfAnother(t *testing.T) {
	d, _ := demanded(t, source(1))
	type answer struct {
		path string
		err  error
	}
	ask := func(on bool) answer {
		answers := make(chan answer, 1)
		go func() {
			path, err := d.Record(on)
			answers <- answer{path, err}
		}()
		for {
			d.Answer()
			select {
			case a := <-answers:
				return a
			default:
			}
		}
	}
	first := ask(true)
	if first.err != nil || d.State().Path != first.path {
		t.Errorf("started %+v", first)
	}
	if got := ask(true); got.err == nil || got.path != "" {
		t.Errorf("started again: %+v", got)
	}
	if got := ask(false); got.err != nil || got.path != first.path {
		t.Errorf("stopped %+v", got)
	}
	if got := ask(false); got.err == nil {
		t.Errorf("stopped again: %+v", got)
	}
	second := ask(true)
	if second.err != nil || second.path == first.path {
		t.Errorf("started another: %+v", second)
	}
	var said said
	must(t, d.Close(said.talk))
	if len(said) != 2 || !strings.Contains(said[0], first.path) || !strings.Contains(said[1], second.path) {
		t.Errorf("it said %q", said)
	}
	if _, _, end := read(t, second.path); end == nil || end.End.Why != "quit" {
		t.Errorf("end %+v", end)
	}
	if _, err := d.Record(true); err == nil || err.Error() != "the trace has ended" {
		t.Errorf("after the end: %v", err)
	}
}

// TestOnDemandNames: recordings that start in one second have names of their own, as long
// as there are any.
func TestOnDemandNames(t *testing.T) {
	d, _ := demanded(t, source(0))
	seen := make(map[string]bool)
	for i := range maxNames {
		path, err := d.start(start)
		must(t, err)
		if seen[path] {
			t.Fatalf("%s is the name of two", path)
		}
		seen[path] = true
		if want := map[int]string{0: "twtrace-20261122-221407.ndjson.zst", 7: "twtrace-20261122-221407-7.ndjson.zst"}[i]; want != "" && filepath.Base(path) != want {
			t.Errorf("%s, want %s", path, want)
		}
		_, err = d.stop("stopped")
		must(t, err)
	}
	if _, err := d.start(start); !errors.Is(err, os.ErrExist) || d.current != nil {
		t.Errorf("one more: %v", err)
	}
}

// TestOnDemandFails: a recording that cannot go on ends, and the trace does not.
func TestOnDemandFails(t *testing.T) {
	d, s := demanded(t, source(1))
	path, err := d.start(start)
	must(t, err)
	e := about(event.TimeWaitEnter, 1, 0)
	d.current.w.Close(nil) // the file is gone for it
	d.check(errFake)
	d.Add(&e)
	d.Answer()
	d.Witness(&e)
	if got := d.State(); got.Path != path || got.Failed != errFake.Error() || d.current != nil {
		t.Errorf("state %+v", got)
	}
	if _, err := d.stop("stopped"); err == nil {
		t.Error("it could be stopped")
	}
	// Another one is a new one.
	again, err := d.start(start.Add(time.Second))
	if err != nil || d.State().Failed != "" || d.State().Path != again {
		t.Errorf("%v, %+v", err, d.State())
	}
	must(t, s.Run(t.Context(), func(*event.Event) error { return nil }, func() error { return nil }))
	var said said
	must(t, d.Close(said.talk))
	if len(said) != 2 || said[0] != path+": "+errFake.Error() {
		t.Errorf("it said %q", said)
	}
}

// TestOnDemandErrors: what the session cannot say is an error, and leaves no recording.
func TestOnDemandErrors(t *testing.T) {
	t.Run("start", func(t *testing.T) {
		d, _ := demanded(t, broken{source(0), errFake, nil})
		if _, err := d.start(start); !errors.Is(err, errFake) || d.current != nil {
			t.Errorf("%v", err)
		}
	})
	t.Run("end", func(t *testing.T) {
		d, _ := demanded(t, broken{source(0), nil, errFake})
		path, err := d.start(start)
		must(t, err)
		var said said
		if err := d.Close(said.talk); !errors.Is(err, errFake) || !strings.HasPrefix(err.Error(), "recording: ") || len(said) != 0 {
			t.Errorf("%v; it said %q", err, said)
		}
		if _, _, end := read(t, path); end != nil {
			t.Errorf("end %+v", end)
		}
	})
	t.Run("no end", func(t *testing.T) {
		src := source(0)
		src.Last = nil
		d, _ := demanded(t, src)
		path, err := d.start(start)
		must(t, err)
		e := about(event.TimeWaitEnter, 1, 0)
		d.Witness(&e)
		_, err = d.stop("stopped")
		must(t, err)
		if _, _, end := read(t, path); end == nil || end.End.Why != "stopped" || end.End.Begins != 1 {
			t.Errorf("end %+v", end)
		}
	})
	t.Run("directory", func(t *testing.T) {
		d, _ := demanded(t, source(0))
		dir, err := os.Getwd()
		must(t, err)
		must(t, os.Remove(dir))
		if path, err := d.start(start); err == nil {
			t.Errorf("it is at %s", path)
		}
	})
}

var _ session.Source = broken{Source: (*sessiontest.Source)(nil)}
