package advice

import (
	"testing"
	"time"

	"github.com/twtrace/twtrace/internal/event"
)

var tw201Scenarios = []scenario{
	{name: "keep-alive: few connections, long lives", facts: func() Facts {
		d := storming(100, 12)
		d.Short, d.LifeP50 = 0, time.Hour
		o := &d.Openers.List[0]
		o.Pool.Closed, o.Pool.Brief, o.Flow.Short = 0, 0, 0
		return traced().with(d).owned(client(d.Flow))
	},
		want: []string{"TW000 ok"}},
	{name: "short connections, far from any limit", facts: func() Facts { return traced().with(storming(1200, 200)) },
		want: []string{"TW201 info", "TW000 ok"},
		words: []string{"checkout[4242] of checkout.service opens 20 connections/s to " + there + " and keeps none of them",
			"all 200 that ended in the last 9s had lived for less than 1s", "at most 10 connections are open at once"},
		advises: []string{"use them again; port 5432 is usually PostgreSQL"}},
	{name: "a pool that is too small", facts: func() Facts { return traced().with(keeping(800, 2, 10)) },
		want:    []string{"TW201 info", "TW000 ok"},
		words:   []string{"keeps 2 connections to " + there + ", has 10 at once in a burst and 16 at most, and opens 80 connections/s beside those"},
		advises: []string{"let the client keep 10 connections, as many as it has at once in a burst"}},
	{name: "several processes with a pool each", facts: func() Facts {
		d := keeping(800, 2, 10)
		d.Openers.List[0].PIDs = 4
		return traced().with(d)
	},
		want:    []string{"TW201 info", "TW000 ok"},
		words:   []string{"checkout of checkout.service (4 processes) keep 2 connections to " + there + " in each process, which has 10 at once in a burst", "and together they open 80 connections/s beside those"},
		advises: []string{"let each client process keep 10 connections"}},
	{name: "many processes with a few each", facts: func() Facts {
		d := keeping(800, 2, 10)
		d.Openers.List[0].PIDs, d.Openers.List[0].Pool.Together = 400, true
		return traced().with(d)
	},
		want:  []string{"TW201 info", "TW000 ok"},
		words: []string{"checkout of checkout.service (400 processes) together keep 2 connections", "have 10 at once in a burst"}},
	{name: "a pool that is well sized, and replaces a connection at times", facts: func() Facts { return traced().with(keeping(40, 9, 10)) },
		want: []string{"TW000 ok"}},
	{name: "long connections in a pool that grows", facts: func() Facts {
		d := keeping(800, 2, 900)
		d.Openers.List[0].Pool.Closed, d.Openers.List[0].Pool.Brief = 10, 1
		return traced().with(d)
	},
		want: []string{"TW000 ok"}},
	{name: "how many it keeps was not counted", facts: func() Facts {
		d := storming(1200, 800)
		d.Openers.List[0].Pool.Over = 0
		return traced().with(d)
	},
		want:  []string{"TW201 info", "TW000 ok"},
		words: []string{"opens 80 connections/s to " + there}},
	{name: "as many are always in use, and none is known to be kept", facts: func() Facts {
		d := keeping(800, 0, 10)
		d.Openers.List[0].Pool.Least, d.Openers.List[0].Process = 5, event.Proc{PID: 9, Comm: "nginx"}
		return traced().with(d)
	},
		want:    []string{"TW201 info", "TW000 ok"},
		words:   []string{"nginx[9] opens 80 connections/s to " + there + ": all 800 that ended"},
		advises: []string{"keepalive N", "for as many as it has at once, nginx: `keepalive 10` or more"}},
	{name: "a pool whose connections serve a thousand requests each, for a third of a second", facts: func() Facts {
		d := keeping(800, 0, 10)
		d.Openers.List[0].Pool.Least, d.Openers.List[0].Flow.LifeP50 = 5, 350*time.Millisecond
		return traced().with(d)
	},
		want: []string{"TW000 ok"}},
	{name: "several processes without a pool", facts: func() Facts {
		d := storming(1200, 800)
		d.Openers.List[0].PIDs = 2
		return traced().with(d)
	},
		want:  []string{"TW201 info", "TW000 ok"},
		words: []string{"checkout of checkout.service (2 processes) open 80 connections/s", "at most 10 connections are open in each process at once"}},
	{name: "the server closes first", facts: func() Facts {
		d := storming(1200, 800)
		c := &d.Openers.List[0].Flow.Closer
		c[event.LocalSide], c[event.RemoteSide] = 8, 792
		return traced().with(d)
	},
		want:    []string{"TW201 info", "TW000 ok"},
		words:   []string{"the server closed 792 of 800 first"},
		advises: []string{"the server closed 792 of 800 first"}},
	{name: "two programs, of which one has a pool", facts: func() Facts {
		d := storming(1200, 800)
		d.Openers.List = append(d.Openers.List, Contributor{Process: event.Proc{PID: 9, Comm: "reports"}, PIDs: 1, N: 9, Flow: Flow{Opens: 9, Ends: 9, Short: 1},
			Pool: Pool{Over: 9 * time.Second, Opened: 9, Closed: 9, Brief: 9, Kept: 4, Least: 4, Most: 5}})
		d.Openers.Total += 9
		return traced().with(d)
	},
		want:  []string{"TW201 info", "TW000 ok"},
		words: []string{"checkout[4242]"}},
}

func TestTW201(t *testing.T) { play(t, "TW201") }
