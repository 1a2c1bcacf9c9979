package view

import (
	"math"
	"time"

	"github.com/twtrace/twtrace/internal/rows"
)

// historyLen is how many intervals the charts span at most.
const historyLen = 120

// Series is what the last intervals came to, oldest first: one value of each per interval.
type Series struct {
	Ended    []int64  // when each interval was over, ns since the epoch
	TimeWait []uint64 // sockets in TIME_WAIT then
	Opened   []uint64 // connections opened per second
	Failed   []uint64 // calls that failed per second
	Before   int      // how many intervals were before these
}

// pastValues keeps the values of all intervals. States share the memory: each has the
// last historyLen of what there was at its time, which never changes.
type pastValues struct {
	ended                    []int64
	timeWait, opened, failed []uint64
	n                        int
}

// add notes what an interval came to, if it is one with rates, and returns the last ones.
func (p *pastValues) add(s *State) Series {
	if rows.Known(s.Rates.Open) {
		perSecond := func(v float64) uint64 { return uint64(math.Ceil(v)) } // one failure in a long interval is some
		p.n++
		p.ended = remember(p.ended, s.Time.UnixNano())
		p.timeWait = remember(p.timeWait, s.TimeWait)
		p.opened = remember(p.opened, perSecond(s.Rates.Open))
		p.failed = remember(p.failed, perSecond(s.Rates.Fail))
	}
	return Series{Ended: latest(p.ended), TimeWait: latest(p.timeWait), Opened: latest(p.opened), Failed: latest(p.failed),
		Before: p.n - len(latest(p.ended))}
}

// remember appends v. Where the memory is full it goes on in another piece: the one that
// there was is of states.
func remember[T any](last []T, v T) []T {
	if len(last) == cap(last) {
		last = append(make([]T, 0, 8*historyLen), latest(last)...)
	}
	return append(last, v)
}

func latest[T any](all []T) []T {
	all = all[max(len(all)-historyLen, 0):]
	return all[:len(all):len(all)]
}

// span is how long the intervals took together, the first of them as long as the present one.
func (p *Series) span(interval time.Duration) time.Duration {
	if len(p.Ended) == 0 {
		return 0
	}
	return time.Duration(p.Ended[len(p.Ended)-1]-p.Ended[0]) + interval
}
