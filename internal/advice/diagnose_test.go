package advice

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/twtrace/twtrace/internal/event"
)

const here, there = "10.0.0.7", "10.2.0.9:5432"

// live is a destination with so many connections in a state.
func live(state event.State, n uint32) Destination {
	d := destination(here, there, 0)
	d.States.Full[state] = n
	return d
}

// diagnoses is which rules speak, and how loudly, in what order.
var diagnoses = []struct {
	name  string
	facts func() Facts
	want  []string
}{
	{"nothing happens", healthy, []string{"TW900 info", "TW000 ok"}},
	{"little", func() Facts { return healthy().with(destination(here, there, 1000)) },
		[]string{"TW900 info", "TW000 ok"}},
	{"79 % and steady", func() Facts { return healthy().with(destination(here, there, 21900)) },
		[]string{"TW900 info", "TW000 ok"}},
	{"86 % and steady", func() Facts { return healthy().with(destination(here, there, 24400)) },
		[]string{"TW101 warn", "TW900 info"}},
	{"96 %", func() Facts { return healthy().with(destination(here, there, 27200)) },
		[]string{"TW101 crit", "TW900 info"}},
	{"the same number to ten destinations", func() Facts {
		f := healthy()
		for i := range 10 {
			f = f.with(destination(here, fmt.Sprintf("10.2.0.%d:5432", i), 2720))
		}
		return f
	}, []string{"TW900 info", "TW000 ok"}},
	{"begun a moment ago, and fast", func() Facts {
		d := destination(here, there, 0)
		d.States.Full[event.TimeWait] = 6000 // 600/s for ten seconds
		d.Expiry.Add(3000, 54*time.Second)
		d.Expiry.Add(3000, 59*time.Second)
		return healthy().with(d)
	}, []string{"TW101 crit", "TW900 info"}},
	{"a burst that is over", func() Facts {
		d := destination(here, there, 0)
		d.States.Full[event.TimeWait] = 20000
		d.Expiry.Add(20000, 12*time.Second)
		return healthy().with(d)
	}, []string{"TW900 info", "TW000 ok"}},
	{"loopback, where ports are reused", func() Facts {
		return healthy().with(destination("127.0.0.1", "127.0.0.1:5432", 27900))
	}, []string{"TW101 info", "TW302 info", "TW900 info", "TW000 ok"}},
	{"loopback without timestamps", func() Facts {
		f := healthy().with(destination("127.0.0.1", "127.0.0.1:5432", 27900))
		f.Limits.Timestamps = 0
		return f
	}, []string{"TW101 crit", "TW302 info", "TW900 info"}},
	{"tcp_tw_reuse=1 that works", func() Facts {
		f := healthy().with(destination(here, there, 27900))
		f.Limits.TWReuse, f.After.TWRecycled = 1, 5
		return f
	}, []string{"TW101 info", "TW900 info", "TW000 ok"}},
	{"tcp_tw_reuse=1 in vain", func() Facts {
		f := healthy().with(destination(here, there, 27900))
		f.Limits.TWReuse = 1
		return f
	}, []string{"TW101 crit", "TW900 info"}},
	{"a pool that leaks", func() Facts { return healthy().with(live(event.Established, 27900)) },
		[]string{"TW106 crit", "TW900 info"}},
	{"a destination that is silent", func() Facts { return healthy().with(live(event.SynSent, 23000)) },
		[]string{"TW106 warn", "TW900 info"}},
	{"a busy server", func() Facts {
		f := healthy()
		f.Listeners = []Listener{{Local: netip.MustParseAddrPort("0.0.0.0:443")}}
		f.Listeners[0].States.Full[event.TimeWait] = 60000
		f.TimeWait, f.After.TimeWait = steadily(60000), 60000
		return f
	}, []string{"TW204 info", "TW900 info", "TW000 ok"}},
	{"a server that fills the buckets", func() Facts {
		f := healthy()
		f.TimeWait, f.After.TimeWait = steadily(120000), 120000
		return f
	}, []string{"TW205 warn", "TW900 info"}},
	{"buckets full", func() Facts {
		f := healthy()
		f.TimeWait, f.After.TimeWait = steadily(131072), 131072
		return f
	}, []string{"TW205 crit", "TW900 info"}},
	{"refused while watched", func() Facts {
		f := healthy()
		f.Window, f.Before.TWOverflow, f.After.TWOverflow = 10*time.Second, 5, 25
		return f
	}, []string{"TW205 crit", "TW900 info"}},
	{"refused long ago", func() Facts {
		f := healthy()
		f.Before.TWOverflow, f.After.TWOverflow = 25, 25
		return f
	}, []string{"TW205 info", "TW900 info", "TW000 ok"}},
	{"no TIME_WAIT allowed", func() Facts {
		f := healthy()
		f.Limits.MaxTWBuckets = 0
		return f
	}, []string{"TW205 crit", "TW900 info"}},
	{"two troubles, the worse one first", func() Facts {
		f := healthy().with(destination(here, there, 24400))
		f.Limits.MaxTWBuckets = 25000
		return f
	}, []string{"TW205 crit", "TW101 warn", "TW900 info"}},
}

func TestDiagnose(t *testing.T) {
	for _, tt := range diagnoses {
		t.Run(tt.name, func(t *testing.T) {
			got := Diagnose(tt.facts())
			if !slices.Equal(ids(got), tt.want) {
				t.Errorf("found %v, want %v", ids(got), tt.want)
			}
			checkWords(t, got)
		})
	}
}
