package advice

import (
	"net/netip"
	"testing"

	"github.com/twtrace/twtrace/internal/event"
)

var tw207Scenarios = []scenario{
	{name: "CLOSE_WAIT grows", facts: func() Facts {
		f := traced()
		f.Traffic.Lingering = []Lingering{{State: event.CloseWait, Process: checkout, Remote: database, N: 340, Grown: 50}}
		return f
	},
		want:  []string{"TW207 warn"},
		words: []string{"has 340 connections to " + there + " stuck in CLOSE_WAIT", "50 more in the last 10s", "leaks sockets"}},
	{name: "FIN_WAIT2 grows", facts: func() Facts {
		f := traced()
		f.Traffic.Lingering = []Lingering{{State: event.FinWait2, Process: checkout, Local: netip.MustParseAddrPort("10.0.0.7:80"), N: 40, Grown: 40}}
		return f
	},
		want:  []string{"TW207 warn"},
		words: []string{"on 10.0.0.7:80 stuck in FIN_WAIT2", "the peer has not"}},
	{name: "CLOSE_WAIT from long ago, and a few new ones", facts: func() Facts {
		f := traced()
		f.Traffic.Lingering = []Lingering{{State: event.CloseWait, Process: checkout, Remote: database, N: 340, Grown: 3},
			{State: event.CloseWait, Process: checkout, Remote: netip.MustParseAddrPort("10.9.9.9:80"), N: 9, Grown: 9}}
		return f
	},
		want:  []string{"TW207 info", "TW000 ok"},
		words: []string{"does not grow"}},
	{name: "a few that stay", facts: func() Facts {
		f := traced()
		f.Traffic.Lingering = []Lingering{{State: event.CloseWait, Process: checkout, Remote: database, N: 40, Grown: 9}}
		return f
	},
		want: []string{"TW000 ok"}},
}

func TestTW207(t *testing.T) { play(t, "TW207") }
