package advice

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/twtrace/twtrace/internal/event"
)

var tw204Scenarios = []scenario{
	{name: "a busy server", facts: func() Facts {
		f := healthy()
		f.Listeners = []Listener{{Local: netip.MustParseAddrPort("0.0.0.0:443")}}
		f.Listeners[0].States.Full[event.TimeWait] = 60000
		f.TimeWait, f.After.TimeWait = steadily(60000), 60000
		return f
	},
		want: []string{"TW204 info", "TW900 info", "TW000 ok"}},
	{name: "a server that closes first", facts: func() Facts {
		f := traced()
		f.Listeners = []Listener{{Local: netip.MustParseAddrPort("0.0.0.0:443"), Owner: event.Proc{PID: 7, Comm: "nginx"}, Flow: churning(100)}}
		f.Listeners[0].States.Full[event.TimeWait] = 6000
		return f
	},
		want:  []string{"TW204 info", "TW000 ok"},
		words: []string{"nginx[7]", "it closed 100% first"}},
	{name: "a server with few in TIME_WAIT", facts: func() Facts {
		f := healthy()
		f.Listeners = []Listener{{Local: netip.MustParseAddrPort("0.0.0.0:443")}}
		f.Listeners[0].States.Full[event.TimeWait] = manyTimeWait - 1
		return f
	},
		want: []string{"TW900 info", "TW000 ok"}},
}

func TestTW204(t *testing.T) { play(t, "TW204") }

func TestServerInsideThePortRange(t *testing.T) {
	f := healthy()
	f.Listeners = []Listener{{Local: netip.MustParseAddrPort("0.0.0.0:40000")}}
	f.Listeners[0].States.Full[event.TimeWait] = 5000
	x := find(t, Diagnose(f), "TW204")
	if !strings.Contains(x.What, "inside ip_local_port_range") || x.Fix[1].Command() != "" || !strings.Contains(x.Fix[1].Text, "if the server asks for port 40000 by number") {
		t.Errorf("%s: %+v", x.What, x.Fix)
	}
	f.Limits.ReservedPorts, f.Limits.Reserved = "40000", 1
	if x := find(t, Diagnose(f), "TW204"); strings.Contains(x.What, "inside") {
		t.Errorf("a reserved port is not in the way: %s", x.What)
	}
}
