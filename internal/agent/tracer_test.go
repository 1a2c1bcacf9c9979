package agent

import (
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/twtrace/twtrace/internal/event"
	"github.com/twtrace/twtrace/internal/filter"
	"github.com/twtrace/twtrace/internal/kerneltest"
	"github.com/twtrace/twtrace/internal/output"
	"github.com/twtrace/twtrace/internal/record"
	"github.com/twtrace/twtrace/internal/replay"
	"github.com/twtrace/twtrace/internal/session"
)

const patience = time.Minute

// tracer writes the stream of one, with a clock of its own, to an agent.
type tracer struct {
	*Client
	t    *testing.T
	w    *record.Writer
	pipe *os.File
	now  time.Time
	n    uint64     // connections so far
	done chan error // what Run returned
}

func newTracer(t *testing.T, o Options) *tracer {
	t.Helper()
	path := filepath.Join(t.TempDir(), "agent.sock")
	ln, err := Listen(path)
	must(t, err)
	from, to, err := os.Pipe()
	must(t, err)
	tr := &tracer{Client: NewClient(path), t: t, pipe: to, now: time.Unix(1_800_000_000, 0), done: make(chan error, 1)}
	o.ParseFilter = func(words string) (*filter.Filter, error) { return new(filter.Language).ParseLine(words) }
	go func() {
		err := Run(context.Background(), from, ln, o)
		from.Close()
		tr.done <- err
	}()
	start := event.Event{Time: tr.now.UnixNano(), Kind: event.Start, Start: &event.StartInfo{Version: "1", Schema: output.Schema, Host: "web-07",
		Limits: map[string]string{"net.ipv4.ip_local_port_range": "32768\t60999"}}}
	tr.w, err = record.NewWriter(record.Options{Path: "-", Stdout: to, Period: 100 * time.Millisecond, Pulse: true}, &start, tr.now)
	must(t, err)
	t.Cleanup(func() { to.Close() })
	return tr
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// connect has a client make n connections within a second, which are in TIME_WAIT then.
func (tr *tracer) connect(n int) {
	tr.t.Helper()
	for range n {
		tr.now = tr.now.Add(time.Second / time.Duration(n))
		tr.n++
		e := event.Event{Time: tr.now.UnixNano(), Kind: event.Open, Cookie: tr.n, NetNS: 7, New: event.Established, Role: event.Client,
			Local:   netip.AddrPortFrom(netip.MustParseAddr("10.0.0.7"), uint16(32768+tr.n%20000)),
			Remote:  netip.MustParseAddrPort("10.2.0.9:5432"),
			Process: event.Proc{PID: 42, Comm: "checkout"}, Owner: event.ByConnect, Opener: event.Proc{PID: 42, Comm: "checkout"}}
		must(tr.t, tr.w.Write(&e))
		e.Kind, e.Reason, e.Old, e.New, e.Closer, e.Life = event.TimeWaitEnter, event.ActiveClose, event.FinWait2, event.TimeWait, event.LocalSide, 1000
		must(tr.t, tr.w.Write(&e))
		must(tr.t, tr.w.Tick(tr.now))
	}
	tr.flush()
}

// flush has the agent know all that was written.
func (tr *tracer) flush() {
	tr.t.Helper()
	must(tr.t, tr.w.Flush())
	tr.pulse()
	kerneltest.Eventually(tr.t, patience, func() (bool, string) {
		at, _ := time.Parse(time.RFC3339Nano, tr.status().Past.To)
		return !at.Before(tr.now), fmt.Sprintf("the agent is at %v, want %v", at, tr.now)
	})
}

func (tr *tracer) pulse() {
	tr.t.Helper()
	tr.now = tr.now.Add(100 * time.Millisecond)
	must(tr.t, tr.w.Tick(tr.now))
}

// pulsing lets time go on until stop is called, for requests that wait for a block.
func (tr *tracer) pulsing() (stop func()) {
	quit, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for {
			select {
			case <-quit:
				return
			case <-time.After(20 * time.Millisecond):
				tr.now = tr.now.Add(100 * time.Millisecond)
				_ = tr.w.Tick(tr.now)
			}
		}
	}()
	return func() { close(quit); <-done }
}

func (tr *tracer) status() (s status) {
	tr.t.Helper()
	answer, err := tr.Get(tr.t.Context(), "/v1/status")
	must(tr.t, err)
	must(tr.t, json.Unmarshal(answer, &s))
	return s
}

// end ends the trace, and returns what Run did.
func (tr *tracer) end() error {
	tr.t.Helper()
	must(tr.t, tr.w.Close(&event.Event{Time: tr.now.UnixNano(), Kind: event.End, End: &event.EndInfo{Why: "signal", Births: tr.n}}))
	tr.pipe.Close()
	select {
	case err := <-tr.done:
		return err
	case <-time.After(patience):
		tr.t.Fatal("the agent does not end")
	}
	return nil
}

// read is what a reader has of a stream.
type read struct {
	s      *session.Session
	files  *replay.Files
	opens  int
	enters int
	shots  int
	others int // without an owner
	lost   uint64
	err    error
}

// follow reads a stream to its end.
func (tr *tracer) follow(ask Ask) *read {
	tr.t.Helper()
	stream, err := tr.Stream(tr.t.Context(), ask)
	must(tr.t, err)
	defer stream.Close()
	return readAll(tr.t, stream)
}

func readAll(t *testing.T, stream *Stream) *read {
	r := &read{}
	var err error
	if r.files, err = replay.Follow(replay.Options{Now: stream.Now, Held: true}, "agent", stream); err != nil {
		r.err = err
		return r
	}
	defer r.files.Close()
	r.s, err = session.New(r.files, session.Options{})
	must(t, err)
	r.err = r.s.Run(t.Context(), func(e *event.Event) error {
		switch e.Kind {
		case event.Open:
			r.opens++
		case event.TimeWaitEnter:
			r.enters++
		case event.Snapshot:
			r.shots++
		case event.Lost:
			r.lost += e.Count
			return nil
		}
		if e.Process.Comm != "checkout" {
			r.others++
		}
		return nil
	}, func() error { return nil })
	return r
}

// holds checks what a reader's table has.
func (r *read) holds(t *testing.T, timeWait uint64) {
	t.Helper()
	if r.err != nil || r.files.Damage() != nil {
		t.Errorf("read: %v, damage %v", r.err, r.files.Damage())
	}
	if got := r.s.Table().Totals().TimeWait; got != timeWait || r.others != 0 {
		t.Errorf("%d in TIME_WAIT, want %d; %d records have no owner", got, timeWait, r.others)
	}
}
