package advice

import (
	"testing"
	"time"

	"github.com/twtrace/twtrace/internal/event"
)

var tw206Scenarios = []scenario{
	{name: "reset by the client", facts: func() Facts {
		o, s := client(churning(500)), client(churning(500))
		o.ResetSent, o.DataLost = 480, 470
		s.Role, s.ResetReceived, s.Process = event.Server, 480, event.Proc{PID: 7, Comm: "nginx"}
		return traced().owned(o, s)
	},
		want:  []string{"TW206 warn"},
		words: []string{"480 of 500 connections of checkout[4242]", "it sent the resets itself: 480 of 480", "470 of them discarded data", "no good sign"}},
	{name: "health checks that end with a reset", facts: func() Facts {
		o, s := client(churning(500)), client(churning(500))
		o.ResetSent, o.Destinations = 500, 20
		s.Role, s.ResetReceived, s.Process = event.Server, 500, event.Proc{PID: 7, Comm: "nginx"}
		return traced().owned(o, s)
	},
		want:  []string{"TW206 info", "TW000 ok"},
		words: []string{"no data was lost", "health check"}},
	{name: "a program that avoids TIME_WAIT", facts: func() Facts {
		o := client(churning(500))
		o.ResetSent = 500
		return traced().owned(o)
	},
		want:  []string{"TW206 warn"},
		words: []string{"no data was lost", "no health check asks one destination so often"}},
	{name: "health checks by clients elsewhere", facts: func() Facts {
		o := client(churning(500))
		o.Role, o.ResetReceived = event.Server, 500
		return traced().owned(o)
	},
		want:  []string{"TW206 info", "TW000 ok"},
		words: []string{"the peer sent the resets"}},
	{name: "idle connections are another finding's", facts: func() Facts {
		o := client(churning(500))
		o.ResetReceived, o.IdleResets, o.DataLost = 480, 480, 480
		return traced().owned(o)
	},
		want: []string{"TW000 ok"}},
	{name: "reset by a peer elsewhere", facts: func() Facts {
		o := client(churning(500))
		o.ResetReceived, o.DataLost = 480, 480
		return traced().owned(o)
	},
		want:  []string{"TW206 warn"},
		words: []string{"the peer sent the resets: 480 of 480"}},
	{name: "a load test ends with resets", facts: func() Facts {
		o := client(Flow{Opens: 100, Ends: 100, ResetSent: 100, LifeP50: 9 * time.Second})
		return traced().owned(o)
	},
		want: []string{"TW000 ok"}},
}

func TestTW206(t *testing.T) { play(t, "TW206") }
