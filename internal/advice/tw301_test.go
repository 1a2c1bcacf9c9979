package advice

import (
	"strings"
	"testing"
	"time"

	"github.com/twtrace/twtrace/internal/kernel"
)

var tw301Scenarios = []scenario{
	{name: "conntrack at 40 %", facts: func() Facts { return tracked(40000, 0, nil) },
		want: []string{"TW900 info", "TW000 ok"}},
	{name: "at 60 % and steady", facts: func() Facts { return tracked(60000, 0, nil) },
		want: []string{"TW900 info", "TW000 ok"}},
	{name: "at 60 % and rising", facts: func() Facts { return tracked(60000, 1000, nil) },
		want:  []string{"TW301 warn", "TW900 info"},
		words: []string{"60,000 of 100,000"}},
	{name: "at 60 % and rising fast", facts: func() Facts { return tracked(60000, 10000, nil) },
		want:  []string{"TW301 crit", "TW900 info"},
		words: []string{"full in about 40s"}},
	{name: "at 85 %, of TIME_WAIT", facts: func() Facts { return tracked(85000, 0, map[string]uint64{"TIME_WAIT": 80000, "ESTABLISHED": 5000}) },
		want:    []string{"TW301 warn", "TW900 info"},
		words:   []string{"94%", "in TIME_WAIT"},
		advises: []string{"timeout_time_wait=30"}},
	{name: "at 85 %, of ESTABLISHED", facts: func() Facts { return tracked(85000, 0, map[string]uint64{"TIME_WAIT": 5000, "ESTABLISHED": 80000}) },
		want:    []string{"TW301 warn", "TW900 info"},
		words:   []string{"in ESTABLISHED", "5 days"},
		advises: []string{"timeout_established=86400"}},
	{name: "full, and nothing was dropped", facts: func() Facts { return tracked(100000, 0, nil) },
		want:  []string{"TW301 crit", "TW900 info"},
		words: []string{"full now"}},
	{name: "that drops", facts: func() Facts {
		f := tracked(90000, 0, nil)
		f.HostAfter.Conntrack.Drop = 12
		return f
	},
		want:  []string{"TW301 crit", "TW900 info"},
		words: []string{"12 packets of new connections dropped in the last 10s"}},
	{name: "that dropped once", facts: func() Facts {
		f := tracked(100, 0, nil)
		f.HostAfter.Conntrack.Drop, f.HostBefore.Conntrack.Drop = 12, 12
		return f
	},
		want:  []string{"TW301 info", "TW900 info", "TW000 ok"},
		words: []string{"not now; 12"}},
	{name: "that cannot make entries", facts: func() Facts {
		f := tracked(100, 0, nil)
		f.HostAfter.Conntrack.InsertFailed = 50
		return f
	},
		want:  []string{"TW301 warn", "TW900 info"},
		words: []string{"50 entries"}},
}

func TestTW301(t *testing.T) { play(t, "TW301") }

// tracked has so many entries of 100,000, grown by so many in the window.
func tracked(count, growth uint64, states map[string]uint64) Facts {
	f := watched()
	c := kernel.Conntrack{Count: count, Max: 100000, MaxIsHere: true, TimeWait: 2 * time.Minute, Established: 5 * 24 * time.Hour}
	was := c
	was.Count -= growth
	f.HostBefore.Conntrack, f.HostAfter.Conntrack, f.HostAfter.Tracked = &was, &c, states
	return f
}

// TestConntrackLimitIsTheHosts: where the namespace can only read it, the command goes
// to the initial one.
func TestConntrackLimitIsTheHosts(t *testing.T) {
	f := tracked(90000, 0, nil)
	f.Enter = "ip netns exec web "
	if got := find(t, Diagnose(f), "TW301").Now[0]; !strings.HasPrefix(got.Command(), "ip netns exec web sysctl -w net.netfilter.nf_conntrack_max=200000") {
		t.Errorf("where it can be set: %s", got.Command())
	}
	f.HostAfter.Conntrack.MaxIsHere = false
	if got := find(t, Diagnose(f), "TW301").Now[0]; got.Command() != "" || !strings.Contains(got.Text, "whole host") {
		t.Errorf("where the initial namespace is not known: %+v", got)
	}
	f.HostAfter.InitEnter, f.HostAfter.InitKnown = "nsenter --net=/proc/1/ns/net ", true
	got := find(t, Diagnose(f), "TW301").Now[0]
	if got.Command() != "nsenter --net=/proc/1/ns/net sysctl -w net.netfilter.nf_conntrack_max=200000" ||
		got.Undo() != "nsenter --net=/proc/1/ns/net sysctl -w net.netfilter.nf_conntrack_max=100000" {
		t.Errorf("%s, undo %s", got.Command(), got.Undo())
	}
	f.MemAvailable = 1 << 20
	if got := find(t, Diagnose(f), "TW301").Now[0]; got.Command() != "" || !strings.Contains(got.Text, "not enough memory") {
		t.Errorf("without memory: %+v", got)
	}
}
