package record

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/twtrace/twtrace/internal/event"
	"github.com/twtrace/twtrace/internal/output"
)

func TestRoundTrip(t *testing.T) {
	for _, n := range []int{0, 1, 20000} {
		r, events, err := read(write(t, n, Options{}))
		if err != nil || len(r.Damage) > 0 || r.Unknown() > 0 {
			t.Fatalf("%d events: %v, damage %v", n, err, r.Damage)
		}
		checkEvents(t, events, 0, n)
		start, end := r.Start(), r.End()
		for got, want := range map[*event.Event]*event.Event{&start: startEvent(), end: endEvent()} {
			if got, want := output.AppendJSON(nil, got), output.AppendJSON(nil, want); !bytes.Equal(got, want) {
				t.Errorf("got %s\nwant %s", got, want)
			}
		}
	}
}

// TestFactsOfFiles: what only tables need is in the file, and comes back as it was.
func TestFactsOfFiles(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	w, err := NewWriter(Options{Path: path}, startEvent(), t0)
	if err != nil {
		t.Fatal(err)
	}
	facts := []event.Event{{Time: 1, Kind: event.Parked, Cookie: 1}, {Time: 2, Kind: event.Listen, Cookie: 2},
		{Time: 3, Kind: event.Snapshot, New: event.Established}, {Time: 4, Kind: event.Snapshot, New: event.TimeWait}}
	for i := range facts {
		if err := w.Write(&facts[i]); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(endEvent()); err != nil {
		t.Fatal(err)
	}
	_, events, err := read(path)
	if err != nil || len(events) != len(facts) {
		t.Fatalf("%d events: %v", len(events), err)
	}
	for i, e := range events {
		if e != facts[i] {
			t.Errorf("got %+v, want %+v", e, facts[i])
		}
	}
}

// BenchmarkWrite is what a record takes on its way into a file; to print it, which is
// part of that, has BenchmarkEncoder in package output.
func BenchmarkWrite(b *testing.B) {
	w, err := NewWriter(Options{Path: filepath.Join(b.TempDir(), "f")}, startEvent(), t0)
	if err != nil {
		b.Fatal(err)
	}
	events := manyBusy()
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if err := w.Write(&events[i%len(events)]); err != nil {
			b.Fatal(err)
		}
	}
	s := w.Stats()
	b.ReportMetric(float64(s.Bytes)/float64(s.Records), "B/event")
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
}

// TestNothingIsOverwritten: a file that is there stays, and nothing is written
// through a link.
func TestNothingIsOverwritten(t *testing.T) {
	dir := t.TempDir()
	file, link := filepath.Join(dir, "file"), filepath.Join(dir, "link")
	if err := errors.Join(os.WriteFile(file, []byte("precious"), 0o600), os.Symlink(file, link)); err != nil {
		t.Fatal(err)
	}
	for _, o := range []Options{{Path: file}, {Path: link}, {Path: link, Force: true}} {
		if _, err := NewWriter(o, startEvent(), t0); err == nil {
			t.Errorf("%+v: no error", o)
		}
		if b, err := os.ReadFile(file); string(b) != "precious" {
			t.Fatalf("%+v: the file is %q, %v", o, b, err)
		}
	}
	if _, events, err := read(write(t, 3, Options{Path: file, Force: true})); err != nil || len(events) != 3 {
		t.Errorf("with force: %d events, %v", len(events), err)
	}
}

func TestRoomIsLeft(t *testing.T) {
	_, err := NewWriter(Options{Path: filepath.Join(t.TempDir(), "f"), MinFree: 1 << 60}, startEvent(), t0)
	if room := (*NoRoomError)(nil); !errors.As(err, &room) {
		t.Errorf("%v", err)
	}
}
