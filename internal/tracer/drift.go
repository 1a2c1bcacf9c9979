package tracer

import (
	"errors"
	"fmt"
	"time"

	"github.com/cilium/ebpf"

	"github.com/twtrace/twtrace/internal/event"
	"github.com/twtrace/twtrace/internal/kernel"
)

// Drift is the proof of completeness: by how much the kernel's own counters of a
// network namespace have grown beyond what was traced there.
//
// Both move while they are read. So the namespace's tally is read before and after
// the kernel's counters: when those were read, the tally was something in between,
// and the offset of one from the other is known to an interval. It has no width if
// nothing happened meanwhile, some 100 µs. Nothing has to be stopped for that, at
// the start, at the end or at any time between, and drift is how the offset has
// changed since the first reading. Of the values that the intervals allow, the one
// closest to 0 is reported: what may be nothing is nothing.
//
// What an interval does not show: a softirq that was interrupted between the
// kernel's counter and ours, and an end that the timer hooks have not decided yet
// (50 ms). Both pass, so the drift that is reported is what is still there at the
// next survey; of a number that changes meanwhile, as much as both have.

// span is an interval in which a number lies, both ends included.
type span struct{ low, high int64 }

// less is what the difference of two numbers may be.
func (s span) less(o span) span { return span{s.low - o.high, s.high - o.low} }

func (s span) width() int64 { return s.high - s.low }

// nearest is the number in s that is closest to 0.
func (s span) nearest() int64 {
	switch {
	case s.low > 0:
		return s.low
	case s.high < 0:
		return s.high
	}
	return 0
}

// offsets are what the kernel counts in a namespace, less what was traced there.
type offsets struct{ births, reused, refused, alive span }

func (o offsets) width() int64 {
	return max(o.births.width(), o.reused.width(), o.refused.width(), o.alive.width())
}

// offsetsOf compares counters with the tally just before and just after they were
// read.
func offsetsOf(c kernel.Counters, before, after Tally) offsets {
	less := func(n, first, last uint64) span { return span{int64(n - last), int64(n - first)} }
	alive := int64(before.Births - before.Ends())
	return offsets{
		births:  less(c.TW+c.TWKilled, before.Births, after.Births),
		reused:  less(c.TWRecycled, before.Reused(), after.Reused()),
		refused: less(c.TWOverflow, before.Refused, after.Refused),
		alive: span{int64(c.TimeWait) - alive - int64(after.Births-before.Births),
			int64(c.TimeWait) - alive + int64(after.Ends()-before.Ends())},
	}
}

// reading is one comparison in a namespace. Another namespace that gets the same inode
// number later has another cookie.
type reading struct {
	cookie uint64
	offsets
}

// drift is what has changed since first. Where the kernel counts births as they
// expire, before 5.18, they cannot be compared.
func (r reading) drift(netns uint32, first reading, countsBirths bool) event.Drift {
	d := event.Drift{
		NetNS:   netns,
		Reused:  r.reused.less(first.reused).nearest(),
		Refused: r.refused.less(first.refused).nearest(),
		Alive:   r.alive.less(first.alive).nearest(),
	}
	if countsBirths {
		d.Births = r.births.less(first.births).nearest()
	}
	return d
}

// Survey is a reading of the counters of all namespaces.
type Survey struct {
	at       time.Time
	readings map[uint32]reading
	listed   map[uint32]bool
}

// readings are tried again while the two tallies differ, to narrow the interval.
const readingTries = 3

// Survey reads the kernel's counters of the namespaces in list, which are all
// there are. Unlike the other methods it may be called from any goroutine, but not
// after Close. A namespace that cannot be read is left out.
func (t *Tracer) Survey(list []kernel.NetNS) Survey {
	s := Survey{at: time.Now(), readings: make(map[uint32]reading), listed: make(map[uint32]bool)}
	for _, ns := range list {
		s.listed[ns.Inum] = true
		if r, err := t.survey(ns); err == nil {
			s.readings[ns.Inum] = r
		}
	}
	return s
}

func (t *Tracer) survey(ns kernel.NetNS) (reading, error) {
	cookie, err := ns.Cookie()
	if err != nil {
		return reading{}, err
	}
	o, err := narrowest(func() (Tally, error) { return t.tally(ns.Inum) }, ns.Counters)
	return reading{cookie, o}, err
}

