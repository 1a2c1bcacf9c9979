package conn

import (
	"testing"
	"time"
)

func TestHist(t *testing.T) {
	var h Hist
	if _, ok := h.Quantile(0.5); ok {
		t.Error("an empty histogram has a median")
	}
	for i := range 100_000 { // halves on the way
		h.Add(time.Duration(i+1) * 10 * time.Microsecond)
	}
	for _, q := range []float64{0.5, 0.99} {
		want := time.Duration(q * float64(time.Second))
		got, ok := h.Quantile(q)
		if !ok || got < want*90/100 || got > want*110/100 {
			t.Errorf("quantile %v is %v, want about %v", q, got, want)
		}
	}
	var one Hist
	one.Add(3100 * time.Microsecond)
	if d, _ := one.Quantile(0.5); d < 2700*time.Microsecond || d > 3600*time.Microsecond {
		t.Errorf("the median of 3.1ms alone is %v", d)
	}
	for i := range 3 {
		m := h
		m.Merge(&h)
		a, _ := h.Quantile(0.25 * float64(i+1))
		b, _ := m.Quantile(0.25 * float64(i+1))
		if b < a*98/100 || b > a*102/100 {
			t.Errorf("merged with itself: %v, was %v", b, a)
		}
	}
	for i := 1; i < histBuckets-1; i++ {
		low, next := histLowest(i), histLowest(i+1)
		if histBucket(low) != i || histBucket(next-1) != i || low >= next {
			t.Fatalf("bucket %d is %d to %d; %d, %d", i, low, next, histBucket(low), histBucket(next-1))
		}
	}
	if histBucket(0) != 0 || histBucket(1<<histLow-1) != 0 || histBucket(1<<62) != histBuckets-1 {
		t.Error("the ends of the range")
	}
}

func TestHistShare(t *testing.T) {
	var h Hist
	if got := h.Share(time.Second); got != 0 {
		t.Errorf("of no lifetimes %v are short", got)
	}
	for _, d := range []time.Duration{time.Microsecond, time.Millisecond, time.Minute, time.Hour} {
		h.Add(d)
	}
	for _, tt := range []struct {
		d    time.Duration
		want float64
	}{{time.Nanosecond, 0}, {10 * time.Millisecond, 0.5}, {time.Second, 0.5}, {10 * time.Minute, 0.75}, {2 * time.Hour, 1}} {
		if got := h.Share(tt.d); got < tt.want-0.001 || got > tt.want+0.001 {
			t.Errorf("%v of the lifetimes are at most %v, want %v", got, tt.d, tt.want)
		}
	}
}

func TestHistBars(t *testing.T) {
	var h Hist
	if bars := h.Bars(8); bars != nil {
		t.Errorf("bars of nothing: %v", bars)
	}
	var want uint64
	for d := time.Duration(1); d < time.Hour; d *= 3 {
		h.Add(d)
		want++
	}
	for _, limit := range []int{1, 2, 8, 100} {
		bars := h.Bars(limit)
		var n uint64
		for i, b := range bars {
			n += b.N
			if i > 0 && b.From != bars[i-1].To {
				t.Errorf("a gap: %v, %v", bars[i-1], b)
			}
		}
		if n != want || len(bars) > limit {
			t.Errorf("%d bars of %d for %d, at most %d", len(bars), n, want, limit)
		}
		if last := bars[len(bars)-1]; last.To != 0 {
			t.Errorf("of at most %d bars the last one, with 41 min, ends at %v", limit, last.To)
		}
	}
}
