package conn

import (
	"math/bits"
	"time"
)

// A histogram has four buckets an octave from 1 us (2^10 ns) to 18 min (2^40 ns), so
// that a quantile is right within a tenth.
const (
	histLow     = 10
	histHigh    = 40
	histSub     = 2 // bits
	histBuckets = 2 + (histHigh-histLow)<<histSub
)

// Histogram is a log-linear histogram of lifetimes. When a count is full, all are
// halved, which keeps the shape and makes old values matter less: with 16 bits that
// happens, with 64 never. The zero Histogram is empty.
type Histogram[C uint16 | uint64] struct {
	n [histBuckets]C
}

// Hist is the histogram of a group, in 244 bytes.
type Hist = Histogram[uint16]

func histBucket(ns int64) int {
	if ns < 1<<histLow {
		return 0
	}
	top := bits.Len64(uint64(ns)) - 1
	if top >= histHigh {
		return histBuckets - 1
	}
	sub := int(ns>>(top-histSub)) & (1<<histSub - 1)
	return 1 + (top-histLow)<<histSub + sub
}

// histLowest is the smallest value of bucket i, in nanoseconds.
func histLowest(i int) int64 {
	if i == 0 {
		return 0
	}
	i--
	return int64(1<<histSub+i&(1<<histSub-1)) << (i>>histSub + histLow - histSub)
}

// Add counts one lifetime.
func (h *Histogram[C]) Add(d time.Duration) {
	i := histBucket(int64(d))
	if h.n[i] == ^C(0) {
		h.Fade()
	}
	h.n[i]++
}

// Fade halves all counts, so that old values matter less.
func (h *Histogram[C]) Fade() {
	for i := range h.n {
		h.n[i] /= 2
	}
}

// Merge adds the counts of o.
func (h *Histogram[C]) Merge(o *Histogram[C]) {
	shift := 0
	for i := range h.n {
		for (uint64(h.n[i])+uint64(o.n[i]))>>shift > uint64(^C(0)) {
			shift++
		}
	}
	for i := range h.n {
		h.n[i] = C((uint64(h.n[i]) + uint64(o.n[i])) >> shift)
	}
}

// Total is how many lifetimes are counted, or weigh after counts were halved.
func (h *Histogram[C]) Total() (n uint64) {
	for _, c := range h.n {
		n += uint64(c)
	}
	return n
}

// Quantile returns the lifetime that the share q (0 to 1) does not exceed,
// interpolated within its bucket; ok is false if nothing was counted.
func (h *Histogram[C]) Quantile(q float64) (d time.Duration, ok bool) {
	total := h.Total()
	if total == 0 {
		return 0, false
	}
	rank := q * float64(total)
	var below float64
	for i, n := range h.n {
		if n == 0 || below+float64(n) < rank {
			below += float64(n)
			continue
		}
		low := histLowest(i)
		if i == histBuckets-1 {
			return time.Duration(low), true
		}
		width := float64(histLowest(i+1) - low)
		return time.Duration(float64(low) + width*(rank-below)/float64(n)), true
	}
	return time.Duration(histLowest(histBuckets - 1)), true
}

// Share returns the share of the lifetimes that do not exceed d, interpolated within
// its bucket; 0 if nothing was counted.
func (h *Histogram[C]) Share(d time.Duration) float64 {
	at := histBucket(int64(d))
	var total, below float64
	for i, n := range h.n {
		total += float64(n)
		if i < at {
			below += float64(n)
		}
	}
	if total == 0 {
		return 0
	}
	part := 1.0
	if at < histBuckets-1 {
		low := histLowest(at)
		part = float64(int64(d)-low) / float64(histLowest(at+1)-low)
	}
	return (below + part*float64(h.n[at])) / total
}

// HistBar is how many lifetimes lie from From on and below To; To is 0 for no end.
type HistBar struct {
	From, To time.Duration
	N        uint64
}

// Octaves returns the counts by octave, from the first that has any to the last.
func (h *Histogram[C]) Octaves() []HistBar {
	const count = 2 + histHigh - histLow
	var octaves [count]uint64
	first, last := count, -1
	for i, n := range h.n {
		o := 0
		if i > 0 {
			o = 1 + (i-1)>>histSub
		}
		if octaves[o] += uint64(n); n > 0 {
			first, last = min(first, o), o
		}
	}
	var bars []HistBar
	for o := first; o <= last; o++ {
		b := HistBar{From: time.Duration(1) << (histLow + o - 1), To: time.Duration(1) << (histLow + o), N: octaves[o]}
		if o == 0 {
			b.From = 0
		}
		if o == count-1 {
			b.To = 0
		}
		bars = append(bars, b)
	}
	return bars
}

// Bars returns the counts by octave, at most limit of them: the first and the last
// bar also count the tails.
func (h *Histogram[C]) Bars(limit int) []HistBar {
	bars := h.Octaves()
	for len(bars) > limit { // join the smaller end with its neighbour
		if n := len(bars); bars[0].N <= bars[n-1].N {
			bars[1].From, bars[1].N = bars[0].From, bars[1].N+bars[0].N
			bars = bars[1:]
		} else {
			bars[n-2].To, bars[n-2].N = bars[n-1].To, bars[n-2].N+bars[n-1].N
			bars = bars[:n-1]
		}
	}
	return bars
}
