package advice

import "testing"

var tw000Scenarios = []scenario{
	{name: "nothing happens", facts: healthy,
		want: []string{"TW900 info", "TW000 ok"}},
	{name: "idle", facts: traced,
		want:  []string{"TW000 ok"},
		words: []string{"no connection opened in the last 10s"}},
	{name: "a warning", facts: func() Facts { return healthy().with(destination(here, there, 24400)) },
		want: []string{"TW101 warn", "TW900 info"}},
}

func TestTW000(t *testing.T) { play(t, "TW000") }
