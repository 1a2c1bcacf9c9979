package advice

import (
	"net/netip"
	"testing"
	"time"
)

var tw303Scenarios = []scenario{
	{name: "tcp_fin_timeout lowered", facts: func() Facts { f := healthy(); f.Limits.FinTimeout = 15 * time.Second; return f },
		want:    []string{"TW303 info", "TW900 info", "TW000 ok"},
		words:   []string{"no effect on TIME_WAIT"},
		advises: []string{"tcp_fin_timeout=60", "tcp_fin_timeout=15"}},
	{name: "tcp_fin_timeout raised", facts: func() Facts { f := healthy(); f.Limits.FinTimeout = 2 * time.Minute; return f },
		want: []string{"TW900 info", "TW000 ok"}},
	{name: "tcp_tw_recycle", facts: func() Facts { f := healthy(); f.HostAfter.Settings.TWRecycle = 1; return f },
		want:    []string{"TW303 warn", "TW900 info"},
		words:   []string{"behind NAT"},
		advises: []string{"tcp_tw_recycle=0"}},
	{name: "buckets lowered, and not missed", facts: func() Facts { f := healthy(); f.HostAfter.Settings.DefaultTWBuckets = 262144; return f },
		want:    []string{"TW303 info", "TW900 info", "TW000 ok"},
		words:   []string{"131,072", "the default on this host is 262,144"},
		advises: []string{"tcp_max_tw_buckets=262144"}},
	{name: "buckets as they are by default", facts: func() Facts { f := healthy(); f.HostAfter.Settings.DefaultTWBuckets = 131072; return f },
		want: []string{"TW900 info", "TW000 ok"}},
	{name: "buckets lowered, and missed", facts: func() Facts {
		f := healthy()
		f.Limits.MaxTWBuckets, f.HostAfter.Settings.DefaultTWBuckets = 5000, 131072
		f.Before.TWOverflow, f.After.TWOverflow = 9, 9
		return f
	},
		want:  []string{"TW303 warn", "TW205 info", "TW900 info"},
		words: []string{"it does harm", "9 sockets were refused TIME_WAIT"}},
	{name: "reuse without timestamps", facts: func() Facts { f := healthy(); f.Limits.TWReuse, f.Limits.Timestamps = 1, 0; return f },
		want:    []string{"TW303 info", "TW900 info", "TW000 ok"},
		advises: []string{"tcp_timestamps=1"}},
	{name: "timestamps off, and no reuse asked for", facts: func() Facts { f := healthy(); f.Limits.Timestamps = 0; return f },
		want: []string{"TW900 info", "TW000 ok"}},
	{name: "reuse without timestamps, and ports run out", facts: func() Facts {
		f := healthy().with(destination(here, there, 27900))
		f.Limits.TWReuse, f.Limits.Timestamps = 1, 0
		return f
	},
		want: []string{"TW101 crit", "TW303 warn", "TW900 info"}},
	{name: "listeners inside the range", facts: func() Facts {
		f := healthy()
		for _, at := range []string{"0.0.0.0:33060", "[::]:33060", "0.0.0.0:22", "127.0.0.1:50000"} {
			f.HostAfter.Queues = append(f.HostAfter.Queues, Queue{Local: netip.MustParseAddrPort(at)})
		}
		f.Limits.ReservedPorts, f.Limits.Reserved = "40000", 1
		return f
	},
		want:    []string{"TW303 info", "TW900 info", "TW000 ok"},
		words:   []string{"33060,50000", "Which of them are fixed is not known here"},
		advises: []string{"add the fixed ones to net.ipv4.ip_local_reserved_ports"}},
	{name: "one that is reserved", facts: func() Facts {
		f := healthy()
		f.HostAfter.Queues = []Queue{{Local: netip.MustParseAddrPort("0.0.0.0:33060")}}
		f.Limits.ReservedPorts, f.Limits.Reserved = "33060", 1
		return f
	},
		want: []string{"TW900 info", "TW000 ok"}},
}

func TestTW303(t *testing.T) { play(t, "TW303") }
