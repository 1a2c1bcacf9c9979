package conn

import (
	"net/netip"
	"testing"
	"time"

	"github.com/twtrace/twtrace/internal/event"
)

func TestHistShare(t *testing.T) {
	var h Hist
	if got := h.Share(time.Second); got != 0 {
		t.Errorf("of no lifetimes %v are short", got)
	}
	for _, d := range []time.Duration{time.Microsecond, time.Millisecond, time.Minute, time.Hour} {
		h.Add(d)
	}
	for _, tt := range []struct {
		d    time.Duration
		want float64
	}{{time.Nanosecond, 0}, {10 * time.Millisecond, 0.5}, {time.Second, 0.5}, {10 * time.Minute, 0.75}, {2 * time.Hour, 1}} {
		if got := h.Share(tt.d); got < tt.want-0.001 || got > tt.want+0.001 {
			t.Errorf("%v of the lifetimes are at most %v, want %v", got, tt.d, tt.want)
		}
	}
}

func TestLookup(t *testing.T) {
	tab := New(Options{})
	owner := event.Proc{PID: 42, Comm: "client"}
	e := event.Event{Time: 1, Kind: event.Open, Cookie: 7, NetNS: 1, Role: event.Client, Opener: owner,
		Local: netip.MustParseAddrPort("10.0.0.7:40000"), Remote: netip.MustParseAddrPort("10.0.0.9:80")}
	tab.Apply(&e)
	if s, ok := tab.Lookup(7); !ok || !s.Process.Is(owner) || s.Remote != e.Remote || s.State != event.Established {
		t.Errorf("cookie 7 is %+v, %v", s, ok)
	}
	if s, ok := tab.Lookup(8); ok {
		t.Errorf("cookie 8 is %+v", s)
	}
	e.Kind, e.Time = event.Close, 2
	tab.Apply(&e)
	if s, ok := tab.Lookup(7); ok {
		t.Errorf("after the close, cookie 7 is %+v", s)
	}
}

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
		t.Error("a listener of one namespace stands in the way in another")
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
