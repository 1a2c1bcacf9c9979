package output

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/twtrace/twtrace/internal/event"
)

// TestStorm: a storm in every format, and what is not known of it left out.
func TestStorm(t *testing.T) {
	e := event.Event{Time: at, Kind: event.StormStart, Reason: event.Ports, NetNS: 4026531840, Role: event.Client,
		Process: event.Proc{PID: 4242, Comm: "checkout"}, Owner: event.ByConnect,
		Local: netip.MustParseAddrPort("10.0.0.7:0"), Remote: netip.MustParseAddrPort("10.2.0.9:5432"),
		Storm: &event.StormInfo{Severity: event.Crit, Rate: 812, Demand: 900, ShortShare: 0.998, LifeP50: 3100000,
			Used: 14200, Usable: 28232, Projected: 49532, ExhaustsIn: 17.28, Outage: -1, PIDs: 1}}
	over := e
	info := *e.Storm
	info.Severity, info.Outage, info.Resolved = event.Warn, 72.04, true
	over.Storm = &info
	churn := event.Event{Time: at, Kind: event.StormEnd, Reason: event.Churn, Storm: event.NewStorm()}
	got := render(t, Options{Format: JSON}, []event.Event{e, churn})
	want := `{"time":"2026-11-22T22:14:07.912345678Z","event":"storm_start","netns":4026531840,"ip":4,"laddr":"10.0.0.7",` +
		`"raddr":"10.2.0.9","rport":5432,"role":"client","pid":4242,"comm":"checkout","owner":"connect","reason":"ports",` +
		`"severity":"crit","taken_per_s":812.0,"demand_per_s":900.0,"short_share":1.00,"life_p50_ns":3100000,"used":14200,"usable":28232,"used_pct":50.3,` +
		`"projected":49532,"exhausts_in_s":17.3,"refused_total":0,"processes":1}` + "\n" +
		`{"time":"2026-11-22T22:14:07.912345678Z","event":"storm_end","reason":"churn","taken_per_s":0.0,"refused_total":0}` + "\n"
	if got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
	if got := render(t, Options{Format: JSON}, []event.Event{over}); !strings.Contains(got, `"outage_s":72.0,"resolved":true`) {
		t.Errorf("an outage that is over: %s", got)
	}
	if got := render(t, Options{}, []event.Event{over}); !strings.HasSuffix(got, "ports,warn,50%,resolved\n") {
		t.Errorf("text: %q", got)
	}
	text := render(t, Options{}, []event.Event{e})
	if line := strings.Split(text, "\n")[1]; !strings.HasSuffix(line, "ports,crit,50%") || !strings.Contains(line, "checkout") {
		t.Errorf("text: %q", line)
	}
}
