package doctor

import (
	"context"
	"fmt"
	"io/fs"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/twtrace/twtrace/internal/advice"
	"github.com/twtrace/twtrace/internal/event"
	"github.com/twtrace/twtrace/internal/kernel"
	"github.com/twtrace/twtrace/internal/session"
)

// queueHost has an accept queue that is full in one of its namespaces, and has
// tcp_tw_recycle set.
type queueHost struct {
	fakeHost
	full uint32
}

func (h *queueHost) Count(n kernel.NetNS) (advice.Counted, error) {
	c, err := h.fakeHost.Count(n)
	if n.Inum == h.full {
		c.Host.Queues = []advice.Queue{{Local: netip.MustParseAddrPort("10.0.0.7:8080"), Cookie: 1, Waiting: 129, Backlog: 128}}
		c.Host.Settings.TWRecycle = 1
	}
	return c, err
}

func (h *queueHost) Facts(_ context.Context, n kernel.NetNS, before advice.Counted) (advice.Facts, error) {
	f := healthy()
	after, err := h.Count(n)
	f.NetNS = n
	f.Between(before, after)
	return f, err
}

// beside diagnoses the past of an agent, and this host beside it.
func beside(t *testing.T, h Host, o Options, narrow bool) *Report {
	t.Helper()
	src := recording(7)
	s, err := session.New(src, session.Options{Narrow: true})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	o.Window, o.Host = 10*time.Second, h
	d := New(o)
	if err := d.StartLocal(narrow); err != nil {
		t.Fatal(err)
	}
	if err := d.Replay(t.Context(), s, src, false); err != nil {
		t.Fatal(err)
	}
	if err := d.EndLocal(t.Context()); err != nil {
		t.Fatal(err)
	}
	return &d.Report
}

// TestLocal: the report has what the agent saw, once, and what only the host shows: in the
// namespaces that the agent saw trouble in, and in others.
func TestLocal(t *testing.T) {
	for _, full := range []uint32{7, 8} {
		h := &queueHost{fakeHost: fakeHost{spaces: ns(7, 8), sockets: map[uint32]uint64{7: 10, 8: 20}}, full: full}
		r := beside(t, h, Options{}, false)
		queue := find(r, "TW211")
		if len(queue) != 1 || queue[0].Severity != event.Warn || queue[0].Scope.NetNS != full || queue[0].Scope.Lport != 8080 {
			t.Errorf("accept queues: %+v", queue)
		}
		if set := find(r, "TW303"); len(set) != 1 || set[0].Severity != event.Warn || set[0].Scope.NetNS != full {
			t.Errorf("settings: %+v", set)
		}
		if found := find(r, "TW101"); len(found) != 1 || found[0].Scope.Comm != "checkout" {
			t.Errorf("what the agent saw: %+v", found)
		}
		if len(find(r, "TW000")) != 0 || len(find(r, "TW900")) > 1 || !slices.IsSortedFunc(r.Findings, func(a, b advice.Finding) int { return int(b.Severity) - int(a.Severity) }) {
			t.Errorf("findings %+v", r.Findings)
		}
		if got := inums(r.Spaces); !slices.Equal(got, []uint32{7, 8}) || r.Window != 10*time.Second {
			t.Errorf("spaces %v, window %v", got, r.Window)
		}
	}
}

// TestLocalUnseen: what this user may not read of the host is in the report, and does not
// hide what the agent saw.
func TestLocalUnseen(t *testing.T) {
	denied := fmt.Errorf("enter: %w", fs.ErrPermission)
	for name, tt := range map[string]struct {
		host   fakeHost
		named  []kernel.NetNS
		narrow bool
		want   string
	}{
		"all":        {fakeHost{spaces: ns(7, 8), hidden: true}, nil, false, "the network namespaces of other users' processes are not visible"},
		"closed":     {fakeHost{spaces: ns(7, 8), noCount: map[uint32]error{8: denied}}, nil, false, "1 network namespace could not be read (net:[8])"},
		"named":      {fakeHost{noCount: map[uint32]error{7: denied}}, ns(7), false, "1 network namespace could not be read (net:[7])"},
		"not found":  {fakeHost{hidden: true}, nil, true, "the network namespaces of other users' processes are not visible"},
		"gone":       {fakeHost{noCount: map[uint32]error{7: fmt.Errorf("open: %w", fs.ErrNotExist)}}, ns(7), false, ""},
		"everything": {fakeHost{spaces: ns(7)}, nil, false, ""},
	} {
		r := beside(t, &tt.host, Options{Named: tt.named}, tt.narrow)
		if got := r.NotSeen(); got != tt.want {
			t.Errorf("%s: not seen %q, want %q", name, got, tt.want)
		}
		if found := find(r, "TW101"); len(found) != 1 || found[0].Scope.Comm != "checkout" {
			t.Errorf("%s: what the agent saw: %+v", name, found)
		}
	}
}
