package advice

import (
	"fmt"
	"time"

	"github.com/twtrace/twtrace/internal/event"
	"github.com/twtrace/twtrace/internal/output"
	"github.com/twtrace/twtrace/internal/pressure"
)

// use is how much of a limit is taken, and how that goes on.
type use struct {
	pressure.Outlook
	gauge *pressure.Gauge // that it is of; nil of a look
}

// gauged is the use that a trace measures.
func gauged(g *pressure.Gauge) use { return use{g.Outlook, g} }

// use is that of the ports to d.
func (f *Facts) use(d *Destination) use {
	if d.Gauge != nil {
		return gauged(d.Gauge)
	}
	return project(d.live(), d.Expiry, f.Limits.UsablePorts())
}

// project foresees the use of a limit by live sockets, taken as constant, and by
// sockets in TIME_WAIT, which go on beginning as they did.
func project(live int, tw pressure.Expiry, limit int) use {
	return use{Outlook: pressure.Foresee(pressure.Load{
		Limit: float64(limit), Live: float64(live), TimeWait: tw, Rate: tw.Rate(),
	})}
}

// fullShare is crit even if it does not rise: calls that are refused are not seen here.
const fullShare = 0.95

// severity judges u by the rules that Severity states.
func (u use) severity() Severity {
	if u.gauge != nil {
		switch u.gauge.Severity {
		case event.Crit:
			return Crit
		case event.Warn:
			return Warn
		}
		return OK
	}
	switch s := u.Severity(); {
	case s == event.Crit, u.Limit > 0 && u.Used >= fullShare*u.Limit:
		return Crit
	case s == event.Warn:
		return Warn
	}
	return OK
}

// held reports whether most is taken by what does not count, since connect() may take
// it over.
func (u use) held() bool {
	return u.gauge != nil && u.gauge.Limit > 0 && float64(u.gauge.Held()) >= pressure.HighShare*u.Limit
}

// soon reports whether the limit is reached within the horizon of a forecast.
func (u use) soon() bool { return u.Full && u.In <= pressure.Horizon }

// full reports whether the limit is reached, or will be before this is read.
func (u use) full() bool { return u.Full && u.In < time.Second/2 }

// when words the forecast; then is what happens at the limit.
func (u use) when(then string) string {
	settles := u.settles()
	switch {
	case u.full():
		return "full now: " + then
	case u.soon():
		return fmt.Sprintf("full in about %s, then %s", seconds(u.In), then)
	case u.Rising():
		return "rising; at this rate it " + settles
	case u.Falling():
		return "falling; at this rate it " + settles
	}
	return "steady; at this rate it " + settles
}

// settles is where it ends, were there no limit.
func (u use) settles() string {
	return fmt.Sprintf("settles at about %s (%s)", output.Count(uint64(u.Steady)), output.Percent(uint64(u.Steady), uint64(u.Limit)))
}

// seconds words a duration that nobody wants in tenths: 41s, 2m30s.
func seconds(d time.Duration) string {
	if d < time.Minute {
		return fmt.Sprintf("%.0fs", d.Seconds())
	}
	return output.Duration(int64(d))
}

// grown is by how much a counter has grown; one that went back has not.
func grown(after, before uint64) uint64 {
	if after < before {
		return 0
	}
	return after - before
}
