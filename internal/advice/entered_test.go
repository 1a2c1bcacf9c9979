package advice

import (
	"strings"
	"testing"
	"time"

	"github.com/twtrace/twtrace/internal/event"
	"github.com/twtrace/twtrace/internal/pressure"
)

// late is a range of 2,000 ports that filled from 19 to 15 s ago, as a dump shows it.
func late(used int) Facts {
	d := destination(here, there, 0)
	d.States.Full[event.TimeWait] = uint32(used)
	for ago := 19; ago > 15; ago-- {
		d.Expiry[60-ago] = uint32(used) / 4
	}
	d.Expiry[60-16] += uint32(used) % 4
	f := healthy()
	f.Limits.PortLow, f.Limits.PortHigh = 32768, 34767
	return f.with(d)
}

// TestLate: whoever comes late is told when the storm was, how fast, and when its ports are free.
func TestLate(t *testing.T) {
	x := find(t, Diagnose(late(1990)), "TW101")
	for _, want := range []string{"1,990 entered TIME_WAIT between 22:13:48 and 22:13:52 UTC, about 497/s; none for 15s",
		"the last of these ports is free in about 47s, by 22:14:54 UTC"} {
		if !strings.Contains(x.Why, want) {
			t.Errorf("why: %s\nwant %s", x.Why, want)
		}
	}
	if want := "nothing new for 15s; all free in about 47s"; !strings.HasSuffix(x.When, want) {
		t.Errorf("when: %s\nwant %s", x.When, want)
	}
	// With two thirds of the range it is no trouble, and still told.
	x = find(t, Diagnose(late(1300)), "TW000")
	if !strings.Contains(x.What, "1,300 entered TIME_WAIT between 22:13:48 and 22:13:52 UTC") {
		t.Errorf("what: %s", x.What)
	}
}

// failing is a destination whose gauge measured an outage.
func failing(demand, fits float64, failed uint64, o pressure.Outage) Facts {
	d := storming(28232, 4)
	d.Failed, d.Gauge.Demand, d.Gauge.MaxRate, d.Gauge.Outage = failed, demand, fits, o
	d.Gauge.Severity = event.Crit
	if o.Over() {
		d.Gauge.Severity, d.Gauge.Outlook = event.SeverityNone, pressure.Outlook{Limit: 28232, Used: 900, Steady: 900}
	}
	return traced().with(d)
}

// TestDemandInWords: what is wanted stands beside what fits; calls that failed and no longer
// do are resolved, and not critical.
func TestDemandInWords(t *testing.T) {
	now := healthy().Time
	at := func(ago time.Duration) int64 { return now.Add(-ago).UnixNano() }
	x := find(t, Diagnose(failing(80, 34, 777, pressure.Outage{From: at(30 * time.Second)})), "TW101")
	if x.Severity != event.Crit || !strings.HasSuffix(x.When, "777 connect() calls failed with EADDRNOTAVAIL (99) in the last 10s, 78/s; demand 80/s, at most 34/s fit") {
		t.Errorf("%v, when: %s", x.Severity, x.When)
	}
	x = find(t, Diagnose(failing(2, 34, 12, pressure.Outage{From: at(76 * time.Second), To: at(4 * time.Second), Refused: 4069})), "TW101")
	if x.Severity != event.Warn || !strings.HasPrefix(x.When, "resolved 4s ago, after 72.0s: 12 connect() calls failed") ||
		x.Short != "ports to 10.2.0.9:5432: resolved 4s ago, after 72.0s" || x.Forecast != nil {
		t.Errorf("%v, when: %s; %s; forecast %v", x.Severity, x.When, x.Short, x.Forecast)
	}
	f := traced()
	f.Before.TWOverflow, f.After.TWOverflow = 5, 25
	f.Traffic.Buckets = &pressure.Gauge{Outage: pressure.Outage{From: at(9 * time.Second), To: at(4 * time.Second), Refused: 20}}
	x = find(t, Diagnose(f), "TW205")
	if x.Severity != event.Warn || x.When != "resolved 4s ago, after 5s: 20 refused in the last 10s (2.0/s)" || x.Forecast != nil {
		t.Errorf("%v, when: %s", x.Severity, x.When)
	}
}
