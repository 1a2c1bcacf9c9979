package advice

import "testing"

var tw304Scenarios = []scenario{
	{name: "namespaces gone", facts: func() Facts {
		f := traced()
		f.Traffic.NetnsExits, f.Traffic.NetnsGone = 900, 3
		return f
	},
		want:  []string{"TW304 info", "TW000 ok"},
		words: []string{"900 TIME_WAIT sockets ended together with 3 network namespaces"}},
	{name: "namespaces gone that held no TIME_WAIT", facts: func() Facts {
		f := traced()
		f.Traffic.NetnsGone = 3
		return f
	},
		want: []string{"TW000 ok"}},
}

func TestTW304(t *testing.T) { play(t, "TW304") }
