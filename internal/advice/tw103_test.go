package advice

import (
	"testing"

	"github.com/twtrace/twtrace/internal/event"
)

var tw103Scenarios = []scenario{
	{name: "connect() searches", facts: func() Facts {
		d := storming(18000, 3000)
		d.Passed = 14116
		o := client(d.Flow)
		o.System = 0.45
		return traced().with(d).owned(o)
	},
		want:  []string{"TW103 warn", "TW201 info"},
		words: []string{"1.5ms in the kernel", "45% of a CPU", "skips 14,116 ports"}},
	{name: "one holds the ports, and another connects", facts: func() Facts {
		d := storming(18000, 3000)
		d.Passed = 14116
		o := client(d.Flow)
		o.System = 0.45
		d.Holders.Add(event.Proc{PID: 7, Comm: "pool"}, 1, 1e5)
		return traced().with(d).owned(o)
	},
		want:  []string{"TW103 warn", "TW201 info"},
		words: []string{"checkout[4242] of checkout.service spends 45% of a CPU"}},
	{name: "the range half used, ports of the first parity free, and a client that works", facts: func() Facts {
		d := storming(18000, 3000)
		o := client(d.Flow)
		o.System = 0.45
		return traced().with(d).owned(o)
	},
		want: []string{"TW201 info", "TW000 ok"}},
	{name: "the range half used, and cheaply", facts: func() Facts {
		d := storming(18000, 3000)
		d.Passed = 14116
		o := client(d.Flow)
		o.System = 0.05
		return traced().with(d).owned(o)
	},
		want: []string{"TW201 info", "TW000 ok"}},
}

func TestTW103(t *testing.T) { play(t, "TW103") }
