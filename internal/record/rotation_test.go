package record

import (
	"errors"
	"path/filepath"
	"testing"
	"time"
)

// TestRotate: all records are in the files, once; with Keep the last ones are.
func TestRotate(t *testing.T) {
	const n = 30000
	for _, o := range []Options{{Size: 100 << 10}, {Every: time.Second}, {Size: 100 << 10, Keep: 2}} {
		dir := t.TempDir()
		o.Path = filepath.Join(dir, "t.ndjson.zst")
		write(t, n, o)
		r, events, names := readDir(t, dir)
		from := n - len(events)
		if o.Keep > 0 && (len(names) != o.Keep || from == 0) || o.Keep == 0 && (len(names) < 3 || from > 0) {
			t.Errorf("%+v: %d files, from record %d", o, len(names), from)
		}
		checkEvents(t, events, from, n)
		if r.Start().Start.Host != "web-07" || r.End() == nil {
			t.Errorf("%+v: start %+v, end %v", o, r.Start(), r.End())
		}
	}
}

// TestMissingPart: a file that is not there is said to be missing.
func TestMissingPart(t *testing.T) {
	dir := t.TempDir()
	write(t, 30000, Options{Path: filepath.Join(dir, "t.zst"), Size: 100 << 10})
	_, _, names := readDir(t, dir)
	r, events, err := read(append(names[2:], names[0])...)
	if err != nil || len(r.Damage) != 1 || r.Damage[0].Lost == 0 {
		t.Fatalf("%v, damage %v", err, r.Damage)
	}
	if got := len(events) - 1 + int(r.Damage[0].Lost); got != 30000 {
		t.Errorf("%d records are read or lost, want 30000", got)
	}
}

// TestRing: what a ring held, and what came for some time after, is in a file.
func TestRing(t *testing.T) {
	dir := t.TempDir()
	w, err := NewWriter(Options{Path: filepath.Join(dir, "t.zst"), Ring: time.Second, After: time.Second}, startEvent(), t0)
	if err != nil {
		t.Fatal(err)
	}
	const n, at = 40000, 25000
	for i := range n {
		e := nth(i)
		if err := errors.Join(w.Write(&e), w.Tick(time.Unix(0, e.Time))); err != nil {
			t.Fatal(err)
		}
		if i == at {
			if _, err := w.Trigger(time.Unix(0, e.Time)); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := w.Close(endEvent()); err != nil {
		t.Fatal(err)
	}
	r, events, names := readDir(t, dir)
	second := int(time.Second / (137 * time.Microsecond))
	from := int(events[0].Cookie) - 1
	until := from + len(events)
	checkEvents(t, events, from, until)
	if len(names) != 1 || from > at-second || from < at-3*second || until < at+second || until > at+3*second {
		t.Errorf("%d files, records %d to %d, want a second around %d", len(names), from, until, at)
	}
	if r.Start().Start.Host != "web-07" {
		t.Errorf("start %+v", r.Start())
	}
}
