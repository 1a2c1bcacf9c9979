package pressure

import (
	"math"
	"time"
)

// Expiry counts sockets in TIME_WAIT by the whole seconds they have left; the last
// count includes those that have more. TIME_WAIT started 60 s before it ends: so one
// dump of the sockets shows the rate over the last minute.
type Expiry [62]uint32

// Add counts n sockets that have left as long to go.
func (e *Expiry) Add(n int, left time.Duration) {
	e[min(max(int(left/time.Second), 0), len(e)-1)] += uint32(n)
}

// Total is how many there are.
func (e *Expiry) Total() (n int) {
	for _, c := range e {
		n += int(c)
	}
	return n
}

// Recent is the time over which Rate averages.
const Recent = 10 * time.Second

// Rate is how many TIME_WAIT started per second over the last ten.
func (e *Expiry) Rate() float64 {
	n := uint32(0)
	for _, c := range e[60-int(Recent/time.Second):] {
		n += c
	}
	return float64(n) / Recent.Seconds()
}

// Lateness is how late the timer of a socket in TIME_WAIT is at most, at HZ=250.
const Lateness = 2 * time.Second

// Free is how long it takes until the first and the last of them are over, at the latest.
func (e *Expiry) Free() (first, last time.Duration) {
	from, to, ok := e.span()
	if !ok {
		return 0, 0
	}
	return time.Duration(from)*time.Second + Lateness, time.Duration(min(to, 59)+1)*time.Second + Lateness
}

// span are the least and the most seconds that any of them has left.
func (e *Expiry) span() (from, to int, ok bool) {
	from = -1
	for left, n := range e {
		if n == 0 {
			continue
		}
		if from < 0 {
			from = left
		}
		to = left
	}
	return from, to, from >= 0
}

// Burst is the shortest time in which most of the sockets in TIME_WAIT entered it. What
// their timers say is exact to a second.
type Burst struct {
	N        int           // how many entered in it
	From, To time.Duration // it lasted from so long ago until so long ago; From 0: some timers are late, so it may have started earlier than they say
	Rate     float64       // how many entered per second, where it was at its height
	After    int           // how many entered since
	Over     bool          // it is over: since then at most a trickle enters
}

const (
	burstShare = 0.9 // of the sockets are most of them
	edgeShare  = 0.1 // of the mean rate of a burst still belongs to it
	trickle    = 0.2 // of the rate of a burst is none
)

// Burst is the last one; its N is 0 if there are no sockets.
func (e *Expiry) Burst() Burst {
	total := e.Total()
	if total == 0 {
		return Burst{}
	}
	from, to := e.shortest(int(math.Ceil(burstShare * float64(total))))
	n := e.between(from, to)
	edge := max(uint32(edgeShare*float64(n)/float64(to-from+1)), 1)
	for ; from > 0 && e[from-1] >= edge; from-- {
		n += int(e[from-1])
	}
	for ; to+1 < len(e) && e[to+1] >= edge; to++ {
		n += int(e[to+1])
	}
	b := Burst{N: n, From: ago(from), To: ago(to + 1), Rate: e.pace(from, to), After: e.between(to+1, len(e)-1)}
	if from == 0 {
		b.From = 0
	}
	if b.To > 0 {
		b.Over = float64(b.After)/b.To.Seconds() < trickle*b.Rate
	}
	return b
}

// pace is how many entered per second in a span, of which the first and the last second
// may be in part only.
func (e *Expiry) pace(from, to int) float64 {
	if to-from < 2 {
		return float64(max(e[from], e[to]))
	}
	return float64(e.between(from+1, to-1)) / float64(to-from-1)
}

// shortest is the shortest span of seconds left that has as many; of several, the youngest.
func (e *Expiry) shortest(need int) (from, to int) {
	best, sum, low := len(e)+1, 0, 0
	for high, n := range e {
		for sum += int(n); sum-int(e[low]) >= need; low++ {
			sum -= int(e[low])
		}
		if sum >= need && high-low < best {
			best, from, to = high-low, low, high
		}
		if sum >= need && high-low == best {
			from, to = low, high
		}
	}
	return from, to
}

// between is how many have that many seconds left, both ends included.
func (e *Expiry) between(from, to int) (n int) {
	for i := from; i <= to; i++ {
		n += int(e[i])
	}
	return n
}

// Since is how many entered in the last seconds.
func (e *Expiry) Since(seconds int) int { return e.between(60-seconds, len(e)-1) }

// ago is how long ago a socket entered that has so many seconds left.
func ago(left int) time.Duration { return time.Duration(max(60-left, 0)) * time.Second }
