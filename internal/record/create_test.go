package record

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// content is what is in a file, "" if there is none.
func content(path string) string {
	b, _ := os.ReadFile(path)
	return string(b)
}

// TestCreate: a file is its owner's alone; it replaces nothing, and with force a regular
// file alone, never what a link leads to.
func TestCreate(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "t.parquet")
	f, err := Create(path, false)
	must(t, err)
	_, err = f.WriteString("first")
	must(t, err)
	must(t, f.Close())
	if st, err := os.Stat(path); err != nil || st.Mode() != 0o600 || content(path) != "first" {
		t.Errorf("mode %v, %v, %q", st.Mode(), err, content(path))
	}
	if _, err := Create(path, false); !errors.Is(err, os.ErrExist) || !strings.Contains(err.Error(), "--force") || content(path) != "first" {
		t.Errorf("over a file: %v, and %q is in it", err, content(path))
	}
	link := filepath.Join(dir, "link")
	must(t, os.Symlink(path, link))
	if _, err := Create(link, true); err == nil || content(path) != "first" {
		t.Errorf("through a link: %v, and %q is in the file", err, content(path))
	}
	for _, bad := range []string{filepath.Join(dir, "none", "t"), dir + "/", ".."} {
		if _, err := Create(bad, true); err == nil {
			t.Errorf("%s was created", bad)
		}
	}
	f, err = Create(path, true)
	must(t, err)
	if content(path) != "" {
		t.Errorf("%q is left of the file that was replaced", content(path))
	}
	must(t, f.Discard())
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("after Discard: %v", err)
	}
}

// TestDiscardRecording: all files of a recording that is given up are gone, and others stay.
func TestDiscardRecording(t *testing.T) {
	dir := t.TempDir()
	other := filepath.Join(dir, "other")
	must(t, os.WriteFile(other, nil, 0o600))
	w, err := NewWriter(Options{Path: filepath.Join(dir, "t.zst"), Size: 1}, startEvent(), t0)
	must(t, err)
	for i := range 3 {
		e := nth(i)
		must(t, w.Write(&e))
		must(t, w.Flush())
	}
	if n := w.Stats().Files; n < 2 {
		t.Fatalf("%d files, want some", n)
	}
	must(t, w.Discard())
	left, err := os.ReadDir(dir)
	must(t, err)
	if len(left) != 1 || left[0].Name() != "other" {
		t.Errorf("%v is left", left)
	}
}

// TestReopen: another file is started where somebody has taken the name of the open one,
// and not before; together they have all records.
func TestReopen(t *testing.T) {
	dir := t.TempDir()
	path, moved := filepath.Join(dir, "t.zst"), filepath.Join(dir, "t.1.zst")
	w, err := NewWriter(Options{Path: path}, startEvent(), t0)
	must(t, err)
	put := func(i int) {
		t.Helper()
		e := nth(i)
		must(t, w.Write(&e))
	}
	put(0)
	if did, err := w.Reopen(); did || err != nil {
		t.Errorf("Reopen with the file in its place: %t, %v", did, err)
	}
	must(t, os.Rename(path, moved))
	if did, err := w.Reopen(); !did || err != nil {
		t.Errorf("Reopen after a rename: %t, %v", did, err)
	}
	put(1)
	must(t, w.Close(endEvent()))
	r, events, err := read(moved, path)
	if err != nil || len(r.Damage) > 0 || r.End() == nil {
		t.Fatalf("%v, damage %v, end %v", err, r.Damage, r.End())
	}
	checkEvents(t, events, 0, 2)
}

// TestFailedWrite: what a pipe no longer takes ends the recording, and the error stays.
func TestFailedWrite(t *testing.T) {
	r, out, err := os.Pipe()
	must(t, err)
	w, err := NewWriter(Options{Path: "-", Stdout: out}, startEvent(), t0)
	must(t, err)
	must(t, out.Close())
	defer r.Close()
	e := nth(0)
	must(t, w.Write(&e))
	first := w.Flush()
	if !errors.Is(first, os.ErrClosed) {
		t.Errorf("Flush: %v", first)
	}
	if err := w.Write(&e); err != first {
		t.Errorf("Write after it: %v", err)
	}
	if err := w.Close(endEvent()); err != first {
		t.Errorf("Close after it: %v", err)
	}
	if did, err := w.Reopen(); did || err != first {
		t.Errorf("Reopen after it: %t, %v", did, err)
	}
}

// TestDamageInWords has what users read of it.
func TestDamageInWords(t *testing.T) {
	for want, d := range map[string]Damage{
		"t: torn": {File: "t", What: "torn"},
		"t: torn (9 bytes at 70): 1 record is lost":    {File: "t", What: "torn", Offset: 70, Bytes: 9, Lost: 1},
		"t: torn (9 bytes at 70): 12 records are lost": {File: "t", What: "torn", Offset: 70, Bytes: 9, Lost: 12},
	} {
		if got := d.String(); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
