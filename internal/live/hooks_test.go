package live

import (
	"io"
	"runtime"
	"slices"
	"time"

	"github.com/twtrace/twtrace/internal/conn"
	"github.com/twtrace/twtrace/internal/event"
	"github.com/twtrace/twtrace/internal/kernel"
	"github.com/twtrace/twtrace/internal/tracer"
)

// fakeHooks are hooks without a kernel: a ring of events, and what is counted.
type fakeHooks struct {
	ring    []event.Event
	fail    error // of Read, once the ring is empty
	account tracer.Account
	drift   [][]event.Drift // one a comparison; the last one stays
	lasting []event.Drift   // what two comparisons in a row have
	before  []event.Drift
	broken  error  // of Compare, Account and Adopt
	unowned error  // of Owned, which may run beside the consumer
	follows uint32 // a pid

	slow     int // how often Read is idle before the ring is known to be empty
	emptied  time.Time
	stopped  bool
	closed   bool
	compared int
	adopted  []uint64
	disowned []uint64
	owned    map[uint64]fakeOwned
	filter   string // of StartInfo
	home     kernel.NetNS
}

type fakeOwned struct {
	netns uint32
	last  int64
}

func (h *fakeHooks) Read(e *event.Event) error {
	switch {
	case len(h.ring) > 0:
		*e, h.ring = h.ring[0], h.ring[1:]
		return nil
	case h.fail != nil:
		return h.fail
	case h.stopped:
		return io.EOF
	}
	runtime.Gosched()
	if h.slow == 0 {
		h.emptied = time.Now()
	}
	h.slow = max(h.slow-1, 0)
	return tracer.ErrIdle
}

func (h *fakeHooks) Emptied() time.Time                      { return h.emptied }
func (h *fakeHooks) Survey([]kernel.NetNS) (s tracer.Survey) { return s }
func (h *fakeHooks) Account() (tracer.Account, error)        { return h.account, h.broken }
func (h *fakeHooks) Follows(p event.Proc) bool               { return p.PID == h.follows }
func (h *fakeHooks) Missing() []string                       { return []string{"what the fake hides"} }
func (h *fakeHooks) EndInfo(why string) (*event.EndInfo, error) {
	return &event.EndInfo{Why: why}, h.broken
}
func (h *fakeHooks) Stop()  { h.stopped = true }
func (h *fakeHooks) Close() { h.closed = true }

func (h *fakeHooks) Drift() []event.Drift { return h.lasting }

func (h *fakeHooks) Compare(tracer.Survey) ([]event.Drift, error) {
	h.compared++
	if len(h.drift) == 0 {
		return nil, h.broken
	}
	d := h.drift[0]
	h.lasting = nil
	if slices.Equal(d, h.before) {
		h.lasting = d
	}
	h.before = d
	if len(h.drift) > 1 {
		h.drift = h.drift[1:]
	}
	return d, h.broken
}

func (h *fakeHooks) Adopt(e *event.Event) error {
	h.adopted = append(h.adopted, e.Cookie)
	return h.broken
}

func (h *fakeHooks) Disown(cookie uint64) error {
	h.disowned = append(h.disowned, cookie)
	return nil
}

func (h *fakeHooks) Owned(f func(cookie uint64, netns uint32, last int64)) error {
	for cookie, o := range h.owned {
		if !slices.Contains(h.disowned, cookie) {
			f(cookie, o.netns, o.last)
		}
	}
	return h.unowned
}

func (h *fakeHooks) StartInfo(version, filter string, ns kernel.NetNS) (*event.StartInfo, error) {
	h.filter, h.home = filter, ns
	return &event.StartInfo{Version: version, Filter: filter, Missing: h.Missing()}, h.broken
}

// attach returns a trace over h.
func attach(o Options, h *fakeHooks) *Trace {
	t := newTrace(o)
	t.limits.refresh()
	t.attached(h)
	t.table, t.wanted = conn.New(conn.Options{}), func(*event.Event) bool { return true }
	return t
}
