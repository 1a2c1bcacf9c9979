package main

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/twtrace/twtrace/internal/advice"
	"github.com/twtrace/twtrace/internal/conn"
	"github.com/twtrace/twtrace/internal/event"
	"github.com/twtrace/twtrace/internal/kernel"
	"github.com/twtrace/twtrace/internal/view"
)

// seen is a table of one namespace with destinations of so many connections each.
func seen(tb testing.TB, limits *limitsCache, destinations, connections int) (*conn.Table, int64) {
	tb.Helper()
	ns, err := kernel.CurrentNetNS()
	if err != nil {
		tb.Fatal(err)
	}
	tab := conn.New(conn.Options{Limits: limits.of})
	begin := time.Now().Add(-10 * time.Second).UnixNano()
	for c := range destinations * connections {
		e := event.Event{Time: begin + int64(c)*int64(10*time.Second)/int64(destinations*connections), Cookie: uint64(c + 1), NetNS: ns.Inum,
			Role: event.Client, Local: netip.AddrPortFrom(netip.MustParseAddr("10.0.0.7"), uint16(32768+c%28000)),
			Remote: netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 3, byte(c % destinations / 250), byte(c % destinations % 250)}), 5432),
			Opener: event.Proc{PID: 4242, Comm: "checkout"}}
		for _, k := range []event.Kind{event.Open, event.TimeWaitEnter} {
			e.Kind = k
			tab.Apply(&e)
		}
	}
	return tab, begin + int64(10*time.Second)
}

func TestFindings(t *testing.T) {
	limits := &limitsCache{}
	limits.refresh()
	tab, now := seen(t, limits, 1, 12000) // 1,200/s: full in less than a minute
	d := diagnosis{limits: limits}
	b := view.Builder{Limits: limits.of}
	var snap conn.Snapshot
	tab.Snapshot(now, &snap)
	found := d.findings(b.Build(&snap), &snap)
	if len(found) == 0 || found[0].ID != "TW101" || found[0].Scope.Comm != "checkout" || found[0].Forecast == nil {
		t.Fatalf("found %+v, want TW101 of checkout with a forecast", found)
	}
	fail := event.Event{Time: now + 1, Kind: event.Fail, NetNS: snap.Destinations[0].NetNS, Role: event.Client, Call: event.Connect, Errno: 99,
		Local: netip.AddrPortFrom(snap.Destinations[0].Local, 0), Remote: snap.Destinations[0].Remote, Opener: event.Proc{PID: 4242, Comm: "checkout"}}
	tab.Apply(&fail)
	tab.Snapshot(now+int64(time.Second), &snap)
	s := b.Build(&snap)
	s.Findings = d.findings(s, &snap)
	s.Conclude()
	if want := "TW101  ports to 10.3.0.0:5432 are used up: connect() fails  (checkout[4242])"; s.Finding != want || s.Severity != view.Crit {
		t.Errorf("%v %q, want %q", s.Severity, s.Finding, want)
	}
}

// TestWithoutNowhere: who connects from no known address is told only where nobody else
// connects to the same.
func TestWithoutNowhere(t *testing.T) {
	to := func(local string, port uint16) advice.Destination {
		return advice.Destination{Local: netip.MustParseAddr(local), Remote: netip.AddrPortFrom(netip.MustParseAddr("10.3.0.1"), port)}
	}
	got := withoutNowhere([]advice.Destination{to("0.0.0.0", 80), to("10.0.0.7", 80), to("0.0.0.0", 81)})
	if len(got) != 2 || got[0].Local.IsUnspecified() || got[1].Remote.Port() != 81 {
		t.Errorf("%+v", got)
	}
}

// BenchmarkFindings is what a diagnosis of so many rows adds to a second: half of them
// are destinations of one client, half the servers there.
func BenchmarkFindings(b *testing.B) {
	for _, rows := range []int{5000, 10000} {
		b.Run(fmt.Sprint(rows), func(b *testing.B) {
			limits := &limitsCache{}
			limits.refresh()
			tab, now := seen(b, limits, rows/2, 20)
			for _, s := range slices.Collect(tab.Sockets()) {
				e := event.Event{Time: s.Since, Kind: event.Open, NetNS: s.NetNS, Cookie: s.Cookie << 32, Role: event.Server,
					Local: s.Remote, Remote: s.Local, Accepter: event.Proc{PID: 990, Comm: "nginx"}}
				tab.Apply(&e)
			}
			d := diagnosis{limits: limits}
			builder := view.Builder{Limits: limits.of}
			var snap conn.Snapshot
			tab.Snapshot(now, &snap)
			s := builder.Build(&snap)
			if len(s.Rows) != rows {
				b.Fatalf("%d rows", len(s.Rows))
			}
			b.ReportAllocs()
			for b.Loop() {
				s.Time = s.Time.Add(time.Second) // marks get old
				d.findings(s, &snap)
			}
		})
	}
}
