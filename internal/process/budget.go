package process

import "time"

// A storm of short-lived processes must not become one of reads of /proc: a Resolver
// makes at most readBurst + t*readsPerSecond of them in any t seconds. A process that
// is alive takes 7, one that has ended 1, and each about 10 µs; so this is 2 % of one
// CPU, and enough for more than 10,000 new processes a minute.
const (
	readsPerSecond = 2000
	readBurst      = 2000
)

// budget is a token bucket.
type budget struct {
	tokens, burst, perSecond float64
	last                     time.Time
}

// take takes n tokens if there are enough.
func (b *budget) take(n int, now time.Time) bool {
	if d := now.Sub(b.last); d > 0 {
		b.tokens = min(b.burst, b.tokens+d.Seconds()*b.perSecond)
		b.last = now
	}
	if b.tokens < float64(n) {
		return false
	}
	b.tokens -= float64(n)
	return true
}

// giveBack returns tokens that were not needed.
func (b *budget) giveBack(n int) { b.tokens = min(b.burst, b.tokens+float64(n)) }
