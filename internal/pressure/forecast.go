package pressure

import (
	"math"
	"time"

	"github.com/twtrace/twtrace/internal/event"
)

// Thresholds of severity, as shares of a limit, and how far a forecast reaches.
const (
	HighShare = 0.80 // warn if so much is in use, or use settles there
	HalfShare = 0.50 // warn if so much is in use, and use rises
	RisingBy  = 1.10 // use rises if it settles above the present use by this factor
	Horizon   = 5 * time.Minute
	farthest  = time.Hour // nothing later is forecast
)

// Hold is how long TIME_WAIT holds a port on average: the kernel's 60 s and the
// slack of its timer wheel, 60 to 62 s at HZ=250.
const Hold = 61 * time.Second

// slack is the mean lateness of a TIME_WAIT timer, in seconds.
const slack = 1

// course is how many sockets will have expired, by whole seconds: a forecast needs it
// some hundred times.
type course [len(Expiry{}) + 1]float64

func (e *Expiry) course() (c course) {
	for i, n := range e {
		c[i+1] = c[i] + float64(n)
	}
	return c
}

// at is how many will have expired after s seconds, rounded down to a whole second.
func (c *course) at(s float64) float64 { return c[min(max(int(s), 0), len(c)-1)] }

// Load is what uses a limited resource. TIME_WAIT sockets end when their time is up;
// the rest stays, and changes by its Growth.
type Load struct {
	Limit    float64
	Live     float64       // in use by sockets with no known end
	Growth   float64       // of Live, per second
	TimeWait Expiry        // sockets in TIME_WAIT by the time they have left
	Rate     float64       // TIME_WAIT that start per second
	Hold     time.Duration // how long those will last; 0 for the constant Hold
}

// Outlook is how much of a limited resource is in use, and how that changes if the
// rates stay.
type Outlook struct {
	Used   float64
	Limit  float64
	Rate   float64       // Rate of the Load
	Steady float64       // the maximum in use within the Horizon if there were no limit; where use falls, the use at its end
	Full   bool          // the limit is reached, now or within an hour
	In     time.Duration // if Full, in how long
}

// Forecast follows the load second by second: the present TIME_WAIT sockets end when
// their time is up, and new ones start at the present rate and last for Hold. At
// 400/s that settles at 24,400, and is no straight line to a limit.
func Forecast(l Load) Outlook {
	hold := l.Hold.Seconds()
	if l.Hold == 0 {
		hold = Hold.Seconds()
	}
	gone, held := l.TimeWait.course(), float64(l.TimeWait.Total())
	o := Outlook{Used: l.Live + held, Limit: l.Limit, Rate: l.Rate}
	taken := func(t float64) float64 {
		return l.Live + l.Growth*t + held - gone.at(t-slack) + l.Rate*math.Min(t, hold)
	}
	// After even, only Growth changes anything.
	even := math.Ceil(max(float64(len(gone))+slack, hold))
	end := taken(Horizon.Seconds())
	o.Steady = max(o.Used, end)
	for t := 1.0; t <= min(even, Horizon.Seconds()); t++ {
		o.Steady = max(o.Steady, taken(t))
	}
	if l.Growth > 0 || o.Steady >= o.Limit || even > Horizon.Seconds() {
		o.fill(taken)
	}
	// Where use falls, its end counts, not its start.
	if end < o.Used {
		o.Steady = end
	}
	return o
}

// fill finds when the limit is reached, interpolating between two seconds.
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

// Rising reports whether more will be in use than now.
func (o *Outlook) Rising() bool { return o.Steady >= o.Used*RisingBy }

// Falling reports whether less will be in use than now.
func (o *Outlook) Falling() bool { return o.Steady*RisingBy < o.Used }

// Severity judges an outlook. Crit: the limit is reached, or will be within the
// Horizon. Warn: use is or settles at 80 % or above, or is half of the limit and
// rising.
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
