package advice

import (
	"math"
	"time"
)

// Thresholds of severity, as shares of a limit.
const (
	fullShare   = 0.95 // crit even if it does not rise
	highShare   = 0.80 // warn
	halfShare   = 0.50 // warn if it rises
	risingBy    = 1.10 // the steady state is above the use by this
	horizon     = 5 * time.Minute
	timerSlackS = 1 // mean lateness of a TIME_WAIT timer at HZ=250, seconds
)

// use is how much of a limit is taken, and how that goes on.
type use struct {
	now    float64 // taken
	limit  float64
	rate   float64       // TIME_WAIT that begin a second
	steady float64       // where it settles if the rate stays
	full   bool          // the limit is reached within the horizon
	in     time.Duration // then, in how long
}

// project foresees the use of a limit by live sockets, taken as constant, and
// by sockets in TIME_WAIT: the present ones leave when their time is up, and
// new ones come at the present rate and stay for timeWaitLen. At a rate of 400/s
// that settles at 24,400, and is no straight line to the limit.
func project(live int, tw Expiry, limit int) use {
	u := use{limit: float64(limit), rate: tw.Rate()}
	held := 0.0
	for _, n := range tw {
		held += float64(n)
	}
	u.now = float64(live) + held
	u.steady = float64(live) + u.rate*timeWaitLen.Seconds()
	if u.now >= u.limit {
		u.full = true
		return u
	}
	for t := 1.0; t <= horizon.Seconds(); t++ {
		taken := float64(live) + held - tw.gone(t-timerSlackS) + u.rate*math.Min(t, timeWaitLen.Seconds())
		if taken >= u.limit {
			u.full, u.in = true, time.Duration(t)*time.Second
			return u
		}
	}
	return u
}

// gone is how many sockets will have expired after s seconds.
func (e *Expiry) gone(s float64) float64 {
	n := 0.0
	for i, c := range e {
		share := (s - float64(i)*expiryStep.Seconds()) / expiryStep.Seconds()
		n += float64(c) * min(max(share, 0), 1)
	}
	return n
}

// severity judges u by the rules that Severity states.
func (u use) severity() Severity {
	switch now, steady := u.now/u.limit, u.steady/u.limit; {
	case u.limit <= 0:
		return OK
	case u.full, now >= fullShare:
		return Crit
	case now >= highShare, steady >= highShare, now >= halfShare && steady >= now*risingBy:
		return Warn
	}
	return OK
}

// grown is by how much a counter has grown; one that went back has not.
func grown(after, before uint64) uint64 {
	if after < before {
		return 0
	}
	return after - before
}
