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
		Storm: &event.StormInfo{Severity: event.Crit, Rate: 812, ShortShare: 0.998, LifeP50: 3100000,
			Used: 14200, Usable: 28232, Projected: 49532, ExhaustsIn: 17.28, PIDs: 1}}
	churn := event.Event{Time: at, Kind: event.StormEnd, Reason: event.Churn, Storm: event.NewStorm()}
	got := render(t, Options{Format: JSON}, []event.Event{e, churn})
	want := `{"time":"2026-11-22T22:14:07.912345678Z","event":"storm_start","netns":4026531840,"ip":4,"laddr":"10.0.0.7",` +
		`"raddr":"10.2.0.9","rport":5432,"role":"client","pid":4242,"comm":"checkout","owner":"connect","reason":"ports",` +
		`"severity":"crit","rate":812.0,"short_share":1.00,"life_p50_ns":3100000,"ports_used":14200,"ports_usable":28232,` +
		`"ports_projected":49532,"exhausts_in_s":17.3,"fails":0,"pids":1}` + "\n" +
		`{"time":"2026-11-22T22:14:07.912345678Z","event":"storm_end","reason":"churn","rate":0.0,"fails":0}` + "\n"
	if got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
	text := render(t, Options{}, []event.Event{e})
	if line := strings.Split(text, "\n")[1]; !strings.HasSuffix(line, "ports,crit,50%") || !strings.Contains(line, "checkout") {
		t.Errorf("text: %q", line)
	}
}
