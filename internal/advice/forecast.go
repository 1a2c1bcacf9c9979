package advice

import (
	"fmt"
	"time"

	"github.com/twtrace/twtrace/internal/event"
	"github.com/twtrace/twtrace/internal/output"
	"github.com/twtrace/twtrace/internal/pressure"
)

// use is how much of a limit is taken, and its forecast.
type use struct {
	pressure.Outlook
	gauge *pressure.Gauge // where it comes from; nil without a trace
	tw    pressure.Expiry // its sockets in TIME_WAIT, as far as they are known
}

// gauged is the use that a trace measured.
func gauged(g *pressure.Gauge) use { return use{Outlook: g.Outlook, gauge: g} }

// use is how much of the ports to d is taken.
func (f *Facts) use(d *Destination) use {
	if d.Gauge != nil {
		u := gauged(d.Gauge)
		u.tw = d.Expiry
		return u
	}
	return project(d.live(), d.Expiry, f.usable())
}

// usable is how many ports connect() may choose from: those that a program has bound are
// taken for every destination.
func (f *Facts) usable() int { return max(f.Limits.UsablePorts()-f.Traffic.Range.Ports, 0) }

// project forecasts the use of a limit by live sockets, taken as constant, and by
// sockets in TIME_WAIT, which keep coming at their current rate.
func project(live int, tw pressure.Expiry, limit int) use {
	return use{Outlook: pressure.Forecast(pressure.Load{
		Limit: float64(limit), Live: float64(live), TimeWait: tw, Rate: tw.Rate(),
	}), tw: tw}
}

// severity judges u by the rules that event.Severity states.
func (u use) severity() event.Severity {
	if u.gauge != nil {
		return max(event.OK, u.gauge.Severity)
	}
	return max(event.OK, u.Outlook.Severity())
}

// held reports whether most of the limit is taken by sockets that do not count, since
// connect() may reuse their ports.
func (u use) held() bool {
	return u.gauge != nil && u.gauge.Limit > 0 && float64(u.gauge.Held()) >= pressure.HighShare*u.Limit
}

// soon reports whether the limit is reached within the horizon of a forecast.
func (u use) soon() bool { return u.Full && u.In <= pressure.Horizon }

// full reports whether the limit is reached: none is free.
func (u use) full() bool { return u.Limit > 0 && u.Used >= u.Limit }

// when is the forecast in words; then is what happens at the limit.
func (u use) when(then string) string {
	settles, drains := u.settles(), u.drains()
	switch {
	case u.full() && drains != "":
		return "full now: " + then + "; " + drains
	case u.full():
		return "full now: " + then + u.fits()
	case u.soon() && u.In < time.Second:
		return "full within a second, then " + then + u.fits()
	case u.soon():
		return fmt.Sprintf("full in about %s, then %s", output.Seconds(u.In), then) + u.fits()
	case u.Rising():
		return "rising; at this rate it " + settles + u.fits()
	case u.Falling() && drains != "":
		return "draining: " + drains
	case u.Falling():
		return "falling; at this rate it " + settles
	}
	return "steady; at this rate it " + settles
}

// fits is the demand beside what fits, where that is less; it goes behind a forecast.
func (u use) fits() string {
	if u.gauge == nil || u.gauge.MaxRate <= 0 || u.gauge.Demand <= u.gauge.MaxRate {
		return ""
	}
	return fmt.Sprintf("; demand %s, at most %s fit", output.Rate(u.gauge.Demand), output.Rate(u.gauge.MaxRate))
}

// drains says that nothing new enters TIME_WAIT, and when what is in it is over; ""
// while some still enters.
func (u use) drains() string {
	quiet, last, ok := drains(&u.tw)
	if !ok {
		return ""
	}
	words := fmt.Sprintf("nothing new for %s; ", output.Seconds(quiet))
	if rest := u.Used - float64(u.tw.Total()); rest >= 1 {
		return words + fmt.Sprintf("all but %s free in about %s", output.Count(uint64(rest)), output.Seconds(last))
	}
	return words + "all free in about " + output.Seconds(last)
}

// resolved reports whether calls failed, and no longer do.
func (u use) resolved() bool { return u.gauge != nil && u.gauge.Outage.Over() }

// since is when calls started to fail, zero if none do.
func (u use) since() time.Time {
	if u.gauge == nil || !u.gauge.Outage.Lasts() {
		return time.Time{}
	}
	return time.Unix(0, u.gauge.Outage.From)
}

// resolution says when an outage ended, and how long it lasted.
func (u use) resolution(now time.Time) string {
	o := &u.gauge.Outage
	return fmt.Sprintf("resolved %s ago, after %s", output.Seconds(max(now.Sub(time.Unix(0, o.To)), time.Second)),
		output.Seconds(max(o.Length(o.To), time.Second)))
}

// settles is where it would end if there were no limit.
func (u use) settles() string {
	if u.Steady < 0.5 {
		return "drains"
	}
	return fmt.Sprintf("settles at about %s (%s)", output.Count(uint64(u.Steady)), output.Percent(uint64(u.Steady), uint64(u.Limit)))
}

// grown is by how much a counter has grown; 0 if it went back.
func grown(after, before uint64) uint64 {
	if after < before {
		return 0
	}
	return after - before
}
