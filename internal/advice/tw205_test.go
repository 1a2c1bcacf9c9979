package advice

import (
	"strings"
	"testing"
	"time"

	"github.com/twtrace/twtrace/internal/pressure"
)

var tw205Scenarios = []scenario{
	{name: "a server that fills the buckets", facts: func() Facts {
		f := healthy()
		f.TimeWait, f.After.TimeWait = steadily(120000), 120000
		return f
	},
		want: []string{"TW205 warn", "TW900 info"}},
	{name: "buckets full", facts: func() Facts {
		f := healthy()
		f.TimeWait, f.After.TimeWait = steadily(131072), 131072
		return f
	},
		want: []string{"TW205 crit", "TW900 info"}},
	{name: "refused while watched", facts: func() Facts {
		f := healthy()
		f.Window, f.Before.TWOverflow, f.After.TWOverflow = 10*time.Second, 5, 25
		return f
	},
		want: []string{"TW205 crit", "TW900 info"}},
	{name: "refused long ago", facts: func() Facts {
		f := healthy()
		f.Before.TWOverflow, f.After.TWOverflow = 25, 25
		return f
	},
		want: []string{"TW205 info", "TW900 info", "TW000 ok"}},
	{name: "no TIME_WAIT allowed", facts: func() Facts {
		f := healthy()
		f.Limits.MaxTWBuckets = 0
		return f
	},
		want:  []string{"TW205 warn", "TW900 info"},
		words: []string{"tcp_max_tw_buckets is 0: none is allowed"}},
	{name: "no limit", facts: func() Facts {
		f := healthy()
		f.Limits.MaxTWBuckets, f.TimeWait, f.After.TimeWait = -1, steadily(650000), 650000
		return f
	},
		want: []string{"TW900 info", "TW000 ok"}},
	{name: "no limit, and refused", facts: func() Facts {
		f := healthy()
		f.Limits.MaxTWBuckets, f.After.TWOverflow = -1, 3
		return f
	},
		want:  []string{"TW205 crit", "TW900 info"},
		words: []string{"no limit: tcp_max_tw_buckets is -1", "the kernel had no memory"}},
	{name: "TIME_WAIT refused", facts: func() Facts {
		f := traced()
		f.Traffic.Closers, f.Before.TWOverflow, f.After.TWOverflow = *one(Contributor{Process: checkout, PIDs: 1, N: 200}), 5, 25
		return f
	},
		want:  []string{"TW205 crit"},
		words: []string{"20 refused in the last 10s", "checkout[4242] of checkout.service closed 20/s first"}},
	{name: "half of the buckets, and steady", facts: func() Facts {
		f := healthy()
		f.TimeWait, f.After.TimeWait = steadily(65000), 65000
		return f
	},
		want: []string{"TW900 info", "TW000 ok"}},
}

func TestTW205(t *testing.T) { play(t, "TW205") }

// TestNoLimitIsNone: nothing advises to set a limit that is not needed.
func TestNoLimitIsNone(t *testing.T) {
	f := healthy()
	f.Limits.MaxTWBuckets, f.HostAfter.Settings.DefaultTWBuckets, f.After.TWOverflow = -1, 131072, 3
	for _, x := range Diagnose(f) {
		for _, r := range append(x.Now, x.Fix...) {
			if strings.Contains(r.Command()+r.Undo(), "tcp_max_tw_buckets") {
				t.Errorf("%s: %s; %s", x.ID, r.Command(), r.Undo())
			}
		}
	}
}

func TestMoreBuckets(t *testing.T) {
	for _, tt := range []struct {
		limit, memory uint64
		steady        float64
		want          string
	}{
		{1000, 4 << 30, 900, "tcp_max_tw_buckets=4096"},
		{131072, 4 << 30, 130000, "tcp_max_tw_buckets=262144"},
		{131072, 4 << 30, 400000, "tcp_max_tw_buckets=524288"},
		{131072, 100 << 20, 130000, ""},             // 64 MiB more of 100 are too much
		{0, 4 << 30, 0, "tcp_max_tw_buckets=4096"},  //
		{1<<31 - 1, 1 << 50, 1, ""},                 // as high as an int goes
		{1 << 30, 1 << 50, 1, "buckets=2147483647"}, //
	} {
		f := healthy()
		f.Limits.MaxTWBuckets, f.MemAvailable = int64(tt.limit), tt.memory
		got := moreBuckets(f, use{Outlook: pressure.Outlook{Steady: tt.steady}})
		if !strings.Contains(got.Command(), tt.want) || (got.Command() == "") != (tt.want == "") {
			t.Errorf("%d, %d bytes: %+v, want %q", tt.limit, tt.memory, got, tt.want)
		}
	}
}
