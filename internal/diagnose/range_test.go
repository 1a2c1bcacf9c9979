package diagnose

import (
	"net/netip"
	"testing"
	"time"

	"github.com/twtrace/twtrace/internal/advice"
	"github.com/twtrace/twtrace/internal/event"
	"github.com/twtrace/twtrace/internal/kernel"
)

// TestRangeTaken: who listens on the ports of the range, or accepted connections there, has
// them for all destinations.
func TestRangeTaken(t *testing.T) {
	b := newBench(t, 10, Options{})
	for i := range uint16(6) {
		b.apply(event.Event{Time: start.UnixNano(), Kind: event.Listen, NetNS: testNetNS, Cookie: 900 + uint64(i), New: event.Listening,
			Process: nginx, Owner: event.ByListen, Local: netip.AddrPortFrom(laddr, 40000+i)})
	}
	e := b.event(checkout, postgres, 7, event.Open)
	e.Bound = true
	b.apply(e)
	f := b.facts()
	r := f.Traffic.Range
	if r.Ports != 7 || r.By.Total != 7 || len(r.By.List) != 2 || r.By.List[0].N != 6 || r.By.List[0].Process.Comm != "nginx" || r.By.List[1].N != 1 {
		t.Errorf("%+v", r)
	}
}

// TestTakenTuples: who has the four numbers, of those that failed in the window.
func TestTakenTuples(t *testing.T) {
	local, peer := netip.MustParseAddrPort("10.77.0.1:3001"), netip.MustParseAddrPort("10.77.0.2:3001")
	for _, tt := range []struct {
		name   string
		has    func(*bench)
		dumped []kernel.Socket
		want   advice.TakenTuple
	}{
		{"an inbound connection", func(b *bench) {
			b.apply(event.Event{Time: start.UnixNano(), Kind: event.Open, NetNS: testNetNS, Cookie: 1, Role: event.Server, Accepter: nginx, Local: local, Remote: peer})
		}, nil, advice.TakenTuple{State: event.Established, Role: event.Server, Holder: nginx}},
		{"TIME_WAIT", func(b *bench) {
			b.apply(event.Event{Time: start.UnixNano(), Kind: event.TimeWaitEnter, NetNS: testNetNS, Cookie: 1, Role: event.Client, Bound: true, Opener: checkout,
				Local: local, Remote: peer})
		}, nil, advice.TakenTuple{State: event.TimeWait, Role: event.Client, Holder: checkout, FreeIn: 60 * time.Second}},
		{"one that waits for an answer", func(b *bench) { b.host.Counts = map[uint32]advice.Counted{testNetNS: {}} },
			[]kernel.Socket{{State: event.SynSent, Local: local, Remote: peer}}, advice.TakenTuple{State: event.SynSent}},
		{"nobody any more", func(*bench) {}, nil, advice.TakenTuple{}},
	} {
		b := newBench(t, 100, Options{})
		b.host.Dumped = tt.dumped
		tt.has(b)
		b.at = time.Second
		b.apply(event.Event{Time: start.Add(b.at).UnixNano(), Kind: event.Fail, NetNS: testNetNS, Role: event.Client, Opener: checkout, Old: event.SynSent, Bound: true,
			Call: event.Connect, Errno: event.EADDRNOTAVAIL, Local: local, Remote: peer})
		f := b.facts()
		want := tt.want
		want.Local, want.Remote, want.By = local, peer, checkout
		if got := f.Traffic.Tuples; len(got) != 1 || got[0] != want {
			t.Errorf("%s: %+v, want %+v", tt.name, got, want)
		}
		if got := f.Traffic.Fails; len(got) != 1 || got[0].Cause != event.TupleTaken || got[0].Remote != peer {
			t.Errorf("%s: %+v", tt.name, got)
		}
	}
}

// TestCloseWait: the kernel says who of those that hold the ports is in CLOSE_WAIT; without
// it, that is not known.
func TestCloseWait(t *testing.T) {
	for _, live := range []bool{true, false} {
		b := newBench(t, 20, Options{})
		if live {
			b.host.Counts = map[uint32]advice.Counted{testNetNS: {}}
		}
		b.open(checkout, postgres, 20)
		for i := range uint16(15) {
			b.host.Dumped = append(b.host.Dumped, kernel.Socket{State: event.CloseWait, Local: netip.AddrPortFrom(laddr, 40001+i), Remote: postgres})
		}
		f := b.facts()
		s := &f.Destinations[0].States
		if closed := s.Of(event.CloseWait); s.All() != 20 || f.Coarse == live || (closed == 15) != live {
			t.Errorf("live %v: %d of %d in CLOSE_WAIT, coarse %v", live, closed, s.All(), f.Coarse)
		}
	}
}

// TestInstead: the address that works beside the one that fails.
func TestInstead(t *testing.T) {
	b := newBench(t, 100, Options{})
	b.open(checkout, netip.MustParseAddrPort("127.0.0.1:6432"), 1)
	b.open(checkout, netip.MustParseAddrPort("127.0.0.1:80"), 1)
	b.fail(checkout, event.Connect, event.EADDRNOTAVAIL, netip.MustParseAddrPort("[::]:0"), netip.MustParseAddrPort("[::1]:6432"))
	f := b.facts()
	if v := f.Traffic.Fails; len(v) != 1 || v[0].Cause != event.NoAddress || v[0].Instead != netip.MustParseAddrPort("127.0.0.1:6432") {
		t.Errorf("%+v", v)
	}
}
