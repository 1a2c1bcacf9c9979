package process

import (
	"errors"
	"sync"
	"time"
)

const (
	defaultMax = 8192        // processes that a Resolver remembers by default: about 1 KiB each
	cgroupsMax = 4096        // cgroups that it remembers, also those that are gone: about 0.5 KiB each
	queueMax   = 1024        // questions that wait
	shortLived = time.Second // how long an answer that may change is valid
)

// readsMax is how often the worker reads at most to answer one question, and
// cgroupReads if the question is about the cgroup alone.
const (
	cgroupReads = 2
	readsMax    = processReads + 1 + cgroupReads
)

// Stats counts what a Resolver has done.
type Stats struct {
	Hits      uint64 // questions answered at once and in full
	Misses    uint64 // other questions: the sum of the next four
	Asked     uint64 // the question went into the queue
	Waiting   uint64 // it was in the queue already
	Throttled uint64 // too many reads of /proc in the last second
	Dropped   uint64 // the queue was full, or the Resolver stopped

	Evicted       uint64 // answers dropped to make room
	Gone          uint64 // processes that ended before the read
	Failed        uint64 // processes that could not be read
	FailedCgroups uint64 // cgroup ids without a path
	FailedNames   uint64 // files of container runtimes that could not be used
	Unnamed       uint64 // containers without a file
	Reads         uint64 // files and directories of /proc opened, and links read

	Known, Cgroups int // remembered now
}

// add adds the counts of a reader.
func (s *Stats) add(c counts) {
	s.Reads += c.reads
	s.FailedNames += c.failed
	s.Unnamed += c.absent
}

// question is a Key that waits for the worker, and how many reads it may cost.
type question struct {
	key  Key
	cost int
}

// identity is the key of an answer. The command name is part of it: after an exec the
// process has another executable, and records from before must keep theirs.
type identity struct {
	pid   uint32
	start uint64
	comm  string
}

func (k *Key) identity() identity { return identity{k.PID, k.Start, k.Comm} }

// answer is what is known of a process.
type answer struct {
	info    Info
	cgroup  uint64    // id of the cgroup of info.Place
	seen    sighting  // the place in /proc
	expires time.Time // zero for never
}

// placeOf is what is known of a cgroup id.
type placeOf struct {
	place   Place     // zero if the cgroup was not found
	expires time.Time // zero for never
}

// Resolver finds facts about processes. Any goroutine may call its methods.
type Resolver struct {
	foreign  error // from Usable: the Resolver does not read /proc
	now      func() time.Time
	onAnswer func(Key) // for tests: the worker has answered a question

	mu      sync.Mutex
	procs   *lru[identity, answer]
	cgroups *lru[uint64, placeOf]
	waiting map[Key]struct{}
	budget  budget
	stats   Stats

	reader reader // has a lock of its own, which nothing takes under mu

	queue    chan question
	answered chan struct{} // has a value after an answer
	stop     chan struct{}
	done     chan struct{}
	once     sync.Once
}

// Options of a Resolver. The zero value is the default.
type Options struct {
	Max      int  // how many processes it remembers, the most recently used ones; 0 means 8192
	Cmdlines bool // read command lines too, which may contain secrets
}

// NewResolver returns a resolver. It has a goroutine, which Stop ends.
func NewResolver(o Options) *Resolver {
	r := newResolver(o.Max)
	r.reader.cmdlines = o.Cmdlines
	r.foreign = Usable()
	go r.work()
	return r
}

// newResolver is NewResolver without the goroutine, for tests to set up.
func newResolver(maxKnown int) *Resolver {
	if maxKnown <= 0 {
		maxKnown = defaultMax
	}
	r := &Resolver{
		now: time.Now, onAnswer: func(Key) {},
		procs: newLRU[identity, answer](maxKnown), cgroups: newLRU[uint64, placeOf](cgroupsMax),
		waiting: make(map[Key]struct{}),
		budget:  budget{tokens: readBurst, burst: readBurst, perSecond: readsPerSecond},
		queue:   make(chan question, queueMax), answered: make(chan struct{}, 1),
		stop: make(chan struct{}), done: make(chan struct{}),
	}
	now := func() time.Time { return r.now() }
	r.reader = reader{root: "/proc", now: now, fs: newCgroupFS(cgroupMounts, now), places: newLRU[string, described](cgroupsMax)}
	return r
}

// Stop ends the goroutine and waits for it. The Resolver still answers what it knows.
func (r *Resolver) Stop() {
	r.once.Do(func() { close(r.stop) })
	<-r.done
}

// Answered has a value if the Resolver has answered questions since the last receive.
func (r *Resolver) Answered() <-chan struct{} { return r.answered }

// Stats returns the counts so far.
func (r *Resolver) Stats() Stats {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.stats
	s.Evicted = r.procs.evicted
	s.Known, s.Cgroups = len(r.procs.nodes), len(r.cgroups.nodes)
	return s
}

// found says how much of an answer there is.
type found uint8

const (
	complete found = iota // all of it
	pending               // the worker will find the rest
	refused               // nothing will find the rest: there are too many questions
)

// find returns what is known of a process, and whether that is all. If it is not, the
// worker reads the rest, and a later find has it; unless there were too many other
// questions: the worker makes at most 2,000 reads of /proc a second. find never waits
// for a read.
//
// With a start time in the Key the answer is about that process, or Gone. Without, it
// is about the process that has the pid at the time of the read, and valid for a
// second. The cgroup is that of the Key, if it has one, even if the process has moved.
// If /proc is not usable, only the Key's fields are known.
func (r *Resolver) find(k Key) (Info, found) {
	r.mu.Lock()
	defer r.mu.Unlock()
	a := r.procs.get(k.identity())
	if a != nil && a.expires.IsZero() && (k.Cgroup == 0 || k.Cgroup == a.cgroup) {
		r.stats.Hits++
		return a.info, complete
	}
	return r.findRest(k, a)
}

