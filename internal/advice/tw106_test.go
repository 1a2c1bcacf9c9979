package advice

import (
	"strings"
	"testing"
	"time"

	"github.com/twtrace/twtrace/internal/event"
	"github.com/twtrace/twtrace/internal/pressure"
)

var tw106Scenarios = []scenario{
	{name: "a pool that leaks", facts: func() Facts { return healthy().with(live(event.Established, 27900)) },
		want: []string{"TW106 warn", "TW900 info"}},
	{name: "a pool that has leaked them all", facts: func() Facts { return healthy().with(live(event.Established, 28232)) },
		want: []string{"TW106 crit", "TW900 info"}},
	{name: "a destination that is silent", facts: func() Facts { return healthy().with(live(event.SynSent, 23000)) },
		want: []string{"TW106 warn", "TW900 info"}},
	{name: "a leak of connections", facts: func() Facts {
		d := live(event.Established, 20000)
		d.Holders, d.Gauge = *one(Contributor{Process: checkout, PIDs: 1, N: 20000}), &pressure.Gauge{Limit: 28232, Established: 20000, Severity: event.Crit,
			Outlook: pressure.Outlook{Limit: 28232, Used: 20000, Full: true, In: 40 * time.Second}}
		return traced().with(d)
	},
		want:  []string{"TW106 crit"},
		words: []string{"ESTABLISHED", "checkout[4242]", "full in about 40s"}},
	{name: "a pool of ordinary size", facts: func() Facts { return healthy().with(live(event.Established, 5000)) },
		want: []string{"TW900 info", "TW000 ok"}},
}

func TestTW106(t *testing.T) { play(t, "TW106") }

func TestWhyPortsAreHeldByLive(t *testing.T) {
	for state, want := range map[event.State]string{
		event.Established: "a connection pool leaks", event.SynSent: "does not answer",
		event.CloseWait: "the client never does", event.FinWait2: "the peer does not",
	} {
		d := destination("10.0.0.7", "10.2.0.9:5432", 100)
		d.States.Full[state] = 27900
		got := find(t, Diagnose(healthy().with(d)), "TW106")
		if !strings.Contains(got.Why+got.Fix[0].Text, want) {
			t.Errorf("%v: %s; %s", state, got.Why, got.Fix[0].Text)
		}
	}
	d := destination("10.0.0.7", "10.2.0.9:5432", 100)
	d.States.Parked = 27900
	if got := find(t, Diagnose(healthy().with(d)), "TW106"); !strings.Contains(got.Why, "FIN_WAIT2") {
		t.Errorf("parked: %s", got.Why)
	}
}
