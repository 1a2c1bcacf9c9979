package conn

import (
	"net/netip"
	"testing"

	"github.com/twtrace/twtrace/internal/event"
)

func TestOwner(t *testing.T) {
	listen := event.Event{Kind: event.Listen, Time: t0, NetNS: 1, Process: nginx}
	on := func(addr string, ns uint32) event.Event {
		return with(listen, func(e *event.Event) { e.Local, e.NetNS = netip.MustParseAddrPort(addr), ns })
	}
	shared := func(cookie uint64, p event.Proc) event.Event {
		return with(on("0.0.0.0:443", 1), func(e *event.Event) { e.Cookie, e.Process = cookie, p })
	}
	closed := func(cookie uint64) event.Event {
		return with(on("0.0.0.0:443", 1), func(e *event.Event) { e.Cookie, e.Process, e.New = cookie, event.Proc{}, event.Closed })
	}
	served := func(k event.Kind, f func(*event.Event)) event.Event {
		e := event.Event{Kind: k, Time: t0, Cookie: 5, NetNS: 1, Role: event.Server, Local: webEnd, Remote: visitor}
		if f != nil {
			f(&e)
		}
		return e
	}
	tests := []struct {
		name   string
		before []event.Event
		e      event.Event
		want   event.Proc
		from   event.OwnerFrom
	}{
		{"client: the opener, not the closer", nil, with(at(0, event.TimeWaitEnter), func(e *event.Event) { e.CloseProc = cron }), checkout, event.ByConnect},
		{"client: /proc before the closer", nil, with(at(0, event.TimeWaitEnter), func(e *event.Event) {
			e.Opener, e.CloseProc, e.Process, e.Owner = event.Proc{}, cron, checkout, event.ByProc
		}), checkout, event.ByProc},
		{"client: the closer", nil, with(at(0, event.TimeWaitEnter), func(e *event.Event) { e.Opener = event.Proc{} }), checkout, event.ByClose},
		{"client: nobody", nil, with(at(0, event.Open), func(e *event.Event) { e.Opener = event.Proc{} }), event.Proc{}, event.OwnerNone},
		{"client: never the listener on its port", []event.Event{on("10.0.0.7:40001", 4026531840)},
			with(at(0, event.Open), func(e *event.Event) { e.Opener = event.Proc{} }), event.Proc{}, event.OwnerNone},
		{"client: as it was at the open", []event.Event{at(0, event.Open)},
			with(at(1, event.TimeWaitExit), func(e *event.Event) { e.Opener = event.Proc{}; e.CloseProc = cron }), checkout, event.ByConnect},
		{"server: the accepter", []event.Event{on("0.0.0.0:443", 1)},
			served(event.TimeWaitEnter, func(e *event.Event) { e.Accepter, e.CloseProc = worker, cron }), worker, event.ByAccept},
		{"server: the closer before the listener", []event.Event{on("0.0.0.0:443", 1)},
			served(event.TimeWaitEnter, func(e *event.Event) { e.CloseProc = worker }), worker, event.ByClose},
		{"server: the listener", []event.Event{on("10.0.0.7:443", 1)}, served(event.Open, nil), nginx, event.ByListen},
		{"server: the listener on any address", []event.Event{on("0.0.0.0:443", 1)}, served(event.Open, nil), nginx, event.ByListen},
		{"server: the dual-stack listener", []event.Event{on("[::]:443", 1)}, served(event.Open, nil), nginx, event.ByListen},
		{"server: not the one in another namespace", []event.Event{on("0.0.0.0:443", 2)}, served(event.Open, nil), event.Proc{}, event.OwnerNone},
		{"server: not the one on another port", []event.Event{on("0.0.0.0:80", 1)}, served(event.Open, nil), event.Proc{}, event.OwnerNone},
		{"server: IPv6 is not served by 0.0.0.0", []event.Event{on("0.0.0.0:443", 1)},
			served(event.Open, func(e *event.Event) { e.Local = netip.MustParseAddrPort("[2001:db8::7]:443") }), event.Proc{}, event.OwnerNone},
		{"server: nobody, if listeners of two processes share the address", []event.Event{shared(1, nginx), shared(2, worker)},
			served(event.Open, nil), event.Proc{}, event.OwnerNone},
		{"server: the process that has both listeners", []event.Event{shared(1, nginx), shared(2, nginx)},
			served(event.Open, nil), nginx, event.ByListen},
		{"server: the listener that is left of two", []event.Event{shared(1, nginx), shared(2, worker), closed(1)},
			served(event.Open, nil), worker, event.ByListen},
		{"server: a listener that is closed", []event.Event{shared(1, nginx), closed(1)}, served(event.Open, nil), nginx, event.ByListen},
		{"server: the listener after one that is closed", []event.Event{shared(1, nginx), closed(1), shared(2, worker)},
			served(event.Open, nil), worker, event.ByListen},
		{"snapshot: the listener on its port", []event.Event{on("0.0.0.0:443", 1)},
			served(event.Snapshot, func(e *event.Event) { e.Role = event.RoleNone }), nginx, event.ByListen},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tab := New(Options{})
			apply(tab, tt.before...)
			tab.Apply(&tt.e)
			check(t, tab)
			if tt.e.Process != tt.want || tt.e.Owner != tt.from {
				t.Errorf("owner %v by %v, want %v by %v", tt.e.Process, tt.e.Owner, tt.want, tt.from)
			}
		})
	}
}

