package advice

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/twtrace/twtrace/internal/conn"
	"github.com/twtrace/twtrace/internal/event"
)

var tw210Scenarios = []scenario{
	{name: "refused by the destination", facts: func() Facts {
		f := traced()
		f.Traffic.Fails = []Fail{{Process: checkout, Call: event.Connect, Errno: uint16(unix.ECONNREFUSED), Remote: database, N: 90, Opens: 10}}
		return f
	},
		want:  []string{"TW210 warn"},
		words: []string{"90 of 100 connects of checkout to " + there, "ECONNREFUSED (111) (90%)"}},
	{name: "one address of two refuses", facts: func() Facts {
		f := traced()
		f.Traffic.Fails = []Fail{{Process: checkout, Call: event.Connect, Errno: uint16(unix.ECONNREFUSED), Remote: database, N: 50, Opens: 50}}
		return f
	},
		want: []string{"TW210 info", "TW000 ok"}},
	{name: "several addresses do not answer", facts: func() Facts {
		f := traced()
		for i := range 6 {
			f.Traffic.Fails = append(f.Traffic.Fails, Fail{Process: checkout, Call: event.Connect, Errno: uint16(unix.ETIMEDOUT),
				Remote: netip.MustParseAddrPort(fmt.Sprintf("10.2.0.%d:5432", i)), N: 2})
		}
		return f
	},
		want:  []string{"TW210 warn"},
		words: []string{"12 of 12 connects", "port 5432 of 6 addresses", "did not answer"}},
	{name: "a server that is gone, and a client that waits 2 s", facts: func() Facts {
		f := traced()
		f.Traffic.Fails = []Fail{{Process: checkout, Call: event.Connect, Cause: event.GaveUp, Remote: database, N: 5, GivenUp: conn.GivenUp{N: 5, Timed: 5, Waited: 10 * time.Second}}}
		return f
	},
		want:  []string{"TW210 warn"},
		words: []string{"5 of 5 connects of checkout to " + there + " got no answer: it gave up after 2.0 s (100%)", "two minutes"}},
	{name: "a way out that is down", facts: func() Facts {
		f := traced()
		for _, to := range []string{"198.51.100.7:443", "198.51.100.8:443"} {
			d := destination(here, to, 0)
			f = f.with(d)
			f.Traffic.Fails = append(f.Traffic.Fails, Fail{Process: event.Proc{PID: 8, Comm: to}, Call: event.Connect, Cause: event.GaveUp, Remote: d.Remote, N: 10, GivenUp: conn.GivenUp{N: 10, Timed: 10, Waited: 20 * time.Second}})
		}
		return f
	},
		want:  []string{"TW210 warn", "TW210 warn"},
		words: []string{"nor did 1 other destination, and none answered"}},
	{name: "one of two destinations by the same way is silent", facts: func() Facts {
		d, silent := destination(here, "198.51.100.7:443", 0), destination(here, "198.51.100.8:443", 0)
		d.Opens = 12
		f := traced().with(d, silent)
		f.Traffic.Fails = []Fail{{Process: checkout, Call: event.Connect, Errno: uint16(unix.ETIMEDOUT), Remote: silent.Remote, N: 5}}
		return f
	},
		want:  []string{"TW210 warn"},
		words: []string{"1 other destination answered meanwhile"}},
	{name: "a race that the faster address wins", facts: func() Facts {
		f := traced()
		f.Traffic.Fails = []Fail{{Process: checkout, Call: event.Connect, Cause: event.GaveUp, Remote: database, N: 20, GivenUp: conn.GivenUp{N: 20, Timed: 20, Waited: 20 * 30 * time.Millisecond}}}
		return f
	},
		want:  []string{"TW210 info", "TW000 ok"},
		words: []string{"gave up after 30.0ms", "a single lost one"}},
	{name: "a listener of this host that drops", facts: func() Facts {
		f := queued(Queue{Drops: 105, Waiting: 129, Backlog: 128}, 5)
		f.Traced, f.Traffic.Seen = true, 10*time.Second
		f.Traffic.Fails = []Fail{{Process: checkout, Call: event.Connect, Errno: uint16(unix.ETIMEDOUT), Remote: netip.MustParseAddrPort("127.0.0.1:8080"), N: 20}}
		return f
	},
		want:  []string{"TW211 warn", "TW210 info"},
		words: []string{"TW211 says why"}},
	{name: "what failed here is no matter of the destination", facts: func() Facts {
		f := traced()
		f.Traffic.Fails = []Fail{{Process: checkout, Call: event.Connect, Errno: uint16(unix.EADDRNOTAVAIL), Cause: event.NoPort, Remote: database, N: 90},
			{Process: checkout, Call: event.Accept, Errno: uint16(unix.EMFILE), N: 90}}
		return f
	},
		want: []string{"TW000 ok"}},
}

func TestTW210(t *testing.T) { play(t, "TW210") }
