package advice

import (
	"fmt"

	"github.com/twtrace/twtrace/internal/event"
	"github.com/twtrace/twtrace/internal/output"
)

var tw101 = rule{id: "TW101", title: "ports held by TIME_WAIT", find: portsHeldByTimeWait}

// portsHeldByTimeWait is TW101.
func portsHeldByTimeWait(f Facts) []Finding {
	return fullest(f, func(d Destination, u use) (Finding, bool) {
		if !d.mostlyTimeWait() {
			return Finding{}, false
		}
		x := d.finding(f, u)
		x.Why = fmt.Sprintf("%s of these ports are in TIME_WAIT: the side that closes first, here the client, keeps its port for 60 s. "+
			"Other destinations still work; restarting the client frees no port", output.Count(uint64(d.States.Of(event.TimeWait))))
		if d.States.Of(event.TimeWait) == 0 {
			x.Why = "nothing holds these ports by now; restarting the client frees none"
		}
		x.Why += f.timersSay(&d, u)
		if f.Traced && d.Opens > 0 {
			x.Why += "; " + f.flowInWords(&d.Flow)
		}
		reuse := f.reuse(d)
		x.Why += f.reuseInWords(d, reuse)
		if reuse >= reuseSeen && d.Failed == 0 && (d.Gauge == nil || u.severity() < event.Warn) {
			x.Severity, x.Forecast = event.Info, nil
			x.When = "no harm: connect() reuses the ports that are old enough"
			if reuse == reuseSeen {
				x.When = "no harm while the destination uses TCP timestamps: connect() reuses the ports that are old enough"
			}
		}
		if x.Severity > event.Info {
			x.Now = portRemedies(f, d, reuse)
		}
		x.Fix = d.reuseConnections(d.biggest())
		return x, true
	})
}

// timersSay says when the ports of d entered TIME_WAIT, and when they are free; it goes
// behind a why.
func (f *Facts) timersSay(d *Destination, u use) string {
	entered := f.entered(&d.Expiry)
	if entered == "" {
		return ""
	}
	words := "; " + entered
	switch _, _, over := drains(&d.Expiry); {
	case over:
		words += "; " + f.freeBy(&d.Expiry)
	case !f.Traced && u.full():
		words += "; the full range throttles that rate: how many calls fail is not known without a trace"
	}
	return words
}

// reuseInWords says whether connect() reuses ports in TIME_WAIT; it goes behind a why.
func (f *Facts) reuseInWords(d Destination, r reuse) string {
	switch r {
	case reuseWorks:
		return fmt.Sprintf("; tcp_tw_reuse=%d applies to them", f.Limits.TWReuse)
	case reuseSeen:
		if d.Begun > 0 {
			return fmt.Sprintf("; tcp_tw_reuse is 1, and %s of them use TCP timestamps", d.stamped())
		}
		return fmt.Sprintf("; tcp_tw_reuse is 1, and connect() has reused %s ports", output.Count(f.recycled()))
	case reuseInVain:
		if d.Begun > 0 {
			return "; tcp_tw_reuse=1 has no effect, because the destination does not use TCP timestamps"
		}
		return "; tcp_tw_reuse is 1 and connect() has reused no port, so the destination probably does not use TCP timestamps"
	case reuseImpossible:
		return "; TCP timestamps are off on this host, so connect() cannot reuse a port early"
	case reuseUseless:
		return "; the destination does not use TCP timestamps, so tcp_tw_reuse would reuse no port"
	}
	if d.Begun > 0 {
		return fmt.Sprintf("; %s of the recent ones use TCP timestamps", d.stamped())
	}
	return ""
}

// stamped is the share of sockets in TIME_WAIT whose peer uses TCP timestamps, among
// those where it is known.
func (d *Destination) stamped() string { return output.Percent(uint64(d.Stamped), uint64(d.Begun)) }
