package record

import (
	"bytes"
	"errors"
	"io"
	"net/netip"
	"path/filepath"
	"testing"
	"time"

	"github.com/twtrace/twtrace/internal/event"
	"github.com/twtrace/twtrace/internal/output"
)

var t0 = time.Date(2026, 11, 22, 22, 14, 7, 1, time.UTC)

func startEvent() *event.Event {
	return &event.Event{Time: t0.UnixNano(), Kind: event.Start, Start: &event.StartInfo{
		Version: "1.2.3", Schema: output.Schema, Host: "web-07", Kernel: "6.1.0", BootID: "b00t",
		Hooks: []string{"state"}, Limits: map[string]string{"net.ipv4.tcp_tw_reuse": "2"}}}
}

func endEvent() *event.Event {
	return &event.Event{Time: t0.Add(time.Hour).UnixNano(), Kind: event.End, End: &event.EndInfo{
		Why: "signal", Begins: 7, Ends: map[string]uint64{"expired": 3}, Lost: map[string]uint64{}}}
}

// nth is a record that differs from all others.
func nth(i int) event.Event {
	return event.Event{
		Time: t0.Add(time.Duration(i) * 137 * time.Microsecond).UnixNano(), Kind: event.TimeWaitEnter, Cookie: uint64(i + 1),
		NetNS: 4026531840, Reason: event.ActiveClose, Old: event.FinWait2, New: event.TimeWait, Role: event.Client,
		Closer: event.LocalSide, Owner: event.ByConnect, Stamps: event.Yes,
		Local:   netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 0, 7}), uint16(32768+i*7%28000)),
		Remote:  netip.MustParseAddrPort("10.2.0.9:5432"),
		Process: event.Proc{PID: 4242, Comm: "checkout"}, Opener: event.Proc{PID: 4242, Comm: "checkout"},
		CloseProc: event.Proc{PID: 4242, Comm: "checkout"}, Life: int64(3000000 + i*7919%900001)}
}

// write records n events to a file and returns its path.
func write(t testing.TB, n int, o Options) string {
	t.Helper()
	if o.Path == "" {
		o.Path = filepath.Join(t.TempDir(), "t.ndjson.zst")
	}
	w, err := NewWriter(o, startEvent(), t0)
	if err != nil {
		t.Fatal(err)
	}
	for i := range n {
		e := nth(i)
		if err := errors.Join(w.Write(&e), w.Tick(time.Unix(0, e.Time))); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(endEvent()); err != nil {
		t.Fatal(err)
	}
	return o.Path
}

// read returns everything that is in the files.
func read(names ...string) (r *Reader, events []event.Event, err error) {
	r, err = Open(names, nil)
	if err != nil {
		return nil, nil, err
	}
	defer r.Close()
	for {
		var e event.Event
		switch err := r.Read(&e); {
		case errors.Is(err, io.EOF):
			return r, events, nil
		case err != nil:
			return r, events, err
		}
		events = append(events, e)
	}
}

// checkEvents checks that events are from to until, but for those in gaps.
func checkEvents(t testing.TB, events []event.Event, from, until int) {
	t.Helper()
	if len(events) != until-from {
		t.Fatalf("%d events, want %d", len(events), until-from)
	}
	for i := range events {
		want := nth(from + i)
		if got, want := output.AppendJSON(nil, &events[i]), output.AppendJSON(nil, &want); !bytes.Equal(got, want) {
			t.Fatalf("event %d: got %s\nwant %s", from+i, got, want)
		}
	}
}

// scanBlocks returns where the blocks of a file begin, and its end.
func scanBlocks(t testing.TB, data []byte) (at []int, heads []Header) {
	t.Helper()
	s := newScanner(bytes.NewReader(data))
	for {
		begin := int(s.off)
		h, _, damage, err := s.next()
		if errors.Is(err, io.EOF) {
			return append(at, begin), heads
		}
		if err != nil || damage != nil {
			t.Fatalf("block at %d: %v, %v", begin, err, damage)
		}
		at, heads = append(at, begin), append(heads, h)
	}
}

// readDir reads all files of a directory.
func readDir(t *testing.T, dir string) (*Reader, []event.Event, []string) {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil || len(names) == 0 {
		t.Fatalf("%d files: %v", len(names), err)
	}
	r, events, err := read(names...)
	if err != nil || len(r.Damage) > 0 {
		t.Fatalf("%v, damage %v", err, r.Damage)
	}
	return r, events, names
}
