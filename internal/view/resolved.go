package view

import (
	"fmt"
	"time"

	"github.com/twtrace/twtrace/internal/output"
	"github.com/twtrace/twtrace/internal/pressure"
)

// resolvedFor is how long the screen says that an outage is over.
const resolvedFor = 30 * time.Second

// resolved says that the last outage is over, when and how long it lasted; "" if none was
// lately.
func (s *State) resolved() string {
	var last *pressure.Gauge
	for i := range s.Pressure.Gauges {
		g := &s.Pressure.Gauges[i]
		if g.Outage.Over() && (last == nil || g.Outage.To > last.Outage.To) {
			last = g
		}
	}
	if last == nil {
		return ""
	}
	o := &last.Outage
	ago := s.Time.Sub(time.Unix(0, o.To))
	if ago >= resolvedFor {
		return ""
	}
	what := "ports to " + last.Remote.String()
	failed := plural(int(o.Refused), "call") + " failed"
	switch last.What {
	case pressure.LocalPorts:
		what = "ports bound at " + last.Local.String()
	case pressure.Buckets:
		what, failed = "TIME_WAIT buckets", plural(int(o.Refused), "socket")+" refused"
	}
	return fmt.Sprintf("resolved %s ago, lasted %s: %s, %s", output.Seconds(max(ago, time.Second)),
		output.Seconds(max(o.Length(o.To), time.Second)), what, failed)
}
