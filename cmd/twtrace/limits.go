package main

import (
	"time"

	"github.com/twtrace/twtrace/internal/conn"
	"github.com/twtrace/twtrace/internal/kernel"
)

// limitsAge is how old the known limits may get before they are read again.
const limitsAge = 5 * time.Second

// limitsAgain is how soon that is at the earliest, for the sake of a namespace that
// is asked for and not known.
const limitsAgain = time.Second

// limitsCache knows the limits of all namespaces. Asking it costs a map lookup.
type limitsCache struct {
	known  map[uint32]kernel.Limits
	spaces map[uint32]kernel.NetNS // the same namespaces
	read   time.Time
	missed bool  // one was asked for that is not known
	tape   *tape // whose limits are asked for instead, if not nil
}

// refresh reads the limits if they are due. A namespace that cannot be read has none.
func (l *limitsCache) refresh() {
	age := time.Since(l.read)
	if l.tape != nil || age < limitsAgain || age < limitsAge && !l.missed {
		return
	}
	l.read, l.missed = time.Now(), false
	namespaces, err := kernel.ListNetNS()
	if err != nil {
		return
	}
	l.known = make(map[uint32]kernel.Limits, len(namespaces))
	l.spaces = make(map[uint32]kernel.NetNS, len(namespaces))
	for _, ns := range namespaces {
		if k, err := ns.Limits(); err == nil {
			l.known[ns.Inum], l.spaces[ns.Inum] = k, ns
		}
	}
}

// space is a namespace whose limits are known, with them.
func (l *limitsCache) space(inum uint32) (kernel.NetNS, kernel.Limits, bool) {
	k, ok := l.known[inum]
	return l.spaces[inum], k, ok
}

// of is a conn.LimitsFunc.
func (l *limitsCache) of(netns uint32) (conn.Limits, bool) {
	if l.tape != nil {
		return l.tape.limitsOf(netns)
	}
	k, ok := l.known[netns]
	l.missed = l.missed || !ok
	return connLimits(&k), ok
}

// delayBefore is how old a socket in TIME_WAIT had to be before 6.14, which made
// it a sysctl: the clock of whole seconds had to have gone on.
const delayBefore = time.Second

func connLimits(k *kernel.Limits) conn.Limits {
	delay := time.Duration(k.TWReuseDelayMS) * time.Millisecond
	if k.TWReuseDelayMS < 0 {
		delay = delayBefore
	}
	return conn.Limits{PortLow: k.PortLow, PortHigh: k.PortHigh, Usable: k.UsablePorts(), MaxTW: k.MaxTWBuckets,
		TWReuse: k.TWReuse, ReuseDelay: delay, Timestamps: k.Timestamps != 0}
}
