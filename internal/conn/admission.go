package conn

import (
	"hash/maphash"
	"time"
)

// When little room is left, the table holds a new destination only after enough
// attempts to reach it: a scan tries each of a million once, and clients that run
// out of ports towards one try it many times a second. Totals.DestinationsRefused
// counts the others.
const (
	attemptRows  = 2
	attemptSlots = 1 << 16
	enough       = 8                      // attempts ...
	halveEvery   = int64(2 * time.Second) // ... within about this time
	clearEvery   = int64(time.Second)
)

// attempts estimates how often clients tried each destination: a count-min sketch
// of 128 KiB whose counts are halved as time goes on.
type attempts struct {
	counts [attemptRows][attemptSlots]uint8
	halved int64
}

// add counts an attempt, and reports whether there were enough of that hash.
func (a *attempts) add(hash uint64, now int64) bool {
	if now-a.halved > halveEvery {
		a.halved = now
		for r := range a.counts {
			for i := range a.counts[r] {
				a.counts[r][i] /= 2
			}
		}
	}
	often := true
	for r := range a.counts {
		n := &a.counts[r][hash%attemptSlots]
		hash /= attemptSlots
		*n = min(*n, 254) + 1
		often = often && *n >= enough
	}
	return often
}

// admits reports whether there is room for one more destination. The last quarter
// of the room is for those that clients try often.
func (t *Table) admits(k destKey, now int64) bool {
	s := &t.dests
	room := t.opt.MaxDestinations - len(s.ids)
	if room > t.opt.MaxDestinations/4 {
		return true
	}
	if now-s.cleared > clearEvery {
		s.cleared = now
		s.sweep(now)
		if room = t.opt.MaxDestinations - len(s.ids); room > t.opt.MaxDestinations/4 {
			return true
		}
	}
	if s.attempts == nil {
		s.attempts = new(attempts)
	}
	return s.attempts.add(maphash.Comparable(t.seed, k), now) && room > 0
}
