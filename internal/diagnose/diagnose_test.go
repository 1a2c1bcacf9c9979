package diagnose

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
	"github.com/twtrace/twtrace/internal/pressure"
	"github.com/twtrace/twtrace/internal/session"
	"github.com/twtrace/twtrace/internal/session/sessiontest"
)

const testNetNS = 4026531840

var start = time.Date(2026, 11, 22, 22, 14, 7, 0, time.UTC)

// traced is a session whose table has destinations of so many connections each, opened
// in ten seconds.
func traced(tb testing.TB, destinations, connections int) (*session.Session, *sessiontest.Source, time.Time) {
	tb.Helper()
	src := &sessiontest.Source{From: start, ByNetNS: map[uint32]kernel.Limits{testNetNS: sessiontest.Limits(10000)}}
	s, err := session.New(src, session.Options{})
	if err != nil {
		tb.Fatal(err)
	}
	for c := range destinations * connections {
		e := event.Event{Time: start.UnixNano() + int64(c)*int64(10*time.Second)/int64(destinations*connections), Cookie: uint64(c + 1), NetNS: testNetNS,
			Role: event.Client, Local: netip.AddrPortFrom(netip.MustParseAddr("10.0.0.7"), uint16(32768+c%28000)),
			Remote: netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 3, byte(c % destinations / 250), byte(c % destinations % 250)}), 5432),
			Opener: event.Proc{PID: 4242, Comm: "checkout"}}
		for _, k := range []event.Kind{event.Open, event.TimeWaitEnter} {
			e.Kind = k
			s.Table().Apply(&e)
		}
	}
	return s, src, start.Add(10 * time.Second)
}

// sampled is the table at now, with its pressure.
func sampled(s *session.Session, m *pressure.Meter, now time.Time) (*pressure.Reading, *conn.Snapshot) {
	var snap conn.Snapshot
	s.Table().Snapshot(now.UnixNano(), &snap)
	r := m.Measure(&snap)
	return &r, &snap
}

func TestFindings(t *testing.T) {
	s, src, now := traced(t, 1, 6000) // 600/s: full in less than a minute
	d := New(s, src, Options{})
	m := pressure.NewMeter(s.ConnLimits)
	r, snap := sampled(s, m, now)
	found := d.Findings(now, r, snap)
	if len(found) == 0 || found[0].ID != "TW101" || found[0].Scope.Comm != "checkout" || found[0].Forecast == nil {
		t.Fatalf("found %+v, want TW101 of checkout with a forecast", found)
	}
	fail := event.Event{Time: now.UnixNano() + 1, Kind: event.Fail, NetNS: testNetNS, Role: event.Client, Call: event.Connect, Errno: event.EADDRNOTAVAIL,
		Local: netip.AddrPortFrom(snap.Destinations[0].Local, 0), Remote: snap.Destinations[0].Remote, Opener: event.Proc{PID: 4242, Comm: "checkout"}}
	s.Table().Apply(&fail)
	now = now.Add(time.Second)
	r, snap = sampled(s, m, now)
	if found = d.Findings(now, r, snap); found[0].ID != "TW101" || found[0].Severity != event.Crit {
		t.Errorf("%v %v, want TW101 crit", found[0].Severity, found[0])
	}
}

// TestWithoutNowhere: who connects from no known address is reported only where nobody
// else connects to the same.
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
			s, src, now := traced(b, rows/2, 20)
			for _, k := range slices.Collect(s.Table().Sockets()) {
				e := event.Event{Time: k.Since, Kind: event.Open, NetNS: k.NetNS, Cookie: k.Cookie << 32, Role: event.Server,
					Local: k.Remote, Remote: k.Local, Accepter: event.Proc{PID: 990, Comm: "nginx"}}
				s.Table().Apply(&e)
			}
			d := New(s, src, Options{})
			r, snap := sampled(s, pressure.NewMeter(s.ConnLimits), now)
			if len(snap.Groups) != rows {
				b.Fatalf("%d rows", len(snap.Groups))
			}
			b.ReportAllocs()
			for b.Loop() {
				now = now.Add(time.Second) // marks get old
				d.Findings(now, r, snap)
			}
		})
	}
}