// findRest is find if a is not all of the answer. r.mu is held.
func (r *Resolver) findRest(k Key, a *answer) (Info, found) {
	now := r.now()
	info := Info{PID: k.PID, Start: k.Start, Comm: k.Comm}
	cost := 0
	switch {
	case a != nil && valid(a.expires, now):
		info = a.info
	case r.readable(k):
		cost = readsMax
	}
	if k.Cgroup != 0 && (a == nil || a.cgroup != k.Cgroup) {
		if c := r.cgroups.get(k.Cgroup); c != nil && valid(c.expires, now) {
			var seen sighting
			if a != nil {
				seen = a.seen
			}
			info.Place = c.place.over(seen)
		} else {
			cost = max(cost, cgroupReads)
		}
	}
	if cost == 0 {
		r.stats.Hits++
		return info, complete
	}
	r.stats.Misses++
	if !r.ask(k, cost, now) {
		return info, refused
	}
	return info, pending
}

// readable reports whether /proc may have facts about k.
func (r *Resolver) readable(k Key) bool { return r.foreign == nil && k.PID != 0 }

func valid(expires, now time.Time) bool { return expires.IsZero() || now.Before(expires) }

// ask puts a question into the queue if there is room and budget for it, and reports
// whether an answer will come. r.mu is held.
func (r *Resolver) ask(k Key, cost int, now time.Time) bool {
	if _, ok := r.waiting[k]; ok {
		r.stats.Waiting++
		return true
	}
	select {
	case <-r.stop:
		r.stats.Dropped++
		return false
	default:
	}
	if len(r.queue) == cap(r.queue) { // all senders hold r.mu
		r.stats.Dropped++
		return false
	}
	if !r.budget.take(cost, now) {
		r.stats.Throttled++
		return false
	}
	r.stats.Asked++
	r.waiting[k] = struct{}{}
	r.queue <- question{k, cost}
	return true
}

// work answers the questions of the queue until Stop.
func (r *Resolver) work() {
	defer close(r.done)
	defer r.reader.close()
	for {
		select {
		case <-r.stop:
			return
		case q := <-r.queue:
			r.answer(q)
			r.onAnswer(q.key)
			select {
			case r.answered <- struct{}{}:
			default:
			}
		}
	}
}

// answer reads what is not known, and remembers it.
func (r *Resolver) answer(q question) {
	r.mu.Lock()
	a := r.procs.get(q.key.identity())
	needProc := r.readable(q.key) && (a == nil || !valid(a.expires, r.now()))
	r.mu.Unlock()

	var used int
	if needProc {
		_, used, _ = r.read(q.key)
	} else {
		_, used = r.cgroup(q.key.Cgroup)
	}

	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.waiting, q.key)
	r.budget.giveBack(q.cost - used)
}

// Resolve returns all facts about a process, and reads /proc for those that are not
// known, with no limit on the rate: it is for lists, which need every process once.
// The error is ErrGone if the process has ended, ErrForeign if /proc is not usable, or
// that of reading /proc; the Info has what is known then.
func (r *Resolver) Resolve(k Key) (Info, error) {
	r.mu.Lock()
	a := r.procs.get(k.identity())
	if a != nil && a.expires.IsZero() && (k.Cgroup == 0 || k.Cgroup == a.cgroup) {
		info := a.info
		r.mu.Unlock()
		if info.Gone {
			return info, ErrGone
		}
		return info, nil
	}
	r.mu.Unlock()
	if !r.readable(k) {
		c, _ := r.cgroup(k.Cgroup)
		return Info{PID: k.PID, Start: k.Start, Comm: k.Comm, Place: c.place}, r.foreign
	}
	info, _, err := r.read(k)
	return info, err
}

// read reads /proc for a process, and remembers the answer.
func (r *Resolver) read(k Key) (info Info, reads int, err error) {
	at, used := r.cgroup(k.Cgroup)
	info, seen, reads, err := r.reader.process(k)
	if err != nil {
		info = Info{PID: k.PID, Start: k.Start, Comm: k.Comm, Gone: errors.Is(err, ErrGone)}
	}
	info.Place = at.place.over(seen)
	a := answer{info: info, cgroup: k.Cgroup, seen: seen, expires: at.expires}
	if k.Start == 0 || err != nil && !info.Gone {
		a.expires = r.now().Add(shortLived)
	}

	counts := r.reader.counts()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.stats.add(counts)
	switch {
	case info.Gone:
		r.stats.Gone++
	case err != nil:
		r.stats.Failed++
	}
	r.procs.put(k.identity(), a)
	return info, used + reads, err
}

// cgroup returns the place of a cgroup id, and how many reads that took. It remembers
// the place for when the cgroup is gone.
func (r *Resolver) cgroup(id uint64) (placeOf, int) {
	if id == 0 {
		return placeOf{}, 0
	}
	r.mu.Lock()
	if c := r.cgroups.get(id); c != nil && valid(c.expires, r.now()) {
		defer r.mu.Unlock()
		return *c, 0
	}
	r.mu.Unlock()
	place, err := r.reader.cgroup(id)
	c := placeOf{place: place}
	if err != nil && !errors.Is(err, errNoCgroup) {
		c.expires = r.now().Add(shortLived)
	}
	counts := r.reader.counts()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.stats.add(counts)
	if err != nil {
		r.stats.FailedCgroups++
	}
	r.cgroups.put(id, c)
	return c, cgroupReads
}
