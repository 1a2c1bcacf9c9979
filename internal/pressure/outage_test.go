package pressure

import (
	"testing"
	"time"

	"github.com/twtrace/twtrace/internal/event"
)

// TestEverythingFails: demand is what is opened and what is refused; a forecast by it
// stays, and nothing gets better because all calls fail.
func TestEverythingFails(t *testing.T) {
	l := ordinary()
	l.Usable = 2000
	w, m := world(l, to(there, 80, time.Millisecond))
	v := watch(w, m, 3*time.Minute, thatWay)
	first := w.FirstAt[there]
	if first == 0 {
		t.Fatal("nothing failed")
	}
	for i, g := range v.gauges {
		at := time.Duration(i+1) * time.Second
		if at < 10*time.Second {
			continue
		}
		if g.Demand < 78 || g.Demand > 82 || g.Steady < 4800 || g.Severity != event.Crit {
			t.Fatalf("after %v: %+v", at, g)
		}
		if g.MaxRate < 32 || g.MaxRate > 34 {
			t.Errorf("after %v: at most %.1f/s fit", at, g.MaxRate)
		}
		if lasts := g.Outage.Lasts(); lasts != (at > first) {
			t.Errorf("after %v: outage %+v, the first failure came after %v", at, g.Outage, first)
		}
	}
	if last := v.gauges[len(v.gauges)-1]; last.Outage.Refused != uint64(w.Failed[there]) {
		t.Errorf("%d refused, want %d", last.Outage.Refused, w.Failed[there])
	}
}

// TestResolved: what was refused is remembered for a minute after it is over, and no longer.
func TestResolved(t *testing.T) {
	l := ordinary()
	l.Usable = 1000
	c := to(there, 0, time.Millisecond)
	c.Rate = func(t time.Duration) float64 {
		if t < 30*time.Second {
			return 100
		}
		return 0
	}
	w, m := world(l, c)
	v := watch(w, m, 3*time.Minute, thatWay)
	first, ended := w.FirstAt[there], time.Duration(0)
	for i, g := range v.gauges {
		at := time.Duration(i+1) * time.Second
		switch {
		case g.Outage.Over() && ended == 0:
			ended = at
			length := g.Outage.Length(0)
			// The first ports come free 61 s after the first connections.
			if want := 61*time.Second - first; length < want-2*time.Second || length > want+2*time.Second {
				t.Errorf("it lasted %v, want about %v", length, want)
			}
			if g.Severity == event.Crit {
				t.Errorf("after %v: %+v", at, g)
			}
		case ended > 0 && at < ended+50*time.Second && !g.Outage.Over():
			t.Errorf("after %v: forgotten, it ended after %v", at, ended)
		}
	}
	if ended < 60*time.Second || ended > 65*time.Second {
		t.Errorf("it ended after %v", ended)
	}
	if last := v.gauges[len(v.gauges)-1]; last.Outage != (Outage{}) {
		t.Errorf("%+v", last.Outage)
	}
}
