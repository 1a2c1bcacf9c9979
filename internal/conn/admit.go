package conn

import (
	"hash/maphash"
	"net/netip"
	"time"

	"github.com/twtrace/twtrace/internal/event"
)

// When there is hardly room for more destinations, a new one has to be asked for
// often before it is held: a scan asks for each of a million once, and one that
// runs out of ports is asked for many times a second. What is not held is counted.
const (
	doorRows    = 2
	doorSlots   = 1 << 16
	doorKnocks  = 8                      // that often ...
	doorForgets = int64(2 * time.Second) // ... within about this time
	clearEvery  = int64(time.Second)
)

// doorman counts how often each destination was asked for, about, in 128 KiB.
type doorman struct {
	counts [doorRows][doorSlots]uint8
	halved int64
}

// knock reports whether the destination of that hash was asked for often enough.
func (d *doorman) knock(hash uint64, now int64) bool {
	if now-d.halved > doorForgets {
		d.halved = now
		for r := range d.counts {
			for i := range d.counts[r] {
				d.counts[r][i] /= 2
			}
		}
	}
	often := true
	for r := range d.counts {
		n := &d.counts[r][hash%doorSlots]
		hash /= doorSlots
		*n = min(*n, 254) + 1
		often = often && *n >= doorKnocks
	}
	return often
}

// admits reports whether there is room for one more destination. The last quarter
// of it is for those that are asked for often.
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
	if s.door == nil {
		s.door = new(doorman)
	}
	return s.door.knock(maphash.Comparable(t.seed, k), now) && room > 0
}

// Waiting is a client that has sent its SYN and has no answer yet.
type Waiting struct {
	NetNS  uint32
	Local  netip.Addr
	Remote netip.AddrPort
	N      int
	By     event.Proc // that has most of them, if it is known
}

// SetWaiting tells how many sockets wait for an answer, as a look at the kernel's
// sockets showed: no event tells it. It replaces what the look before has shown.
func (t *Table) SetWaiting(at int64, list []Waiting) {
	for _, d := range t.dests.all {
		if d != nil {
			d.waiting = 0
		}
	}
	for _, w := range list {
		k := destKey{netns: w.NetNS, laddr: w.Local.As16(), raddr: w.Remote.Addr().As16(), rport: w.Remote.Port()}
		if d := t.dests.get(t.destinationOf(k, at)); d != nil {
			d.waiting = uint32(w.N)
			d.waits(w.By, t.now)
			d.last = max(d.last, at)
		}
	}
}
