package storm

import (
	"testing"
	"time"

	"github.com/twtrace/twtrace/internal/conn/conntest"
	"github.com/twtrace/twtrace/internal/event"
)

// critSpans are from when to when storms of ports were crit, by their records.
func (s *scene) critSpans() (spans [][2]time.Duration) {
	crit := false
	for _, e := range s.records {
		at := time.Unix(0, e.Time).Sub(conntest.Start)
		switch is := e.Kind != event.StormEnd && e.Storm.Severity == event.Crit; {
		case is && !crit:
			spans = append(spans, [2]time.Duration{at, 0})
		case crit && !is:
			spans[len(spans)-1][1] = at
		}
		crit = e.Kind != event.StormEnd && e.Storm.Severity == event.Crit
	}
	return spans
}

// resolved are the records that say first that an outage is over.
func (s *scene) resolved() (out []event.Event) {
	before := false
	for _, e := range s.records {
		if e.Storm.Resolved && !before {
			out = append(out, e)
		}
		before = e.Storm.Resolved
	}
	return out
}

// TestOutage: an outage makes a storm crit until it is cured, at once; the record of that
// says how long it lasted.
func TestOutage(t *testing.T) {
	const cure = 45 * time.Second
	s := newScene(Options{}, client("checkout", there, until(80, 2*time.Minute)))
	s.run(cure)
	s.Ports = 60000 // the range is wider
	s.run(2*time.Minute - cure)
	first := s.FirstAt[there]
	spans := s.critSpans()
	if len(spans) != 1 || spans[0][0] > first || spans[0][1] < cure || spans[0][1] > cure+3*time.Second {
		t.Fatalf("crit %v; the first failure came after %v, the cure after %v", spans, first, cure)
	}
	over := s.resolved()
	if len(over) != 1 || over[0].Kind != event.StormUpdate {
		t.Fatalf("%d records say resolved", len(over))
	}
	want := (cure - first).Seconds()
	if v := over[0].Storm; v.Outage < want-1.5 || v.Outage > want+0.5 || v.Severity != event.Warn || int(v.Fails) != s.Failed[there] {
		t.Errorf("%+v, want an outage of %.1f s with %d calls", *v, want, s.Failed[there])
	}
	if last := s.records[len(s.records)-1]; last.Kind != event.StormEnd || !last.Storm.Resolved {
		t.Errorf("%v %+v", last.Kind, last.Storm)
	}
}

// TestDemand: while most calls fail, a storm has the rate that the program wants, not
// the one it gets, and stays crit.
func TestDemand(t *testing.T) {
	s := newScene(Options{}, client("checkout", there, until(80, 5*time.Minute)))
	s.run(5 * time.Minute)
	if spans := s.critSpans(); len(spans) != 1 || spans[0][1] != 0 {
		t.Errorf("crit %v", spans)
	}
	seen := 0
	for _, e := range s.records {
		v := e.Storm
		if at := time.Unix(0, e.Time).Sub(conntest.Start); at < 20*time.Second {
			continue
		}
		seen++
		if v.Demand < 79 || v.Demand > 81 || v.Rate > v.Demand || v.ExhaustsIn != 0 || v.Projected < 4000 || v.Resolved {
			t.Errorf("%+v", *v)
		}
	}
	if seen < 20 {
		t.Errorf("%d records", seen)
	}
}

// TestSlowFailing: a program that fails once every three seconds keeps the storm crit
// while no port is free, with no more records than every ten seconds.
func TestSlowFailing(t *testing.T) {
	for _, hidden := range []int{0, 20} {
		slow := client("api", there, func(at time.Duration) float64 {
			if at > 12*time.Second && at < 55*time.Second {
				return 1. / 3
			}
			return 0
		})
		s := newScene(Options{}, client("bench", there, until(125, 8100*time.Millisecond)), slow)
		s.hidden = hidden
		s.run(50 * time.Second)
		if n := s.Failed[there]; n < 10 {
			t.Fatalf("%d calls failed", n)
		}
		spans := s.critSpans()
		if len(spans) != 1 || spans[0][1] != 0 || len(s.resolved()) != 0 {
			t.Errorf("%d hidden: crit %v, resolved %v", hidden, spans, s.resolved())
		}
		if len(s.records) > 9 {
			t.Errorf("%d hidden: %d records in 50 s", hidden, len(s.records))
		}
		s.run(2 * time.Minute) // the ports of bench come free after 61 s
		spans, over := s.critSpans(), s.resolved()
		if len(spans) != 1 || spans[0][1] < 61*time.Second || spans[0][1] > 65*time.Second {
			t.Errorf("%d hidden: crit %v", hidden, spans)
		}
		if len(over) != 1 || over[0].Storm.Outage < 50 || over[0].Storm.Outage > 62 {
			t.Errorf("%d hidden: resolved %+v", hidden, over)
		}
	}
}

// TestOnAndOff: a load that comes and goes around the limit is one storm, and each of its
// outages ends.
func TestOnAndOff(t *testing.T) {
	s := newScene(Options{}, client("flapper", there, onOff(40, 5*time.Minute)))
	s.run(8 * time.Minute)
	starts, ends := 0, 0
	for _, e := range s.records {
		switch e.Kind {
		case event.StormStart:
			starts++
		case event.StormEnd:
			ends++
		}
	}
	spans := s.critSpans()
	if starts != 1 || ends != 1 || len(spans) == 0 || spans[len(spans)-1][1] == 0 {
		t.Errorf("%d starts, %d ends, crit %v", starts, ends, spans)
	}
	if len(s.resolved()) == 0 {
		t.Error("no outage ended")
	}
}
