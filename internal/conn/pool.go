package conn

import (
	"cmp"
	"time"

	"github.com/twtrace/twtrace/internal/event"
)

// poolOpens is how many connections a client must have opened to one destination for
// the table to follow how many of them it keeps.
const poolOpens = 8

// pool is how many connections a client holds at once, in each of the last seconds. No
// event says what a connection is used for, so what a client reuses shows in this alone:
// which connections outlast others that come and go, and how many are left between bursts.
// It costs 0.6 KiB.
type pool struct {
	start int64 // the second in which it was first followed; that one is not whole
	sec   int64 // the second that the ring is at
	at    int64 // when live last changed, or the second started
	live  uint32
	young uint32 // of these, opened in sec
	peak  uint32 // alive at once in this burst
	ticks [tickSeconds]poolTick
}

// poolTick is one second of a pool.
type poolTick struct {
	opens  uint32
	closed uint32
	brief  uint32 // of these, after no more than BriefLife
	least  uint32 // alive at once
	most   uint32
	kept   uint32 // alive at its end, and older than it
	low    uint32 // microseconds in which no more than least were alive
	rises  uint32 // how often another one came to these: bursts
	falls  uint32 // how often only these were left again
	peaks  uint32 // alive at once in the bursts before these, added up
}

// BriefLife is up to how long a connection counts as brief.
const BriefLife = time.Second

func newPool(live uint64, now int64) *pool {
	p := &pool{start: now / int64(time.Second), sec: now / int64(time.Second), at: now}
	p.hold(now, live)
	return p
}

func (p *pool) tick() *poolTick { return &p.ticks[p.sec%tickSeconds] }

// advance turns the ring to the second of now.
func (p *pool) advance(now int64) {
	sec := now / int64(time.Second)
	for p.sec < sec {
		p.dwell((p.sec + 1) * int64(time.Second))
		p.tick().kept = p.live - min(p.young, p.live)
		p.young = 0
		p.sec = max(p.sec+1, sec-tickSeconds)
		p.at = p.sec * int64(time.Second)
		*p.tick() = poolTick{least: p.live, most: p.live}
	}
}

// dwell counts the time until now, in which live did not change.
func (p *pool) dwell(now int64) {
	if t := p.tick(); p.live == t.least && now > p.at {
		t.low += uint32((now - p.at) / int64(time.Microsecond))
	}
	p.at = max(p.at, now)
}

// hold takes over how many are alive from now on.
func (p *pool) hold(now int64, live uint64) {
	if p == nil {
		return
	}
	p.advance(now)
	p.dwell(now)
	t := p.tick()
	was := p.live
	p.live = uint32(live)
	p.peak = max(p.peak, p.live)
	switch {
	case p.live < t.least:
		t.least, t.low, t.rises, t.falls, t.peaks = p.live, 0, 0, 1, p.peak
	case was == t.least && p.live > was:
		t.rises++
	case p.live == t.least && p.live < was:
		t.falls++
		t.peaks += p.peak
	}
	if p.live == t.least {
		p.peak = 0
	}
	t.most = max(t.most, p.live)
}

// shift counts a step of one of its connections, after which it holds held. An end that
// no event reported is no close.
func (p *pool) shift(s step, held uint64, e *event.Event) {
	p.hold(s.now, held)
	t := p.tick()
	switch {
	case s.from == unborn && s.to == live && !s.snapshot:
		t.opens++
		p.young++
	case s.from == live:
		if s.since/int64(time.Second) >= p.sec && p.young > 0 {
			p.young--
		}
		if e == nil {
			break
		}
		t.closed++
		if life := cmp.Or(e.Life, s.at-s.since); life <= int64(BriefLife) {
			t.brief++
		}
	}
}

// Pool is how many connections a client held at once in the last seconds, each of them
// whole.
type Pool struct {
	Over    time.Duration // how many seconds; 0 if it was not followed for as long as one
	Opens   uint64
	Closed  uint64
	Brief   uint64 // of these, after no more than BriefLife
	Least   int    // alive at once
	Most    int
	Burst   int           // alive at once in a burst, on average; 0 if there was none
	Kept    int           // how many it keeps, at least
	Emptied time.Duration // seconds in which there was a moment without any
}

// What shows that connections are left between bursts, and not only that as many as that
// are in use at any time: the client has no more for a good part of the time, and then
// opens several at once. Clients that take turns open one where another is about to end.
const (
	lowShare = 0.2
	perBurst = 2
)

// view is the pool as it is at now, over at most LongWindow. It keeps what was older than a
// second at the end of each, or what was left between bursts, whichever is more.
func (p *pool) view(now int64) Pool {
	if p == nil {
		return Pool{}
	}
	p.advance(now)
	var v Pool
	var low time.Duration
	var rises, falls, peaks uint64
	for sec := max(p.start+1, p.sec-int64(LongWindow/time.Second)); sec < p.sec; sec++ {
		t := &p.ticks[sec%tickSeconds]
		if v.Over == 0 {
			v.Least, v.Kept = int(t.least), int(t.kept)
		}
		v.Over += time.Second
		v.Opens += uint64(t.opens)
		v.Closed += uint64(t.closed)
		v.Brief += uint64(t.brief)
		v.Least, v.Most, v.Kept = min(v.Least, int(t.least)), max(v.Most, int(t.most)), min(v.Kept, int(t.kept))
		if t.least == 0 {
			v.Emptied += time.Second
		}
		low += time.Duration(t.low) * time.Microsecond
		rises += uint64(t.rises)
		falls += uint64(t.falls)
		peaks += uint64(t.peaks)
	}
	if falls > 0 {
		v.Burst = int((peaks + falls/2) / falls)
	}
	if float64(low) >= lowShare*float64(v.Over) && v.Opens >= perBurst*rises {
		v.Kept = max(v.Kept, v.Least)
	}
	return v
}