// narrowest compares the two until they agree exactly, readingTries times at most.
func narrowest(tally func() (Tally, error), counters func() (kernel.Counters, error)) (offsets, error) {
	var best offsets
	for i := range readingTries {
		before, err := tally()
		if err != nil {
			return best, err
		}
		c, err := counters()
		if err != nil {
			return best, err
		}
		after, err := tally()
		if err != nil {
			return best, err
		}
		if o := offsetsOf(c, before, after); i == 0 || o.width() < best.width() {
			best = o
		}
		if best.width() == 0 {
			break
		}
	}
	return best, nil
}

// tally reads the tally of one namespace, zero if nothing has happened there.
func (t *Tracer) tally(netns uint32) (Tally, error) {
	var perCPU []bpfTally
	err := t.coll.Maps[bpfMapTallies].Lookup(netns, &perCPU)
	if errors.Is(err, ebpf.ErrKeyNotExist) {
		return Tally{}, nil
	}
	return sumTally(perCPU), err
}

func sumTally(perCPU []bpfTally) Tally {
	var sum Tally
	for _, c := range perCPU {
		sum.add(c.tally())
	}
	return sum
}

// Compare takes a survey into account and returns the drift of each namespace that
// has any, be it only for the moment; see Drift.
//
// The first survey that has a namespace is what later ones are compared with. What was
// missed in a namespace before its first survey is not reported: the kernel does not say
// whether it is new, or was there before and could not be found. A namespace that is gone
// cannot be compared, and is left out.
func (t *Tracer) Compare(s Survey) ([]event.Drift, error) {
	t.account.compare(s)
	if err := t.foldGone(s.listed); err != nil {
		return nil, fmt.Errorf("remove the tallies of namespaces that are gone: %w", err)
	}
	return t.account.differs, nil
}

// Drift is what the last survey and the one before it both show; EndInfo has the same.
func (t *Tracer) Drift() []event.Drift { return t.account.drift }

// lasting is what of two drifts is the same: of each number as much as both have.
func lasting(now, before event.Drift) event.Drift {
	least := func(a, b int64) int64 {
		switch {
		case a > 0 && b > 0:
			return min(a, b)
		case a < 0 && b < 0:
			return max(a, b)
		}
		return 0
	}
	return event.Drift{NetNS: now.NetNS, Births: least(now.Births, before.Births), Reused: least(now.Reused, before.Reused),
		Refused: least(now.Refused, before.Refused), Alive: least(now.Alive, before.Alive)}
}

func (a *account) compare(s Survey) {
	before := make(map[uint32]event.Drift)
	for _, d := range a.differs {
		before[d.NetNS] = d
	}
	a.differs, a.drift = nil, nil
	for inum := range a.first {
		if !s.listed[inum] {
			delete(a.first, inum)
		}
	}
	for inum, r := range s.readings {
		first, ok := a.first[inum]
		if !ok || first.cookie != r.cookie {
			a.first[inum] = r
			if !a.started {
				a.before += max(r.alive.low, 0)
			}
			continue
		}
		none := event.Drift{NetNS: inum}
		d := r.drift(inum, first, a.countsBirths)
		if d != none {
			a.differs = append(a.differs, d)
		}
		if d = lasting(d, before[inum]); d != none {
			a.drift = append(a.drift, d)
		}
	}
	a.started = true
	sortDrift(a.differs)
	sortDrift(a.drift)
}

// foldGone deletes the tallies of namespaces that no longer exist and adds them to
// one sum, so that any number of namespaces can come and go. Should more come, it
// starts again at zero, and the sum is still right.
func (t *Tracer) foldGone(listed map[uint32]bool) error {
	tallies, err := t.readTallies()
	if err != nil {
		return err
	}
	for _, inum := range t.account.settled(tallies, listed) {
		var perCPU []bpfTally
		err := t.coll.Maps[bpfMapTallies].LookupAndDelete(inum, &perCPU)
		if err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
			return err
		}
		t.account.gone.add(sumTally(perCPU))
	}
	return nil
}

// settled are the namespaces that will count no more. One that is not listed may live on, held by a descriptor: it has settled only when nothing has changed
// in its tally since the survey before this one. Inode 0 is none.
func (a *account) settled(tallies map[uint32]Tally, listed map[uint32]bool) (gone []uint32) {
	quiet := make(map[uint32]Tally)
	for inum, now := range tallies {
		if listed[inum] || inum == 0 {
			continue
		}
		if was, ok := a.quiet[inum]; !ok || was != now {
			quiet[inum] = now
			continue
		}
		gone = append(gone, inum)
	}
	a.quiet = quiet
	return gone
}
