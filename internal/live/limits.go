package live

import (
	"time"

	"github.com/twtrace/twtrace/internal/kernel"
)

// limitsAge is how old the known limits may get before they are read again.
const limitsAge = 5 * time.Second

// limitsAgain is how soon that is at the earliest: for the sake of a namespace that
// was asked for and is not known, and while calls find no port, as somebody may widen
// the range.
const limitsAgain = time.Second

// limits are those of all network namespaces. Asking for them costs a map lookup.
type limits struct {
	known  map[uint32]kernel.Limits
	spaces map[uint32]kernel.NetNS // the same namespaces
	read   time.Time
	missed bool      // one was asked for that is not known
	failed time.Time // the last call that may have failed at a limit
}

// refresh reads the limits if they are due. A namespace that cannot be read has none.
func (l *limits) refresh() {
	age := time.Since(l.read)
	if age < limitsAgain || age < limitsAge && !l.missed && time.Since(l.failed) > limitsAge {
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

// Limits returns those of a network namespace, at most some seconds old.
func (t *Trace) Limits(netns uint32) (kernel.Limits, bool) {
	k, ok := t.limits.known[netns]
	t.limits.missed = t.limits.missed || !ok
	return k, ok
}

// AllLimits returns those of all network namespaces, and when they were read.
func (t *Trace) AllLimits() (map[uint32]kernel.Limits, time.Time) {
	return t.limits.known, t.limits.read
}
