package advice

import (
	"cmp"
	"time"

	"github.com/twtrace/twtrace/internal/event"
)

// Pool is how many connections to one destination the processes of a program keep, in the
// last whole seconds. Nothing says what a connection is used for: which ones are kept shows
// in those that outlast others that come and go, and in how many are left between bursts.
// Where there are several processes, each has a pool of its own, and Least, Most, Burst and
// Kept are those of the largest one.
type Pool struct {
	Over          time.Duration // how many seconds; 0: it is not known
	Opened        uint64
	Closed, Brief uint64 // Brief: after ShortLived or less
	Least, Most   int    // alive at once
	Burst         int    // alive at once in a burst, on average; 0: there was none
	Kept          int    // how many it keeps, at least
	Emptied       bool   // in each second there was a moment without any
	Together      bool   // Least, Most, Burst and Kept are those of all processes together

	Go      bool     // the program is built by Go
	Modules []string // of a Go program, those that it is built from
}

// Add adds the pool of another process, or of some more.
func (p *Pool) Add(o *Pool) {
	if o.Over > 0 {
		p.Emptied = o.Emptied && (p.Over == 0 || p.Emptied)
	}
	p.Over = max(p.Over, o.Over)
	p.Opened, p.Closed, p.Brief = p.Opened+o.Opened, p.Closed+o.Closed, p.Brief+o.Brief
	p.Least, p.Most, p.Burst, p.Kept = max(p.Least, o.Least), max(p.Most, o.Most), max(p.Burst, o.Burst), max(p.Kept, o.Kept)
	p.Together = p.Together || o.Together
}

// needs is how many it has at once in a burst.
func (p *Pool) needs() int { return cmp.Or(p.Burst, p.Most) }

// brief is the share of the program's connections that ended after ShortLived or less.
func (o *Contributor) brief() float64 {
	if o.Pool.Closed == 0 {
		return o.Flow.Short
	}
	return float64(o.Pool.Brief) / float64(o.Pool.Closed)
}

// poolSize is how many connections a program keeps, as far as it was counted.
type poolSize uint8

const (
	poolUnknown poolSize = iota // nothing was counted
	poolNone                    // each second there is a moment without a connection
	poolSmall                   // some are kept, and others come and go beside them
	poolBusy                    // there are always some, and none is known to be kept
)

func (p *Pool) size() poolSize {
	switch {
	case p.Over == 0 || p.Closed == 0 || p.Most == 0:
		return poolUnknown
	case p.Emptied:
		return poolNone
	case p.Kept > 0:
		return poolSmall
	}
	return poolBusy
}

// serverCloses is what share of connections the other end must have closed first for it to
// be what ends them.
const serverCloses = 0.8

// closedThere is how many connections the other end closed first, among of whose closer is
// known; most is true if nearly all.
func (f *Flow) closedThere() (n, of uint64, most bool) {
	_, of = f.closedHere()
	n = f.Closer[event.RemoteSide]
	return n, of, of > 0 && float64(n) >= serverCloses*float64(of)
}