// A server's connection belongs to the listener at first, and to the worker once that
// closes it: it moves, with its opening, and leaves nothing behind.
func TestOwnerBecomesKnown(t *testing.T) {
	tab := New(Options{})
	apply(tab, event.Event{Kind: event.Listen, Time: t0, NetNS: 1, Local: netip.MustParseAddrPort("0.0.0.0:443"), Process: nginx})
	open := event.Event{Kind: event.Open, Time: t0, Cookie: 5, NetNS: 1, Role: event.Server, Local: webEnd, Remote: visitor}
	enter := open
	enter.Kind, enter.Time, enter.CloseProc = event.TimeWaitEnter, t0+second, worker
	apply(tab, open, enter)
	check(t, tab)
	for _, g := range tab.Groups(nil) {
		switch g.Owner {
		case nginx:
			if g.Alive() != 0 || g.Opens != 0 {
				t.Errorf("left with the listener: %+v", g.Counters)
			}
		case worker:
			if g.TimeWait != 1 || g.Opens != 1 || g.Clients != 1 || g.Local != webEnd || g.Remote.IsValid() {
				t.Errorf("the worker's: %+v", g)
			}
		default:
			t.Errorf("owner %v", g.Owner)
		}
	}
	// an old one keeps its opening where it was
	open.Cookie, enter.Cookie, enter.Time = 6, 6, open.Time+11*second
	apply(tab, open, enter)
	check(t, tab)
	if gs := tab.Groups(nil); gs[0].Opens != 1 || gs[1].Opens != 1 || gs[1].TimeWait != 2 {
		t.Errorf("%+v", gs)
	}
}

func TestRoleOfSnapshot(t *testing.T) {
	tests := []struct {
		local, remote string
		want          event.Role
	}{
		{"10.0.0.7:40001", "10.2.0.9:5432", event.Client},
		{"10.0.0.7:443", "192.0.2.5:51000", event.Server},
		{"127.0.0.1:40000", "127.0.0.1:41000", event.RoleNone},
		{"10.0.0.7:50000", "192.0.2.5:51000", event.Server}, // a listener is on 50000
		{"10.0.0.7:8080", "10.2.0.9:80", event.Server},      // the same as for a server
	}
	for _, tt := range tests {
		tab := New(Options{})
		apply(tab, event.Event{Kind: event.Listen, NetNS: 1, Local: netip.MustParseAddrPort("[::]:50000"), Process: nginx},
			event.Event{Kind: event.Snapshot, NetNS: 1, Cookie: 1, Time: t0,
				Local: netip.MustParseAddrPort(tt.local), Remote: netip.MustParseAddrPort(tt.remote)})
		if g := one(t, tab); g.Role != tt.want {
			t.Errorf("%s -> %s: %v, want %v", tt.local, tt.remote, g.Role, tt.want)
		}
		check(t, tab)
	}
}
