package report

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/twtrace/twtrace/internal/event"
)

// TestTimelineIsBounded: however long a recording is, there are no more steps, and
// every event is in one of them.
func TestTimelineIsBounded(t *testing.T) {
	for _, long := range []time.Duration{0, time.Second, 17 * time.Minute, 26 * time.Hour, 300 * 24 * time.Hour} {
		r := rand.New(rand.NewPCG(1, uint64(long)))
		line := newTimeline(begin)
		const n = 10_000
		for i := range int64(n) {
			at := begin + int64(long)/n*i + r.Int64N(int64(time.Second)) - int64(time.Second)/2 // a little out of order
			line.at(at).count(&event.Event{Kind: event.Open})
			s := line.at(at)
			s.timeWait = max(s.timeWait, uint64(i))
		}
		s := line.series()
		if len(s.Time) > maxSteps || long > maxSteps*time.Second && len(s.Time) < maxSteps/2-1 {
			t.Errorf("%v: %d steps", long, len(s.Time))
		}
		var sum, most uint64
		for i := range s.Opened {
			sum += s.Opened[i]
			most = max(most, s.TimeWait[i])
		}
		if sum != n || most != n-1 {
			t.Errorf("%v: %d events, and at the most %d; want %d and %d", long, sum, most, n, n-1)
		}
		if end := s.end() - s.Time[0]; end < long.Seconds()*(n-1)/n-1 {
			t.Errorf("%v: the steps end after %v s", long, end)
		}
	}
}

// TestRates: the last step is as long as there is something in it, and has no rate
// if that is too short to tell one.
func TestRates(t *testing.T) {
	for _, tt := range []struct {
		last time.Duration
		want float64
	}{{time.Second, 10}, {500 * time.Millisecond, 20}, {100 * time.Millisecond, math.NaN()}} {
		line := newTimeline(begin)
		line.at(begin).opened = 30
		line.at(begin + second).opened = 10
		line.at(begin + second + int64(tt.last) - 1)
		s := line.series()
		got := s.rates(s.Opened)
		if got[0] != 30 || math.Abs(got[1]-tt.want) > 0.001 || math.IsNaN(got[1]) != math.IsNaN(tt.want) {
			t.Errorf("last step of %v: %v, want 30 and %v", tt.last, got, tt.want)
		}
		if p := s.peakOf(got); p.Value != 30 || p.At != stamp(begin) {
			t.Errorf("peak %+v", p)
		}
	}
}

func TestLives(t *testing.T) {
	var l lives
	r := rand.New(rand.NewPCG(2, 3))
	const n = 100_000
	for range n {
		l.add(int64(math.Exp(r.Float64()*15+5)), r.IntN(3) == 0) // from 150 ns to 8 minutes
	}
	got := l.report()
	if got.Known != n {
		t.Errorf("%d known, want %d", got.Known, n)
	}
	for q, have := range map[float64]*int64{0.5: got.P50, 0.9: got.P90, 0.99: got.P99} {
		want := math.Exp(q*15 + 5)
		if off := float64(*have)/want - 1; math.Abs(off) > 0.1 {
			t.Errorf("quantile %v is %d, want %.0f", q, *have, want)
		}
	}
	var sum uint64
	for i, b := range got.Bars {
		sum += b.Client + b.Other
		if i > 0 && b.From != got.Bars[i-1].To {
			t.Errorf("bar %d begins at %d, the one before ends at %d", i, b.From, got.Bars[i-1].To)
		}
	}
	if sum != n {
		t.Errorf("%d in the bars, want %d", sum, n)
	}
	l = lives{}
	l.add(int64(time.Second), true)
	l.add(int64(time.Hour), false)
	bars := l.report().Bars
	if first, last := bars[0], bars[len(bars)-1]; first.Client != 1 || first.Other != 0 || last.To != 0 || last.Client != 0 || last.Other != 1 {
		t.Errorf("bars of 1 s and 1 h: %+v", bars)
	}
	if l = (lives{}); l.report().P50 != nil {
		t.Error("of no lifetime half are known")
	}
}

func TestTimeTicks(t *testing.T) {
	for _, long := range []float64{1, 9, 61, 999, 86400, 1e7} {
		ticks := timeTicks(1795385647.25, 1795385647.25+long, 3600)
		if len(ticks) == 0 && long > 1 || len(ticks) > maxTicks+1 {
			t.Errorf("%v s: %d ticks", long, len(ticks))
		}
	}
}
