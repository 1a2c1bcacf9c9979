package conn

import (
	"net/netip"
	"testing"

	"github.com/twtrace/twtrace/internal/event"
)

// tenPorts is a namespace whose clients have the ports 40000 to 40011, two of them reserved.
func tenPorts(uint32) (Limits, bool) {
	return Limits{PortLow: 40000, PortHigh: 40011, ReservedPorts: "22,40010-40011", Usable: 10}, true
}

// failed is a connect() of checkout that fails with EADDRNOTAVAIL in its search for a port.
func failed(f func(*event.Event)) event.Event {
	return with(at(1, event.Fail), func(e *event.Event) {
		e.Call, e.Errno, e.Old = event.Connect, event.EADDRNOTAVAIL, event.SynSent
		e.Local = netip.AddrPortFrom(clientEnd.Addr(), 0)
		if f != nil {
			f(e)
		}
	})
}

func listen(port uint16, cookie uint64, state event.State) event.Event {
	return event.Event{Time: t0, Kind: event.Listen, NetNS: 4026531840, Cookie: cookie, New: state, Process: nginx,
		Local: netip.AddrPortFrom(netip.IPv4Unspecified(), port)}
}

// TestCauses: EADDRNOTAVAIL of a destination whose ports are all taken, and of others.
func TestCauses(t *testing.T) {
	opened := func(tab *Table, n int, f func(*event.Event)) {
		for i := range n {
			e := with(at(0, event.Open), func(e *event.Event) {
				e.Cookie += uint64(i)
				e.Local = netip.AddrPortFrom(clientEnd.Addr(), uint16(40000+i))
				if f != nil {
					f(e)
				}
			})
			tab.Apply(&e)
		}
	}
	v6 := netip.MustParseAddrPort("[::1]:6432")
	for _, tt := range []struct {
		name string
		do   func(*Table)
		fail event.Event
		want event.Cause
	}{
		{"all in use", func(tab *Table) { opened(tab, 10, nil) }, failed(nil), event.NoPort},
		{"all in use, and no local address is known", func(tab *Table) { opened(tab, 10, nil) },
			failed(func(e *event.Event) { e.Local, e.Old = netip.MustParseAddrPort("0.0.0.0:0"), event.StateNone }), event.NoPort},
		{"a few in use", func(tab *Table) { opened(tab, 6, nil) }, failed(nil), event.CauseNone},
		{"all in use towards another destination", func(tab *Table) { opened(tab, 10, nil) },
			failed(func(e *event.Event) { e.Remote = netip.MustParseAddrPort("10.2.0.10:80") }), event.CauseNone},
		{"all bound by clients", func(tab *Table) { opened(tab, 10, func(e *event.Event) { e.Bound = true }) },
			failed(func(e *event.Event) { e.Remote = netip.MustParseAddrPort("10.2.0.10:80") }), event.NoPort},
		{"all listened on", func(tab *Table) {
			for p := range uint16(10) {
				apply(tab, listen(40000+p, uint64(p)+1, event.Listening), listen(40000+p, 100+uint64(p), event.Listening))
			}
		}, failed(nil), event.NoPort},
		{"a reserved port is no usable one", func(tab *Table) {
			for p := range uint16(12) {
				apply(tab, listen(40000+p, uint64(p)+1, event.Listening))
			}
			apply(tab, listen(40003, 4, event.Closed))
		}, failed(nil), event.CauseNone},
		{"what a listener accepted holds its port when it is gone", func(tab *Table) {
			for p := range uint16(10) {
				apply(tab, listen(40000+p, uint64(p)+1, event.Listening), event.Event{Time: t0, Kind: event.Open, NetNS: 4026531840, Cookie: 500 + uint64(p),
					Role: event.Server, Local: netip.AddrPortFrom(clientEnd.Addr(), 40000+p), Remote: visitor}, listen(40000+p, uint64(p)+1, event.Closed))
			}
		}, failed(nil), event.NoPort},
		{"all bound by sockets that do nothing", func(tab *Table) {
			var idle []BoundIdle
			for p := range uint16(10) {
				idle = append(idle, BoundIdle{NetNS: 4026531840, Port: 40000 + p})
			}
			tab.SetBoundIdle(idle)
		}, failed(nil), event.NoPort},
		{"and they have gone", func(tab *Table) {
			tab.SetBoundIdle([]BoundIdle{{NetNS: 4026531840, Port: 40000}, {NetNS: 4026531840, Port: 40001}})
			tab.SetBoundIdle(nil)
			opened(tab, 8, nil)
		}, failed(nil), event.CauseNone},
		{"bound to a port", func(tab *Table) { opened(tab, 10, nil) },
			failed(func(e *event.Event) { e.Local, e.Bound = netip.AddrPortFrom(clientEnd.Addr(), 3001), true }), event.TupleTaken},
		{"IPv6 is off", func(*Table) {},
			failed(func(e *event.Event) {
				e.Local, e.Remote, e.Old = netip.MustParseAddrPort("[::]:0"), v6, event.StateNone
			}), event.NoAddress},
		{"IPv6, after the address was found", func(*Table) {},
			failed(func(e *event.Event) { e.Local, e.Remote = netip.MustParseAddrPort("[::1]:0"), v6 }), event.CauseNone},
		{"bind", func(*Table) {}, failed(func(e *event.Event) {
			e.Call, e.Old, e.Remote, e.Local = event.Bind, event.StateNone, netip.AddrPort{}, netip.MustParseAddrPort("192.0.2.9:0")
		}), event.NotLocal},
		{"a recording has it", func(*Table) {}, failed(func(e *event.Event) { e.Cause = event.NoPort }), event.NoPort},
		{"another errno", func(tab *Table) { opened(tab, 10, nil) }, failed(func(e *event.Event) { e.Errno = 111 }), event.CauseNone},
	} {
		tab := New(Options{Limits: tenPorts})
		tt.do(tab)
		e := tt.fail
		tab.Apply(&e)
		if e.Cause != tt.want {
			t.Errorf("%s: %v, want %v", tt.name, e.Cause, tt.want)
		}
		exhausted := uint64(0)
		for _, d := range tab.Destinations(nil) {
			exhausted += d.Exhausted
		}
		if want := b2i(tt.want == event.NoPort); exhausted != uint64(want) {
			t.Errorf("%s: %d found no port", tt.name, exhausted)
		}
	}
}

