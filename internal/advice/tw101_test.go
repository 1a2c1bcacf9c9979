package advice

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twtrace/twtrace/internal/event"
	"github.com/twtrace/twtrace/internal/pressure"
)

var tw101Scenarios = []scenario{
	{name: "little", facts: func() Facts { return healthy().with(destination(here, there, 1000)) },
		want: []string{"TW900 info", "TW000 ok"}},
	{name: "79 % and steady", facts: func() Facts { return healthy().with(destination(here, there, 21900)) },
		want: []string{"TW900 info", "TW000 ok"}},
	{name: "86 % and steady", facts: func() Facts { return healthy().with(destination(here, there, 24400)) },
		want: []string{"TW101 warn", "TW900 info"}},
	{name: "96 %, and nobody saw a call fail", facts: func() Facts { return healthy().with(destination(here, there, 27200)) },
		want: []string{"TW101 warn", "TW900 info"}},
	{name: "none is free", facts: func() Facts { return healthy().with(destination(here, there, 28232)) },
		want: []string{"TW101 crit", "TW900 info"}, words: []string{"full now: connect() to it fails"}},
	{name: "the same number to ten destinations", facts: func() Facts {
		f := healthy()
		for i := range 10 {
			f = f.with(destination(here, fmt.Sprintf("10.2.0.%d:5432", i), 2720))
		}
		return f
	},
		want: []string{"TW900 info", "TW000 ok"}},
	{name: "begun a moment ago, and fast", facts: func() Facts {
		d := destination(here, there, 0)
		d.States.Full[event.TimeWait] = 6000 // 600/s for ten seconds
		d.Expiry.Add(3000, 54*time.Second)
		d.Expiry.Add(3000, 59*time.Second)
		return healthy().with(d)
	},
		want: []string{"TW101 crit", "TW900 info"}},
	{name: "a burst that is over", facts: func() Facts {
		d := destination(here, there, 0)
		d.States.Full[event.TimeWait] = 20000
		d.Expiry.Add(20000, 12*time.Second)
		return healthy().with(d)
	},
		want: []string{"TW900 info", "TW000 ok"}},
	{name: "loopback, where ports are reused", facts: func() Facts {
		return healthy().with(destination("127.0.0.1", "127.0.0.1:5432", 27900))
	},
		want: []string{"TW101 info", "TW900 info", "TW000 ok"}},
	{name: "loopback without timestamps", facts: func() Facts {
		f := healthy().with(destination("127.0.0.1", "127.0.0.1:5432", 27900))
		f.Limits.Timestamps = 0
		return f
	},
		want: []string{"TW101 crit", "TW900 info"}},
	{name: "tcp_tw_reuse=1 that works", facts: func() Facts {
		f := healthy().with(destination(here, there, 27900))
		f.Limits.TWReuse, f.After.TWRecycled = 1, 5
		return f
	},
		want: []string{"TW101 info", "TW900 info", "TW000 ok"}},
	{name: "tcp_tw_reuse=1 in vain", facts: func() Facts {
		f := healthy().with(destination(here, there, 27900))
		f.Limits.TWReuse = 1
		return f
	},
		want: []string{"TW101 crit", "TW900 info"}},
	{name: "two troubles, the worse one first", facts: func() Facts {
		f := healthy().with(destination(here, there, 24400))
		f.Limits.MaxTWBuckets = 24000
		return f
	},
		want: []string{"TW205 crit", "TW101 warn", "TW900 info"}},
	{name: "86 % and steady, as a trace sees it", facts: func() Facts { return traced().with(storming(24400, 4000)) },
		want:  []string{"TW101 warn", "TW201 warn"},
		words: []string{"24,400 of 28,232", "checkout[4242] of checkout.service opened 400/s in the last 10s", "median life 3.0ms", "100% closed by this side first", "100% of the recent ones use TCP timestamps"}},
	{name: "too fast", facts: func() Facts { return traced().with(storming(20000, 6000)) },
		want:  []string{"TW101 crit", "TW201 warn"},
		words: []string{"full in about"}},
	{name: "it fails now", facts: func() Facts {
		d := storming(28232, 6000)
		d.Failed = 97
		return traced().with(d)
	},
		want:  []string{"TW101 crit", "TW201 warn"},
		words: []string{"97 connect() calls failed with EADDRNOTAVAIL (99) in the last 10s"}},
	{name: "all of it fails", facts: func() Facts {
		d := storming(28232, 4)
		d.Failed = 970
		return traced().with(d)
	},
		want: []string{"TW101 crit"}},
	{name: "a peer without timestamps", facts: func() Facts {
		d := storming(24400, 4000)
		d.Stamped = 0
		return traced().with(d)
	},
		want:  []string{"TW101 warn", "TW201 warn"},
		words: []string{"tcp_tw_reuse would reuse no port"}},
	{name: "from before the trace: who knows", facts: func() Facts {
		d := storming(24400, 0)
		d.Begun, d.Stamped = 0, 0
		return traced().with(d)
	},
		want:  []string{"TW101 warn"},
		words: []string{"restarting the client frees no port"}},
	{name: "all of it is taken over", facts: func() Facts {
		d := storming(24400, 4000)
		f := traced().with(d)
		f.Limits.TWReuse = 1
		f.Destinations[0].Gauge = &pressure.Gauge{Limit: 28232, TimeWait: 24400, Reusable: 24000, Outlook: pressure.Outlook{Limit: 28232, Used: 400, Steady: 400}}
		return f
	},
		want:  []string{"TW101 info", "TW201 info", "TW000 ok"},
		words: []string{"no harm while", "100% of them use TCP timestamps"}},
	{name: "ports full of sockets from before the trace", facts: func() Facts {
		d := storming(27900, 0)
		d.Openers.List, d.Holders.List, d.Gauge.Severity = nil, nil, event.Warn
		f := traced().with(d)
		f.Traffic.OwnersIn = 30 * time.Second
		return f
	},
		want:  []string{"TW101 warn", "TW900 warn"},
		words: []string{"who holds the ports is not known"}},
	{name: "older than the trace, and one program owns sockets", facts: func() Facts {
		d := storming(27900, 0)
		d.Openers.List, d.Holders.List, d.Gauge.Severity = nil, nil, event.Warn
		f := traced().with(d)
		f.Traffic.Sole = Contributor{Process: event.Proc{PID: 77, Comm: "search"}, PIDs: 3, N: 5}
		return f
	},
		want:  []string{"TW101 warn"},
		words: []string{"likely search (3 processes) (a guess: the only program in this network namespace that owns TCP sockets, 5 in all)"}},
}

