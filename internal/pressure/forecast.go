package pressure

import (
	"math"
	"time"

	"github.com/twtrace/twtrace/internal/event"
)

// Thresholds of severity, as shares of a limit, and how far a forecast looks.
const (
	HighShare = 0.80 // warn if it is used so, or settles there
	HalfShare = 0.50 // warn if it rises
	RisingBy  = 1.10 // it rises if it settles above the present use by this
	Horizon   = 5 * time.Minute
	farthest  = time.Hour // what is later than that is no forecast
)

// Hold is how long TIME_WAIT holds a port in the middle: the kernel's 60 s and the
// slack of its timer wheel, 60 to 62 s at HZ=250.
const Hold = 61 * time.Second

// slack is the mean lateness of a TIME_WAIT timer, in seconds.
const slack = 1

// Expiry counts sockets in TIME_WAIT by the whole seconds they have left; the last
// one also those that have more. What is left tells when TIME_WAIT began, 60 s
// before it ends: so one look shows the rate of the last minute.
type Expiry [62]uint32

// Add counts n that have so much left.
func (e *Expiry) Add(n int, left time.Duration) {
	e[min(max(int(left/time.Second), 0), len(e)-1)] += uint32(n)
}

// Total is how many there are.
func (e *Expiry) Total() (n int) {
	for _, c := range e {
		n += int(c)
	}
	return n
}

// Recent is the time over which Rate looks back.
const Recent = 10 * time.Second

// Rate is how many TIME_WAIT a second began over the last ten.
func (e *Expiry) Rate() float64 {
	n := uint32(0)
	for _, c := range e[60-int(Recent/time.Second):] {
		n += c
	}
	return float64(n) / Recent.Seconds()
}

// Gone is how many will have expired after s seconds.
func (e *Expiry) Gone(s float64) float64 {
	n := 0.0
	for i, c := range e {
		n += float64(c) * min(max(s-float64(i), 0), 1)
	}
	return n
}

// course is Gone at whole seconds: a forecast asks for it some hundred times.
type course [len(Expiry{}) + 1]float64

func (e *Expiry) course() (c course) {
	for i, n := range e {
		c[i+1] = c[i] + float64(n)
	}
	return c
}

// at is Gone, rounded down to a whole second.
func (c *course) at(s float64) float64 { return c[min(max(int(s), 0), len(c)-1)] }

// Load is what a limit has to bear. TIME_WAIT sockets leave when their time is up;
// the rest stays, but for its Growth.
type Load struct {
	Limit    float64
	Live     float64       // taken by what has no known end
	Growth   float64       // of Live, per second
	TimeWait Expiry        // sockets in TIME_WAIT by the time they have left
	Rate     float64       // TIME_WAIT that begin a second
	Hold     time.Duration // how long those will hold; 0 for the constant Hold
}

// Outlook is how much of a limit is taken, and how that goes on if the rates stay.
type Outlook struct {
	Used   float64
	Limit  float64
	Rate   float64       // of the Load
	Steady float64       // the most that is taken within the Horizon, were there no limit
	Full   bool          // the limit is reached
	In     time.Duration // then, in how long
}

// Foresee follows the load second by second: the present TIME_WAIT sockets leave
// when their time is up, and new ones come at the present rate and stay for Hold.
// At 400/s that settles at 24,400, and is no straight line to a limit.
func Foresee(l Load) Outlook {
	hold := l.Hold.Seconds()
	if l.Hold == 0 {
		hold = Hold.Seconds()
	}
	gone, held := l.TimeWait.course(), float64(l.TimeWait.Total())
	o := Outlook{Used: l.Live + held, Limit: l.Limit, Rate: l.Rate}
	taken := func(t float64) float64 {
		return l.Live + l.Growth*t + held - gone.at(t-slack) + l.Rate*math.Min(t, hold)
	}
	// From then on only Growth changes anything.
	even := math.Ceil(max(float64(len(gone))+slack, hold))
	end := taken(Horizon.Seconds())
	o.Steady = max(o.Used, end)
	for t := 1.0; t <= min(even, Horizon.Seconds()); t++ {
		o.Steady = max(o.Steady, taken(t))
	}
	if l.Growth > 0 || o.Steady >= o.Limit || even > Horizon.Seconds() {
		o.fill(taken)
	}
	// Where it falls, what is reached is what counts, not what was.
	if end < o.Used {
		o.Steady = end
	}
	return o
}

// fill finds when the limit is reached: between two seconds in a straight line.
func (o *Outlook) fill(taken func(t float64) float64) {
	if o.Limit <= 0 {
		return
	}
	before := o.Used
	if before >= o.Limit {
		o.Full = true
		return
	}
	for t := 1.0; t <= farthest.Seconds(); t++ {
		now := taken(t)
		if now >= o.Limit {
			at := t - 1 + (o.Limit-before)/(now-before)
			o.Full, o.In = true, time.Duration(at*float64(time.Second))
			return
		}
		if t > Horizon.Seconds() && now <= before {
			return // it has settled
		}
		before = now
	}
}

// Rising reports whether more will be taken than is now.
func (o *Outlook) Rising() bool { return o.Steady >= o.Used*RisingBy }

// Falling reports whether less will be taken than is now.
func (o *Outlook) Falling() bool { return o.Steady*RisingBy < o.Used }

// Severity judges an outlook. Crit: the limit is reached, or will be within the
// Horizon. Warn: it settles at or above 80 %, or is half used and rising.
func (o *Outlook) Severity() event.Severity {
	if o.Limit <= 0 {
		return event.SeverityNone
	}
	switch used, steady := o.Used/o.Limit, o.Steady/o.Limit; {
	case o.Full && o.In <= Horizon:
		return event.Crit
	case used >= HighShare, steady >= HighShare, used >= HalfShare && o.Rising():
		return event.Warn
	}
	return event.SeverityNone
}
