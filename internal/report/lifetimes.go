package report

import (
	"slices"
	"time"

	"github.com/twtrace/twtrace/internal/conn"
)

// lives counts lifetimes, exactly: those of conn.Hist fade.
type lives struct {
	client, other conn.Histogram[uint64]
}

func (l *lives) add(ns int64, client bool) {
	if client {
		l.client.Add(time.Duration(ns))
		return
	}
	l.other.Add(time.Duration(ns))
}

// report counts by octave, from the first that has any to the last.
func (l *lives) report() Lifetimes {
	all := l.client
	all.Merge(&l.other)
	out := Lifetimes{Known: all.Total(), P50: quantile(&all, 0.5), P90: quantile(&all, 0.9), P99: quantile(&all, 0.99), Bars: []LifeBar{}}
	for _, b := range all.Octaves() {
		out.Bars = append(out.Bars, LifeBar{From: int64(b.From), To: int64(b.To), Other: b.N})
	}
	for _, b := range l.client.Octaves() {
		i := slices.IndexFunc(out.Bars, func(o LifeBar) bool { return o.From == int64(b.From) })
		out.Bars[i].Client = b.N
		out.Bars[i].Other -= b.N
	}
	return out
}
