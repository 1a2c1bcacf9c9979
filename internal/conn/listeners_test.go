package conn

import (
	"net/netip"
	"testing"

	"github.com/twtrace/twtrace/internal/event"
)

func TestListening(t *testing.T) {
	tab := New(Options{})
	server := event.Proc{PID: 80, Comm: "server"}
	listen := event.Event{Kind: event.Listen, Cookie: 3, NetNS: 1, Local: netip.MustParseAddrPort("10.0.0.9:80"), Process: server}
	tab.Apply(&listen)
	for at, want := range map[string]bool{"10.0.0.9:80": true, "0.0.0.0:80": true, "[::]:80": true, "10.0.0.8:80": false, "10.0.0.9:81": false} {
		if by, ok := tab.Listening(1, netip.MustParseAddrPort(at)); ok != want || ok && !by.Is(server) {
			t.Errorf("%s is taken by %+v, %v; want %v", at, by, ok, want)
		}
	}
	if _, ok := tab.Listening(2, listen.Local); ok {
		t.Error("a listener of one namespace collides in another")
	}
	if all := tab.Listeners(1); len(all) != 1 || all[0].Local != listen.Local || !all[0].Process.Is(server) || len(tab.Listeners(2)) != 0 {
		t.Errorf("listeners %+v, and of another namespace %+v", all, tab.Listeners(2))
	}
	listen.New = event.Closed
	tab.Apply(&listen)
	if by, ok := tab.Listening(1, listen.Local); ok {
		t.Errorf("%+v still listens after it closed", by)
	}
	if all := tab.Listeners(1); len(all) != 0 {
		t.Errorf("after the close there are %+v", all)
	}
}

// TestListenerElsewhere: whose listener the kernel names is the owner, and nobody else, in
// every event of the connection. One that it does not name is at the local end.
func TestListenerElsewhere(t *testing.T) {
	at := netip.MustParseAddrPort
	proxy, innocent := event.Proc{PID: 1, Comm: "proxy"}, event.Proc{PID: 2, Comm: "innocent"}
	for _, test := range []struct {
		name     string
		listener netip.AddrPort
		want     event.Proc
	}{
		{"a proxy", at("127.0.0.1:9999"), proxy},
		{"the port's own, and not that of the address", at("0.0.0.0:80"), innocent},
		{"one whose process is not known", at("127.0.0.1:9998"), event.Proc{}},
		{"nowhere", at("0.0.0.0:0"), event.Proc{}},
		{"not named", netip.AddrPort{}, innocent},
	} {
		tab := New(Options{})
		apply(tab, event.Event{Kind: event.Listen, Cookie: 1, NetNS: 1, Local: at("127.0.0.1:9999"), Process: proxy},
			event.Event{Kind: event.Listen, Cookie: 2, NetNS: 1, Local: at("0.0.0.0:80"), Process: innocent})
		for i, kind := range []event.Kind{event.Open, event.Close} {
			e := event.Event{Time: int64(1 + i), Kind: kind, Cookie: 7, NetNS: 1, Role: event.Server,
				Local: at("10.9.9.9:80"), Remote: at("10.1.1.1:40000")}
			if kind == event.Open {
				e.Listener = test.listener
			}
			tab.Apply(&e)
			if !e.Process.Is(test.want) || (e.Owner == event.ByListen) != test.want.Known() {
				t.Errorf("%s: %v of %+v by %v, want %+v", test.name, kind, e.Process, e.Owner, test.want)
			}
		}
	}
}

// TestListenersComeAndGo: those that are gone take no room from the others, and the last of
// them are remembered.
func TestListenersComeAndGo(t *testing.T) {
	tab := New(Options{})
	at := func(i int) netip.AddrPort {
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}), 80)
	}
	who := func(i int) event.Proc { return event.Proc{PID: uint32(i + 1), Comm: "server"} }
	const n = 200_000
	for i := range n {
		e := event.Event{Time: int64(i), Kind: event.Listen, Cookie: uint64(i + 1), NetNS: 1, Local: at(i), Process: who(i)}
		tab.Apply(&e)
		if i%1000 == 0 {
			continue // it stays
		}
		for range 2 { // the end may come twice
			e.New = event.Closed
			tab.Apply(&e)
		}
		if stay := i/1000 + 1; tab.listeners.n > maxClosed+stay || len(tab.listeners.at) != tab.listeners.n {
			t.Fatalf("after %d: %d listeners at %d addresses", i, tab.listeners.n, len(tab.listeners.at))
		}
	}
	if v := tab.Totals(); v.ListenersRefused != 0 {
		t.Errorf("%d refused", v.ListenersRefused)
	}
	for i, want := range map[int]bool{n - 1: true, n - maxClosed: true, n - 2*maxClosed: false, 0: true, n - 1000: true, 1: false} {
		if by, ok := tab.listeners.find(1, at(i)); ok != want || ok && !by.Is(who(i)) {
			t.Errorf("listener %d is %+v, %v; want %v", i, by, ok, want)
		}
	}
	// One that listens again is there until its own end.
	e := event.Event{Time: n, Kind: event.Listen, Cookie: n + 1, NetNS: 1, Local: at(n - 1), Process: who(7)}
	tab.Apply(&e)
	for i := range 2 * maxClosed {
		c := event.Event{Time: n, Kind: event.Listen, Cookie: uint64(2*n + i), NetNS: 2, Local: at(i), Process: who(i)}
		tab.Apply(&c)
		c.New = event.Closed
		tab.Apply(&c)
	}
	if by, ok := tab.listeners.find(1, at(n-1)); !ok || !by.Is(who(7)) {
		t.Errorf("it is %+v, %v", by, ok)
	}
}

// TestAnywhere: the listener of a connection at one of many addresses is the wildcard, unless
// that address has a listener of its own.
func TestAnywhere(t *testing.T) {
	at := netip.MustParseAddrPort
	listen := func(cookie uint64, local string) event.Event {
		return event.Event{Kind: event.Listen, Cookie: cookie, NetNS: 1, Local: at(local), Process: event.Proc{PID: 1, Comm: "server"}}
	}
	tab := New(Options{})
	apply(tab, listen(1, "0.0.0.0:80"), listen(2, "10.0.0.9:80"), listen(3, "[::]:81"))
	for local, want := range map[string]netip.AddrPort{"10.0.0.8:80": at("0.0.0.0:80"), "10.0.0.9:80": {}, "10.0.0.9:81": at("[::]:81"),
		"[2001:db8::1]:81": at("[::]:81"), "[2001:db8::1]:80": {}, "10.0.0.8:82": {}} {
		if got := tab.listeners.anywhere(1, at(local)); got != want {
			t.Errorf("%s is taken by %v, want %v", local, got, want)
		}
		if got := tab.listeners.anywhere(2, at(local)); got.IsValid() {
			t.Errorf("%s is taken by %v of another namespace", local, got)
		}
	}
	apply(tab, event.Event{Time: 1, Kind: event.Open, Cookie: 7, NetNS: 1, Role: event.Server, Local: at("10.0.0.8:80"), Remote: at("10.1.1.1:40000")})
	var s Snapshot
	if tab.Snapshot(2, &s); len(s.Groups) != 1 || s.Groups[0].Listen != at("0.0.0.0:80") || len(s.Listeners) != 3 {
		t.Errorf("groups %+v, %d listeners", s.Groups, len(s.Listeners))
	}
}