func TestTW101(t *testing.T) { play(t, "TW101") }

// TestRemediesOfPorts: which remedies are named depends on what would work.
func TestRemediesOfPorts(t *testing.T) {
	base := func() Facts { return healthy().with(destination("10.0.0.7", "10.2.0.9:5432", 27900)) }
	const reuse, widen = "tcp_tw_reuse", "ip_local_port_range"
	for _, tt := range []struct {
		name   string
		change func(*Facts)
		want   []string // sysctls set by commands, in order
	}{
		{"default", func(*Facts) {}, []string{reuse, widen}},
		{"timestamps off", func(f *Facts) { f.Limits.Timestamps = 0 }, []string{widen}},
		{"reuse on and in vain", func(f *Facts) { f.Limits.TWReuse = 1 }, []string{widen}},
		{"range wide already", func(f *Facts) {
			f.Limits.PortLow, f.Limits.PortHigh = 1024, 65000
			f.Destinations[0] = destination("10.0.0.7", "10.2.0.9:5432", 63500)
		}, []string{reuse}},
	} {
		f := base()
		tt.change(&f)
		var got []string
		for _, r := range find(t, Diagnose(f), "TW101").Now {
			if r.Command() != "" {
				name, _, _ := strings.Cut(strings.TrimPrefix(r.Command(), "sysctl -w net.ipv4."), "=")
				got = append(got, name)
			}
		}
		if !slices.Equal(got, tt.want) {
			t.Errorf("%s: commands set %v, want %v", tt.name, got, tt.want)
		}
	}
}
