package live

import (
	"maps"
	"net/netip"
	"testing"
	"time"

	"github.com/twtrace/twtrace/internal/event"
	"github.com/twtrace/twtrace/internal/kernel"
)

// TestHandedOver tells the full socket that hands over to a mini-socket unseen from
// every end that is one.
func TestHandedOver(t *testing.T) {
	closer := event.Proc{PID: 7, Comm: "client"}
	tests := []struct {
		name string
		e    event.Event
		want bool
	}{
		{"hand-over from FIN_WAIT2", event.Event{Kind: event.Close, Old: event.FinWait2}, true},
		{"hand-over from CLOSING", event.Event{Kind: event.Close, Old: event.Closing}, true},
		{"end of a parked mini-socket", event.Event{Kind: event.Close, Old: event.FinWait2, Stamps: event.No}, false},
		{"whose closer was seen", event.Event{Kind: event.Close, Old: event.FinWait2, CloseProc: closer}, false},
		{"whose opener was seen", event.Event{Kind: event.Close, Old: event.FinWait2, Opener: closer}, false},
		{"reset", event.Event{Kind: event.Close, Old: event.FinWait2, Reason: event.ResetReceived}, false},
		{"passive close", event.Event{Kind: event.Close, Old: event.LastAck}, false},
		{"refused", event.Event{Kind: event.TimeWaitRefused, Old: event.FinWait2}, false},
	}
	for _, test := range tests {
		if got := handedOver(&test.e); got != test.want {
			t.Errorf("%s: %v, want %v", test.name, got, test.want)
		}
	}
}

// TestBacklog: a socket in TIME_WAIT from before is of the process that alone has
// connections to where it went.
func TestBacklog(t *testing.T) {
	db, shared, none := netip.MustParseAddrPort("10.0.0.1:5432"), netip.MustParseAddrPort("10.0.0.2:80"), netip.MustParseAddrPort("10.0.0.3:80")
	one, two := event.Proc{PID: 1, Comm: "one"}, event.Proc{PID: 2, Comm: "two"}
	at := func(cookie uint64, remote netip.AddrPort, state event.State, timer uint8) sighting {
		k := shown(cookie, state, timer)
		k.Remote, k.Inode = remote, uint32(cookie)
		return k
	}
	served := at(5, none, event.Established, 0)
	served.Local = netip.MustParseAddrPort("10.9.9.9:443")
	listener := at(6, netip.AddrPort{}, event.Listening, 0)
	listener.Local = netip.MustParseAddrPort("0.0.0.0:443")
	d := &dump{sockets: []sighting{at(1, db, event.Established, 0), at(2, db, event.Established, 0), at(3, shared, event.Established, 0),
		at(4, none, event.TimeWait, kernel.TimerTimeWait), served, listener},
		owners: map[uint64]event.Proc{1: one, 2: one, 3: one, 4: one, 5: two, 6: two}}
	early := []event.Event{{Kind: event.Open, NetNS: testNetNS, Remote: shared, Opener: two}, {Kind: event.Close, NetNS: testNetNS, Remote: none}}
	to := connecting(d, early)
	want := map[destination]event.Proc{{testNetNS, db}: one, {testNetNS, shared}: {}}
	if !maps.Equal(to, want) {
		t.Errorf("connecting: %v, want %v", to, want)
	}

	when := time.Unix(1000, 0)
	var e event.Event
	b := backlog{at: when, connecting: to, sockets: []sighting{at(7, db, event.TimeWait, kernel.TimerTimeWait), at(8, shared, event.TimeWait, kernel.TimerTimeWait)}, early: early[:1]}
	for _, want := range []event.Event{
		{Kind: event.Snapshot, Cookie: 7, Process: one, Owner: event.Inferred},
		{Kind: event.Snapshot, Cookie: 8},
		{Kind: event.Open},
	} {
		if b.empty() || !b.next(&e) || e.Kind != want.Kind || e.Cookie != want.Cookie || e.Process != want.Process || e.Owner != want.Owner {
			t.Errorf("next is %+v, want %+v", e, want)
		}
	}
	if !b.empty() || b.next(&e) || b.connecting != nil {
		t.Error("there is more")
	}
}

// TestStartsIn: what starts in the stream is known by its cookie, or by its addresses if
// it has none.
func TestStartsIn(t *testing.T) {
	e := func(kind event.Kind, cookie uint64) event.Event {
		e := event.Event{Kind: kind, Cookie: cookie, NetNS: testNetNS, Local: testAddr(cookie), Remote: testServer}
		if cookie == 0 {
			e.Local = testAddr(100)
		}
		return e
	}
	ids := startsIn([]event.Event{e(event.Open, 1), e(event.Parked, 2), e(event.TimeWaitEnter, 3), e(event.Close, 4), e(event.TimeWaitEnter, 0)})
	for cookie, want := range map[uint64]bool{1: true, 2: true, 3: true, 4: false, 100: true} {
		if k := e(event.Snapshot, cookie); ids.has(&k) != want {
			t.Errorf("socket %d starts in it: %v", cookie, !want)
		}
	}
}

// TestDescribe asks for each owner once, and marks those that are followed.
func TestDescribe(t *testing.T) {
	h := &fakeHooks{follows: 1 << 21}
	s := attach(Options{}, h)
	defer s.Close()
	gone := event.Proc{PID: 1 << 21, Comm: "gone", Who: &event.Who{Start: 7}}
	unknown := event.Proc{PID: 5, Comm: "unknown"}
	owners := map[uint64]event.Proc{1: gone, 2: gone, 3: unknown}
	s.describe(owners)
	if owners[1].Who == gone.Who || owners[1].Who != owners[2].Who || !owners[1].Who.Followed || gone.Who.Followed {
		t.Errorf("%+v, %+v", owners[1].Who, owners[2].Who)
	}
	if owners[3] != unknown {
		t.Errorf("%+v", owners[3])
	}
}
