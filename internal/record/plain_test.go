package record

import (
	"bytes"
	"encoding/csv"
	"os"
	"path/filepath"
	"testing"
)

// TestPlainFiles: each file of lines can be read alone, and together they have every
// record once, but for the start record.
func TestPlainFiles(t *testing.T) {
	const n = 9000
	dir := t.TempDir()
	write(t, n, Options{Path: filepath.Join(dir, "t.ndjson"), Plain: NDJSON, Size: 2 << 20})
	names, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil || len(names) < 2 {
		t.Fatalf("%d files, want some: %v", len(names), err)
	}
	from := 0
	for i, name := range names {
		r, events, err := read(name)
		if err != nil || r.Start().Start.Host != "web-07" {
			t.Fatalf("%v, start %+v", err, r.Start())
		}
		last := i == len(names)-1
		if ended := r.End() != nil; ended != last || len(r.Damage) > 0 == last {
			t.Errorf("file %d of %d: end %v, damage %v", i+1, len(names), r.End(), r.Damage)
		}
		checkEvents(t, events, from, from+len(events))
		from += len(events)
	}
	if from != n {
		t.Errorf("%d records, want %d", from, n)
	}
}

// TestCSVFiles: each file has a header and whole rows.
func TestCSVFiles(t *testing.T) {
	const n = 9000
	dir := t.TempDir()
	write(t, n, Options{Path: filepath.Join(dir, "t.csv"), Plain: CSV, Size: 1 << 20})
	names, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil || len(names) < 2 {
		t.Fatalf("%d files, want some: %v", len(names), err)
	}
	cookies, ends := make(map[string]int), 0
	for _, name := range names {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		rows, err := csv.NewReader(bytes.NewReader(data)).ReadAll()
		if err != nil || rows[0][1] != "event" || rows[0][2] != "cookie" || rows[1][1] != "start" {
			t.Fatalf("%s: %v, begins with %v", name, err, rows[:2])
		}
		for _, row := range rows[2:] {
			if row[1] == "end" {
				ends++
			} else {
				cookies[row[2]]++
			}
		}
	}
	for cookie, times := range cookies {
		if times > 1 {
			t.Errorf("%s is there %d times", cookie, times)
		}
	}
	if len(cookies) != n || ends != 1 {
		t.Errorf("%d records and %d ends, want %d and 1", len(cookies), ends, n)
	}
}
