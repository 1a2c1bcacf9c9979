package advice

import "testing"

var tw202Scenarios = []scenario{
	{name: "a swarm", facts: func() Facts {
		o := client(churning(900))
		o.Process.Comm, o.PIDs, o.Came = "curl", 900, 900
		return traced().owned(o)
	},
		want:  []string{"TW202 info", "TW000 ok"},
		words: []string{"900 processes of curl started in the last 10s", "started by systemd[1]", there}},
	{name: "workers that stay are no swarm", facts: func() Facts {
		o := client(churning(150))
		o.PIDs, o.Came, o.Stays = 64, 64, true
		return traced().owned(o)
	},
		want: []string{"TW000 ok"}},
}

func TestTW202(t *testing.T) { play(t, "TW202") }
