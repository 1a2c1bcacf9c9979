package diagnose

import (
	"time"

	"github.com/twtrace/twtrace/internal/advice"
	"github.com/twtrace/twtrace/internal/conn"
	"github.com/twtrace/twtrace/internal/event"
	"github.com/twtrace/twtrace/internal/pressure"
)

// expiry adds n sockets in TIME_WAIT by the time they have left.
func expiry(e *pressure.Expiry, n int, flow *conn.Flow) {
	if flow == nil { // a handful
		e.Add(n, time.Minute/2)
		return
	}
	placed := 0
	for age := range flow.Age {
		at := int(flow.Age[age]) + int(flow.Stamped[age])
		placed += at
		e.Add(at, time.Minute-time.Duration(age)*time.Second)
	}
	// What came before the flow was followed is older than that.
	e.Add(max(n-placed, 0), time.Minute-flow.Known)
}

// timers sets the time that the sockets in TIME_WAIT to crowded destinations have left to
// what each of them says: a flow does not know those from before it was followed.
func (d *Diagnosis) timers(f *advice.Facts) {
	if d.opt.TablesOnly {
		return
	}
	crowded := make(map[pressure.Key]*pressure.Expiry)
	usable := float64(f.Limits.UsablePorts())
	for i := range f.Destinations {
		to := &f.Destinations[i]
		if n := to.States.Of(event.TimeWait); n > 0 && (to.Failed > 0 || float64(n) >= pressure.HalfShare*usable) {
			crowded[pressure.Key{NetNS: f.NetNS.Inum, Local: to.Local, Remote: to.Remote}] = &to.Expiry
			to.Expiry = pressure.Expiry{}
		}
	}
	if len(crowded) == 0 {
		return
	}
	now := f.Time.UnixNano()
	for s := range d.session.Table().Sockets() {
		if s.State != event.TimeWait || s.Role == event.Server {
			continue
		}
		if e := crowded[pressure.Key{NetNS: s.NetNS, Local: s.Local.Addr(), Remote: s.Remote}]; e != nil {
			e.Add(1, event.TimeWaitLen-time.Duration(now-s.Since))
		}
	}
}
