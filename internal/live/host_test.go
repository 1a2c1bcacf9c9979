package live

import (
	"errors"
	"io/fs"
	"os"
	"testing"
	"time"

	"github.com/twtrace/twtrace/internal/event"
	"github.com/twtrace/twtrace/internal/filter"
	"github.com/twtrace/twtrace/internal/kernel"
	"github.com/twtrace/twtrace/internal/tracer"
)

// TestLimits reads the limits of all namespaces, and again after five seconds, or after
// one if somebody asked for a namespace that is not known.
func TestLimits(t *testing.T) {
	s := attach(Options{}, &fakeHooks{})
	defer s.Close()
	home := here(t)
	want, err := home.Limits()
	must(t, err)
	if got, ok := s.Limits(home.Inum); !ok || got != want || s.limits.missed {
		t.Errorf("limits %+v, %v; want %+v", got, ok, want)
	}
	if ns, got, ok := s.Space(home.Inum); !ok || got != want || ns.Inum != home.Inum {
		t.Errorf("space %v, %+v, %v", ns, got, ok)
	}
	all, read := s.AllLimits()
	if all[home.Inum] != want || time.Since(read) > patience {
		t.Errorf("all limits %+v, read at %v", all, read)
	}
	for _, tt := range []struct {
		name string
		age  time.Duration
		ask  bool
		want bool // read again
	}{
		{"young", limitsAgain / 2, true, false},
		{"middle-aged", limitsAge / 2, false, false},
		{"middle-aged, and one is missing", limitsAge / 2, true, true},
		{"old", limitsAge, false, true},
	} {
		before := time.Now().Add(-tt.age)
		s.limits.read, s.limits.missed = before, false
		if tt.ask {
			if _, ok := s.Limits(1); ok {
				t.Fatal("namespace 1 has limits")
			}
		}
		must(t, s.Tend(true, ignore))
		if got := !s.limits.read.Equal(before); got != tt.want {
			t.Errorf("%s: read again: %v, want %v", tt.name, got, tt.want)
		}
	}
	s.limits.read = time.Now().Add(-limitsAge / 2)
	before := s.limits.read
	if s.RefreshLimits(); s.limits.read.Equal(before) {
		t.Error("not read again when asked for")
	}
}

// TestTraces has the filter of the namespaces decide, and the rest of it not.
func TestTraces(t *testing.T) {
	f := &filter.Filter{Family: 6, NetNS: filter.Set[uint32]{Items: []uint32{7}}}
	s := attach(Options{Tracer: tracer.Options{Filter: f}}, &fakeHooks{})
	defer s.Close()
	if !s.Traces(7) || s.Traces(8) {
		t.Errorf("traces 7: %v, 8: %v", s.Traces(7), s.Traces(8))
	}
	got := s.traced([]kernel.NetNS{{Inum: 8}, {Inum: 7}, {Inum: 9}})
	if len(got) != 1 || got[0].Inum != 7 {
		t.Errorf("traced: %v", got)
	}
	v4 := shown(1, event.Established, 0)
	if e := v4.event(time.Now()); s.tracesSocket(&e) {
		t.Error("an IPv4 socket is traced")
	}
}

// TestNamed: a namespace that no process is in, and that the user named by a descriptor,
// is one of those there are, if it is there.
func TestNamed(t *testing.T) {
	home := here(t)
	s := attach(Options{Named: []kernel.NetNS{home, {Inum: 1, Name: "gone"}}}, &fakeHooks{})
	defer s.Close()
	list, err := s.namespaces()
	must(t, err)
	n := 0
	for _, ns := range list {
		switch ns.Inum {
		case home.Inum:
			n++
		case 1:
			t.Error("one that is gone is there")
		}
	}
	if n != 1 {
		t.Errorf("its own is there %d times", n)
	}
}

// TestHost asks the kernel about this process.
func TestHost(t *testing.T) {
	s := attach(Options{}, &fakeHooks{})
	defer s.Close()
	pid := uint32(os.Getpid())
	if !s.Runs(pid) || s.Runs(1<<22) {
		t.Errorf("runs: this %v, none %v", s.Runs(pid), s.Runs(1<<22))
	}
	if free, err := s.MemAvailable(); err != nil || free < 1<<20 {
		t.Errorf("%d bytes, %v", free, err)
	}
	c, err := s.Count(here(t))
	if err != nil || c.At.IsZero() {
		t.Errorf("counters %+v, %v", c, err)
	}
	if used, limit, err := s.Descriptors(pid); err != nil || used < 3 || limit < used {
		t.Errorf("%d of %d descriptors, %v", used, limit, err)
	}
	own, ownLimit, err := s.Descriptors(0)
	if err != nil || own < 3 || ownLimit < own {
		t.Errorf("%d of %d descriptors of the host, %v", own, ownLimit, err)
	}
	if _, err := s.SystemTime(pid); err != nil && !errors.Is(err, fs.ErrPermission) {
		t.Errorf("time in the kernel: %v", err)
	}
	if s.Mode() != "LIVE" || s.Storms() || s.Damage() != nil || !s.Shows(&event.Event{}) || time.Since(s.Now()) > patience {
		t.Error("it is not live")
	}
	s.names = map[uint32]string{7: "web"}
	if s.NetNSName(7) != "web" || s.NetNSName(8) != "" {
		t.Errorf("names %q, %q", s.NetNSName(7), s.NetNSName(8))
	}
	s.needs, s.state = []tracer.Requirement{{ID: "TWD001"}}, []tracer.Hook{{Name: "x"}}
	if reqs, hooks, err := s.Check(); len(reqs) != 1 || len(hooks) != 1 || err != nil {
		t.Errorf("%v, %v, %v", reqs, hooks, err)
	}
}