// Without limits nobody knows how many ports are free.
func TestCauseWithoutLimits(t *testing.T) {
	tab := New(Options{})
	e := failed(nil)
	apply(tab, at(0, event.Open), e)
	if tab.Apply(&e); e.Cause != event.CauseNone || len(tab.Destinations(nil)) != 1 {
		t.Errorf("%v", e.Cause)
	}
}

// TestTaken: what holds a port counts once for each port, and until it ends.
func TestTaken(t *testing.T) {
	tab := New(Options{Limits: tenPorts})
	const ns = 4026531840
	taken := func(want int) {
		t.Helper()
		if n := tab.TakenPorts(ns); n != want {
			t.Errorf("%d ports are taken, want %d", n, want)
		}
	}
	bound := with(at(0, event.Open), func(e *event.Event) { e.Bound = true }) // 40001
	apply(tab, bound, listen(40001, 9, event.Listening), listen(40001, 9, event.Listening), listen(80, 10, event.Listening), listen(40010, 11, event.Listening))
	taken(1)
	apply(tab, listen(40001, 9, event.Closed))
	taken(1)
	apply(tab, with(at(2, event.TimeWaitEnter), func(e *event.Event) { e.Bound = true }))
	taken(1)
	apply(tab, with(at(62, event.TimeWaitExit), func(e *event.Event) { e.Reason = event.Expired }))
	taken(0)
	apply(tab, listen(80, 10, event.Closed), listen(40010, 11, event.Closed))
	if len(tab.taken) != 0 || len(tab.listening) != 0 {
		t.Errorf("%+v, %+v are left", tab.taken, tab.listening)
	}
}

// BenchmarkFail is a client that goes on calling connect() when no port is free.
func BenchmarkFail(b *testing.B) {
	tab := New(Options{Limits: tenPorts})
	for p := range uint16(10) {
		apply(tab, listen(40000+p, uint64(p)+1, event.Listening))
	}
	b.ReportAllocs()
	for b.Loop() {
		e := failed(nil)
		tab.Apply(&e)
	}
}
