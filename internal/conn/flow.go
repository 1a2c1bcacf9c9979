package conn

import "time"

// MaxAge is the age in seconds from which on sockets in TIME_WAIT are no longer
// counted by age: all but those whose timer was restarted are gone by then.
const MaxAge = 72

// tickSeconds is how far back rates go.
const tickSeconds = 16

// ticks is what happened within one second.
type ticks struct {
	opens  uint32 // ports taken
	enters uint32 // full sockets that became mini-sockets
	frees  uint32 // full sockets that ended without TIME_WAIT
	exits  uint32 // mini-sockets that ended
	none   uint32 // calls that found nothing to take
}

// flow is how sockets take a limited resource and give it back: what happened in
// each of the last seconds, and how long its sockets are in TIME_WAIT. Counts leave out the sockets that were there before the flow started, and
// never exceed the truth.
type flow struct {
	start  int64 // ns since the epoch: rates know nothing earlier
	sec    int64 // the second that the rings are at
	ticks  [tickSeconds]ticks
	ages   [2][MaxAge]uint16 // TIME_WAIT by the second it started in; [1] with timestamps
	owners topOwners         // of a destination
}

func newFlow(start, now int64) *flow { return &flow{start: start, sec: now / int64(time.Second)} }

// advance turns the rings to the second of now.
func (f *flow) advance(now int64) {
	sec := now / int64(time.Second)
	if sec-f.sec > MaxAge {
		f.sec = sec - MaxAge
	}
	for f.sec < sec {
		f.sec++
		f.ticks[f.sec%tickSeconds] = ticks{}
		for i := range f.ages {
			f.ages[i][f.sec%MaxAge] = 0
		}
		if f.sec%tickSeconds == 0 {
			f.owners.fade()
		}
	}
}

// tick is the second of at; nil if the ring has gone past it.
func (f *flow) tick(at int64) *ticks {
	sec := at / int64(time.Second)
	if sec <= f.sec-tickSeconds {
		return nil
	}
	return &f.ticks[min(sec, f.sec)%tickSeconds]
}

// age is the number of sockets whose TIME_WAIT started at since, nil if that is too long ago.
func (f *flow) age(since int64, stamped bool) *uint16 {
	sec := since / int64(time.Second)
	if sec <= f.sec-MaxAge || sec < 0 {
		return nil
	}
	return &f.ages[b2i(stamped)][min(sec, f.sec)%MaxAge]
}

// step is a socket that goes from one phase to another.
type step struct {
	from, to  phase
	since, at int64 // when it entered the one, and the other
	now       int64 // the latest time of any event
	stamped   bool  // in TIME_WAIT: the peer has timestamps
	snapshot  bool  // it was there before the trace
}

// shift counts a step.
func (f *flow) shift(s step) {
	f.advance(s.now)
	if s.from == timeWait {
		if n := f.age(s.since, s.stamped); n != nil && *n > 0 {
			*n--
		}
	}
	if s.to == timeWait {
		if n := f.age(s.at, s.stamped); n != nil && *n < ^uint16(0) {
			*n++
		}
	}
	t := f.tick(s.at)
	if t == nil || s.snapshot {
		return
	}
	switch {
	case s.from == unborn && s.to < ended:
		t.opens++
		if s.to > live {
			t.enters++
		}
	case s.from == live && s.to < ended:
		t.enters++
	case s.from == live:
		t.frees++
	case s.from > live && s.to == ended:
		t.exits++
	}
}

// refuse counts a call that found nothing to take.
func (f *flow) refuse(at, now int64) {
	f.advance(now)
	if t := f.tick(at); t != nil {
		t.none++
	}
}

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}

// PerSecond are the rates at a limited resource.
type PerSecond struct {
	Opens  float64 // ports taken by new connections
	Enters float64 // full sockets that became mini-sockets: their ports stay in use for a minute
	Frees  float64 // full sockets that ended without TIME_WAIT, and freed their port at once
	Exits  float64 // mini-sockets that ended
	None   float64 // calls that found no free port, or mini-sockets that the kernel refused
}

// Demand is how many ports are wanted per second: those taken, and those that nobody could have.
func (r PerSecond) Demand() float64 { return r.Opens + r.None }

// Flow is how sockets take a limited resource and give it back.
type Flow struct {
	Known   time.Duration  // how long the table has followed it; rates cover no more
	Long    PerSecond      // over the last LongWindow
	Short   PerSecond      // over the last ShortWindow
	Age     [MaxAge]uint16 // sockets in TIME_WAIT by their age in seconds, without timestamps or not known to have them
	Stamped [MaxAge]uint16 // ... with timestamps
}

// The windows of a Flow's rates.
const (
	LongWindow  = 10 * time.Second
	ShortWindow = 3 * time.Second
)

// view is the flow as it is at now.
func (f *flow) view(now int64) *Flow {
	if f == nil {
		return nil
	}
	f.advance(now)
	v := &Flow{Known: time.Duration(max(now-f.start, 0))}
	v.Long, v.Short = f.rates(now, LongWindow), f.rates(now, ShortWindow)
	for i := range int64(MaxAge) {
		if sec := f.sec - i; sec >= 0 {
			v.Age[i], v.Stamped[i] = f.ages[0][sec%MaxAge], f.ages[1][sec%MaxAge]
		}
	}
	return v
}

// rates are those over a window that ends at now, or since the start.
func (f *flow) rates(now int64, window time.Duration) PerSecond {
	from := now - int64(window)
	// Whole seconds: the first one that lies wholly in the window.
	first := (from + int64(time.Second) - 1) / int64(time.Second)
	over := now - first*int64(time.Second)
	if f.start >= from {
		first, over = f.start/int64(time.Second), now-f.start
	}
	var sum ticks
	for sec := max(first, f.sec-tickSeconds+1, 0); sec <= f.sec; sec++ {
		t := &f.ticks[sec%tickSeconds]
		sum.opens += t.opens
		sum.enters += t.enters
		sum.frees += t.frees
		sum.exits += t.exits
		sum.none += t.none
	}
	seconds := max(float64(over)/float64(time.Second), 1)
	return PerSecond{
		Opens: float64(sum.opens) / seconds, Enters: float64(sum.enters) / seconds,
		Frees: float64(sum.frees) / seconds, Exits: float64(sum.exits) / seconds, None: float64(sum.none) / seconds,
	}
}
