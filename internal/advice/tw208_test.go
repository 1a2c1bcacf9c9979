package advice

import "testing"

var tw208Scenarios = []scenario{
	{name: "TIME_WAIT that stays", facts: func() Facts {
		f := watched().with(destination(here, there, 100))
		f.Destinations[0].Flow = Flow{TimeWaitEnds: 40, LongWaits: 5, Rearms: 11}
		return f
	},
		want:  []string{"TW208 info", "TW900 info", "TW000 ok"},
		words: []string{there, "5 of 40 sockets", "2.2 times"}},
	{name: "a few that stay", facts: func() Facts {
		f := watched().with(destination(here, there, 100))
		f.Destinations[0].Flow = Flow{TimeWaitEnds: 40, LongWaits: 2, Rearms: 2}
		return f
	},
		want: []string{"TW900 info", "TW000 ok"}},
	{name: "a server's that stay", facts: func() Facts { return served(Flow{TimeWaitEnds: 40, LongWaits: 5, Rearms: 5}) },
		want:  []string{"TW208 info", "TW000 ok"},
		words: []string{"clients of the server on 0.0.0.0:443"}},
}

func TestTW208(t *testing.T) { play(t, "TW208") }
