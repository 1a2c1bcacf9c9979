package advice

import "testing"

var tw209Scenarios = []scenario{
	{name: "SYNs answered by ACK", facts: func() Facts { return served(Flow{TimeWaitEnds: 100, TimeWaitResets: 20}) },
		want:  []string{"TW209 warn"},
		words: []string{"20 of 100", "0.0.0.0:443", "NAT"}},
	{name: "a few RSTs on loopback", facts: func() Facts { return served(Flow{TimeWaitEnds: 10000, TimeWaitResets: 20}) },
		want: []string{"TW000 ok"}},
	{name: "old timestamps", facts: func() Facts { f := watched(); f.After.PAWSTimewait = 30; return f },
		want:  []string{"TW209 warn", "TW900 info"},
		words: []string{"30 segments"}},
	{name: "old timestamps before", facts: func() Facts {
		f := watched()
		f.Before.PAWSTimewait, f.After.PAWSTimewait = 30, 30
		return f
	},
		want: []string{"TW900 info", "TW000 ok"}},
}

func TestTW209(t *testing.T) { play(t, "TW209") }
