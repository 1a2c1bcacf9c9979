package session_test

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/twtrace/twtrace/internal/conn"
	"github.com/twtrace/twtrace/internal/event"
	"github.com/twtrace/twtrace/internal/filter"
	"github.com/twtrace/twtrace/internal/session"
	"github.com/twtrace/twtrace/internal/session/sessiontest"
)

// TestRemarks: what the trace itself has not seen whole is on the screen, the source's own
// remarks at last.
func TestRemarks(t *testing.T) {
	now := time.Unix(1000, 0)
	src := &sessiontest.Source{From: now, Owners: now.Add(1500 * time.Millisecond), Only: []uint32{7}, Names: map[uint32]string{7: "web"},
		Drifted: []event.Drift{{NetNS: 7, Births: 3}, {NetNS: 8, Births: 4}}, Says: []string{"what the source says"}}
	s, err := session.New(src, session.Options{})
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"owners known in 2s", "in web the kernel counts 3 more TIME_WAIT starts", "what the source says"}
	if got := s.Remarks(now); !slices.Equal(got, want) {
		t.Errorf("remarks %q, want %q", got, want)
	}
	src.Owners, src.Drifted = time.Time{}, nil
	e := event.Event{Time: now.UnixNano(), Kind: event.Listen, NetNS: 7, Process: event.Proc{PID: 1, Comm: "server"}, Owner: event.ByListen}
	for i := range 16384 + 3 {
		e.Cookie, e.Local = uint64(i+1), netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}), 80)
		s.Table().Apply(&e)
	}
	want = []string{"3 listeners not remembered: servers may lack their owner", "what the source says"}
	if got := s.Remarks(now); !slices.Equal(got, want) {
		t.Errorf("remarks %q, want %q", got, want)
	}
}

// beginning is a source that shows which sockets its table is to hold.
type beginning struct {
	*sessiontest.Source
	wanted func(*event.Event) bool
	before bool // wanted, in Begin
}

func (b *beginning) Begin(t *conn.Table, wanted func(*event.Event) bool) error {
	e := *other()
	b.wanted, b.before = wanted, wanted(&e)
	return b.Source.Begin(t, wanted)
}

// other is a socket that nobody asked for.
func other() *event.Event {
	return &event.Event{Kind: event.Snapshot, New: event.Established, NetNS: 7, Cookie: 1, Process: event.Proc{PID: 5, Comm: "other"}, Owner: event.ByProc}
}

// TestNarrowFound: once the trace runs, a source adds to a narrow table what the filter accepts
// and nothing else. From before everything is in it, unless no event would show its end.
func TestNarrowFound(t *testing.T) {
	comms, err := new(filter.Language).ParseLine("comm=checkout")
	if err != nil {
		t.Fatal(err)
	}
	pids := &filter.Filter{PIDs: filter.Set[uint32]{Items: []uint32{4242}}}
	for _, tt := range []struct {
		name          string
		f             *filter.Filter
		narrow        bool
		before, later bool // another socket is wanted
	}{
		{"all", nil, false, true, true},
		{"all, narrow", nil, true, true, true},
		{"a name", comms, false, true, true},
		{"a name, narrow", comms, true, true, false},
		{"a pid", pids, false, false, false},
		{"a pid, narrow", pids, true, false, false},
	} {
		src := &beginning{Source: &sessiontest.Source{From: time.Unix(1000, 0)}}
		if _, err := session.New(src, session.Options{Filter: tt.f, Narrow: tt.narrow}); err != nil {
			t.Fatal(err)
		}
		if later := src.wanted(other()); src.before != tt.before || later != tt.later {
			t.Errorf("%s: wanted before %v, later %v; want %v, %v", tt.name, src.before, later, tt.before, tt.later)
		}
	}
}
