package report

import (
	"math/bits"
)

// Lifetimes are counted in four buckets an octave, so that a quantile is right
// within a tenth. Counts are exact, those of conn.Hist fade.
const (
	lifeLow   = 10 // 2^10 ns, about a microsecond
	lifeHigh  = 40 // 18 minutes
	lifeSub   = 2  // bits
	lifeCount = 2 + (lifeHigh-lifeLow)<<lifeSub
)

type lives struct {
	client, other [lifeCount]uint64
}

func lifeBucket(ns int64) int {
	if ns < 1<<lifeLow {
		return 0
	}
	top := bits.Len64(uint64(ns)) - 1
	if top >= lifeHigh {
		return lifeCount - 1
	}
	return 1 + (top-lifeLow)<<lifeSub + int(ns>>(top-lifeSub))&(1<<lifeSub-1)
}

// lifeFrom is the shortest lifetime of bucket i.
func lifeFrom(i int) int64 {
	if i == 0 {
		return 0
	}
	i--
	return int64(1<<lifeSub+i&(1<<lifeSub-1)) << (i>>lifeSub + lifeLow - lifeSub)
}

func (l *lives) add(ns int64, client bool) {
	if client {
		l.client[lifeBucket(ns)]++
		return
	}
	l.other[lifeBucket(ns)]++
}

func (l *lives) known() uint64 {
	var n uint64
	for i := range l.client {
		n += l.client[i] + l.other[i]
	}
	return n
}

// quantile is the lifetime below which the share q lies, nil if none is known.
func (l *lives) quantile(q float64) *int64 {
	total := l.known()
	if total == 0 {
		return nil
	}
	rank, below := q*float64(total), 0.0
	for i := range l.client {
		n := float64(l.client[i] + l.other[i])
		if n == 0 || below+n < rank && i < lifeCount-1 {
			below += n
			continue
		}
		low := lifeFrom(i)
		v := low
		if i < lifeCount-1 {
			v += int64(float64(lifeFrom(i+1)-low) * (rank - below) / n)
		}
		return &v
	}
	v := lifeFrom(lifeCount - 1) // the last ones are in between, and rank is rounded
	return &v
}

// report counts by octave, from the first that has any to the last.
func (l *lives) report() Lifetimes {
	out := Lifetimes{Known: l.known(), P50: l.quantile(0.5), P90: l.quantile(0.9), P99: l.quantile(0.99), Bars: []LifeBar{}}
	var bars []LifeBar
	for i := range l.client {
		octave := 0
		if i > 0 {
			octave = 1 + (i-1)>>lifeSub
		}
		if octave == len(bars) {
			b := LifeBar{From: lifeFrom(i), To: int64(1) << (lifeLow + octave)}
			if i == lifeCount-1 {
				b.To = 0
			}
			bars = append(bars, b)
		}
		bars[octave].Client += l.client[i]
		bars[octave].Other += l.other[i]
	}
	empty := func(b LifeBar) bool { return b.Client+b.Other == 0 }
	for len(bars) > 0 && empty(bars[0]) {
		bars = bars[1:]
	}
	for len(bars) > 0 && empty(bars[len(bars)-1]) {
		bars = bars[:len(bars)-1]
	}
	out.Bars = append(out.Bars, bars...)
	return out
}
