package live

import "time"

// The owner table in the kernel has a connection until a hook sees its end. Where none does,
// it would stay for ever, and such places add up. So now and then, beside the consumer, the
// table is compared with a dump: a connection that is older than the dump and not in it is
// suspected, and one that the next such dump does not show either is forgotten. Of
// namespaces that were not read whole, nothing is concluded.

const (
	// sweepEvery is how often. Reading a table of a million takes some 50 ms.
	sweepEvery = 5 * time.Minute
	// maxSuspects bounds those of one sweep.
	maxSuspects = 1 << 16
	// connectsWithin is longer than a client waits for an answer as a rule.
	connectsWithin = 10 * time.Minute
)

// sweeper is what a trace needs for that.
type sweeper struct {
	due       time.Time
	suspects  map[uint64]struct{} // cookies that the last dump of a sweep did not show
	forgotten int                 // so far
	at        time.Time           // when some were, last
	owned     int                 // connections in the table at the last sweep
}

// swept is what a sweep came to.
type swept struct {
	suspects  map[uint64]struct{}
	forgotten int
	owned     int // connections that stay
	err       error
}

// sweep compares the owner table with a dump of sockets. It may run beside the consumer.
func (t *Trace) sweep(d *dump, suspects map[uint64]struct{}) swept {
	s := swept{suspects: make(map[uint64]struct{})}
	whole := true
	for inum := range d.listed {
		whole = whole && d.whole[inum]
	}
	before := t.stamp(d.begin)
	var gone []uint64
	s.err = t.tracer.Owned(func(cookie uint64, netns uint32, last int64) {
		s.owned++
		read, old := d.whole[netns], last < before
		if netns == 0 { // where a client connects from is not known
			read, old = whole, last < before-int64(connectsWithin)
		}
		_, shown := d.shown.cookies[cookie]
		_, suspected := suspects[cookie]
		switch {
		case shown || !read || !old:
		case suspected:
			gone = append(gone, cookie)
		case len(s.suspects) < maxSuspects:
			s.suspects[cookie] = struct{}{}
		}
	})
	for _, cookie := range gone {
		if err := t.tracer.Disown(cookie); err != nil {
			s.err = err
			break
		}
		s.forgotten++
		s.owned--
	}
	return s
}

// noteSweep takes over what a sweep came to.
func (t *Trace) noteSweep(s *swept) {
	w, now := &t.sweeper, time.Now()
	w.suspects, w.due, w.owned = s.suspects, now.Add(sweepEvery), s.owned
	if len(s.suspects) > 0 {
		w.due = now // the next dump decides
	}
	if s.forgotten > 0 {
		w.forgotten, w.at = w.forgotten+s.forgotten, now
	}
	if s.err != nil {
		t.talk("could not compare the table of owners with the kernel's sockets: %v", s.err)
	}
}
