package diagnose

import (
	"net/netip"
	"testing"
	"time"

	"github.com/twtrace/twtrace/internal/conn"
	"github.com/twtrace/twtrace/internal/event"
)

// TestPortHolders: what the table does not show is asked of sock_diag, now and then; what
// was there when bind() failed is remembered, and the end of it all is noted.
func TestPortHolders(t *testing.T) {
	at := netip.MustParseAddrPort
	b := newBench(t, 1000, Options{Whole: true, FromNow: true})
	b.open(checkout, postgres, 9)
	b.at = time.Second
	b.all() // the window starts here
	wanted := at("10.0.0.7:7000")
	other := event.Proc{PID: 51, Comm: "other"}
	b.host.OnPorts = []conn.Socket{
		{NetNS: testNetNS, State: event.Established, Local: wanted, Remote: at("10.2.0.9:5432"), Role: event.Client, Process: other},
		{NetNS: testNetNS, State: event.Established, Local: wanted, Remote: at("10.2.0.9:5433"), Role: event.Client, Process: other},
		{NetNS: testNetNS, State: event.Established, Local: at("10.0.0.8:7000"), Remote: wanted, Process: nginx},
	}
	step := func() (p struct {
		holders   int
		n         int
		of        string
		past, got bool
		to        netip.AddrPort
	}) {
		b.at += time.Second
		taken := b.facts().Traffic.Taken
		if len(taken) != 1 {
			t.Fatalf("%+v", taken)
		}
		p.holders, p.past, p.got = len(taken[0].Holders), taken[0].Past, taken[0].Got
		if p.holders > 0 {
			h := &taken[0].Holders[0]
			p.n, p.of, p.to = h.N, h.Process.Comm, h.Remote
		}
		return p
	}
	b.fail(checkout, event.Bind, event.EADDRINUSE, wanted, netip.AddrPort{})
	if p := step(); p.holders != 1 || p.n != 2 || p.of != "other" || p.past || p.to.IsValid() {
		t.Errorf("both connections of other: %+v", p)
	}
	b.host.OnPorts = nil
	if p := step(); p.holders != 1 || p.past {
		t.Errorf("it was asked a second ago: %+v", p)
	}
	b.at += searchEvery
	if p := step(); p.holders != 1 || !p.past || p.of != "other" {
		t.Errorf("they are gone: %+v", p)
	}
	listen := event.Event{Time: start.Add(b.at).UnixNano(), Kind: event.Listen, Cookie: 9 << 40, NetNS: testNetNS, Local: wanted, Process: checkout}
	b.apply(listen)
	if p := step(); !p.got || p.past || p.of != checkout.Comm {
		t.Errorf("it listens there by now: %+v", p)
	}
}

// TestPortHolderGot: a program that fails again after it listened does not have the port.
func TestPortHolderGot(t *testing.T) {
	b := newBench(t, 1000, Options{Whole: true, FromNow: true})
	b.open(checkout, postgres, 9)
	b.at = time.Second
	b.all()
	wanted := netip.MustParseAddrPort("10.0.0.7:7000")
	second := checkout
	second.PID++
	b.apply(event.Event{Time: start.Add(b.at).UnixNano(), Kind: event.Listen, Cookie: 9 << 40, NetNS: testNetNS, Local: wanted, Process: second})
	b.at += time.Second
	b.all()
	for range 3 {
		b.at += time.Second
		b.fail(checkout, event.Bind, event.EADDRINUSE, wanted, netip.AddrPort{})
		if taken := b.facts().Traffic.Taken; len(taken) != 1 || taken[0].Got || len(taken[0].Holders) != 1 {
			t.Errorf("%+v", taken)
		}
	}
}
