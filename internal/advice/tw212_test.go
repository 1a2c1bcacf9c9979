package advice

import (
	"testing"
	"time"

	"github.com/twtrace/twtrace/internal/event"
)

var tw212Scenarios = []scenario{
	{name: "a pool that outlives the server's timeout", facts: func() Facts { return idleReset(23, 61) },
		want: []string{"TW212 warn"},
		words: []string{"23 of 61 connections of checkout[4242]", "node[99] closed them after about 2.0 s without data", "2.3/s",
			"FIN came first"},
		advises: []string{"server closes after about 2.0 s, so have checkout", "raise the idle timeout of node above the client's (Node: server.keepAliveTimeout, 5 s by default)"}},
	{name: "one connection in a hundred", facts: func() Facts { return idleReset(5, 500) },
		want: []string{"TW212 warn"}},
	{name: "fewer", facts: func() Facts { return idleReset(4, 500) },
		want: []string{"TW000 ok"}},
	{name: "two, as after a restart", facts: func() Facts { return idleReset(2, 4) },
		want: []string{"TW000 ok"}},
	{name: "a server elsewhere, and no one timeout", facts: func() Facts {
		f := idleReset(10, 100)
		r := &f.Traffic.IdleResets[0]
		r.Closed, r.Least, r.Longest = event.Proc{}, 3*time.Second, 59*time.Second
		return f
	},
		want:    []string{"TW212 warn"},
		words:   []string{"the server at " + there + " closed them after 3.0 s to 59.0 s without data"},
		advises: []string{"nginx: keepalive_timeout; Node"}},
	{name: "clients elsewhere", facts: func() Facts {
		f := idleReset(10, 100)
		f.Traffic.IdleResets[0].Wrote = event.Proc{}
		return f
	},
		want:    []string{"TW212 warn"},
		words:   []string{"10 of 100 connections of clients elsewhere", "node[99] closed them"},
		advises: []string{"have the clients close", "IdleConnTimeout"}},
	{name: "clients whose process is not known", facts: func() Facts {
		f := idleReset(10, 100)
		f.Traffic.IdleResets[0].Wrote, f.Traffic.IdleResets[0].Here = event.Proc{}, true
		return f
	},
		want:  []string{"TW212 warn"},
		words: []string{"10 of 100 connections of clients on this host whose process is not known to "}},
	{name: "some beside a pool", facts: func() Facts {
		f := idleReset(10, 100)
		f.Traffic.IdleResets[0].Unnamed = 8
		return f
	},
		want:  []string{"TW212 warn"},
		words: []string{"10 of 100 connections of checkout[4242]", "so were 8 more of clients on this host whose process is not known"}},
}

func TestTW212(t *testing.T) { play(t, "TW212") }

// idleReset has so many connections, of all to a server, that it closed as idle too early.
func idleReset(n, of uint64) Facts {
	f := traced()
	f.Traffic.IdleResets = []IdleReset{{Wrote: checkout, PIDs: 1, Closed: event.Proc{PID: 99, Comm: "node"}, Server: database, N: n, Of: of,
		Least: 1900 * time.Millisecond, Idle: 2 * time.Second, Longest: 2100 * time.Millisecond}}
	return f
}
