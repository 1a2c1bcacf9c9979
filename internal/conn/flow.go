package conn

import "time"

// MaxAge is the age in seconds from which on sockets in TIME_WAIT are no longer
// told apart: all but those whose timer was started anew are gone by then.
const MaxAge = 72

// tickSeconds is how far back rates go.
const tickSeconds = 16

// ticks is what happened within one second.
type ticks struct {
	opens  uint32 // ports taken
	enters uint32 // full sockets that became mini-sockets
	frees  uint32 // full sockets that ended without
	exits  uint32 // mini-sockets that ended
}

// flow is how a limited resource is taken and given back: what happened in each
// of the last seconds, since when its sockets are in TIME_WAIT, and for whom.
// Counts of sockets may fall short of the truth by those that came before the
// flow did; they never exceed it.
type flow struct {
	begin int64 // ns since the epoch: rates know nothing of before
	sec   int64 // the second that the rings have come to
	ticks [tickSeconds]ticks
	ages  [2][MaxAge]uint16 // TIME_WAIT by the second it began in; [1] of those with timestamps
	who   who
}

func newFlow(begin, now int64) *flow { return &flow{begin: begin, sec: now / int64(time.Second)} }

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
			f.who.fade()
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

// age is the number of sockets whose TIME_WAIT began at since, nil if that is too long ago.
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
	stamped   bool  // of TIME_WAIT: the peer has timestamps
	snapshot  bool  // it was there before, and was only now seen
}

// shift takes note of a step.
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

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}

// PerSecond are rates of what happens at a limited resource.
type PerSecond struct {
	Opens  float64 // ports taken by new connections
	Enters float64 // full sockets that became mini-sockets: their ports stay taken for a minute
	Frees  float64 // full sockets that ended without, and gave back their port at once
	Exits  float64 // mini-sockets that ended
}

// Flow is how a limited resource is taken and given back.
type Flow struct {
	Known   time.Duration  // how long it was watched; rates are over no more
	Long    PerSecond      // over the last LongWindow
	Short   PerSecond      // over the last ShortWindow
	Age     [MaxAge]uint16 // sockets in TIME_WAIT by their age in seconds, without timestamps or not known to have them
	Stamped [MaxAge]uint16 // ... with timestamps
	Holders []Holder       // who opened most of late, the first one most
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
	v := &Flow{Known: time.Duration(max(now-f.begin, 0)), Holders: f.who.list()}
	v.Long, v.Short = f.rates(now, LongWindow), f.rates(now, ShortWindow)
	for i := range int64(MaxAge) {
		if sec := f.sec - i; sec >= 0 {
			v.Age[i], v.Stamped[i] = f.ages[0][sec%MaxAge], f.ages[1][sec%MaxAge]
		}
	}
	return v
}

// rates are those over a window that ends at now, or since the begin.
func (f *flow) rates(now int64, window time.Duration) PerSecond {
	from := now - int64(window)
	// Whole seconds: the first one that lies in the window altogether.
	first := (from + int64(time.Second) - 1) / int64(time.Second)
	over := now - first*int64(time.Second)
	if f.begin >= from {
		first, over = f.begin/int64(time.Second), now-f.begin
	}
	var sum ticks
	for sec := max(first, f.sec-tickSeconds+1, 0); sec <= f.sec; sec++ {
		t := &f.ticks[sec%tickSeconds]
		sum.opens += t.opens
		sum.enters += t.enters
		sum.frees += t.frees
		sum.exits += t.exits
	}
	seconds := max(float64(over)/float64(time.Second), 1)
	return PerSecond{
		Opens: float64(sum.opens) / seconds, Enters: float64(sum.enters) / seconds,
		Frees: float64(sum.frees) / seconds, Exits: float64(sum.exits) / seconds,
	}
}
