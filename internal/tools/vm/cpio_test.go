package main

import (
	"bytes"
	"errors"
	"io"
	"strconv"
	"strings"
	"testing"
)

// cpioEntry is an entry as a reader of the archive finds it.
type cpioEntry struct {
	name         string
	mode         uint64
	data         string
	major, minor uint64
}

// readCpio parses a newc archive by the kernel's description of the format.
func readCpio(t *testing.T, b []byte) []cpioEntry {
	t.Helper()
	align := func(n int) int { return (n + 3) &^ 3 }
	var entries []cpioEntry
	for pos := 0; ; {
		if len(b) < pos+110 || string(b[pos:pos+6]) != "070701" {
			t.Fatalf("no header at %d of %d bytes", pos, len(b))
		}
		field := func(i int) uint64 {
			v, err := strconv.ParseUint(string(b[pos+6+8*i:][:8]), 16, 32)
			if err != nil {
				t.Fatalf("field %d of the header at %d: %v", i, pos, err)
			}
			return v
		}
		size, nameSize := int(field(6)), int(field(11))
		name := string(b[pos+110:][:nameSize-1])
		begin := align(pos + 110 + nameSize)
		e := cpioEntry{name, field(1), string(b[begin:][:size]), field(9), field(10)}
		pos = align(begin + size)
		if name == "TRAILER!!!" {
			if pos != len(b) {
				t.Fatalf("the archive goes on after its end, at %d of %d bytes", pos, len(b))
			}
			return entries
		}
		entries = append(entries, e)
	}
}

func TestCpioWriter(t *testing.T) {
	var buf bytes.Buffer
	c := newCpioWriter(&buf)
	c.Dir("/proc")
	c.CharDevice("/dev/console", 0o600, 5, 1)
	c.File("/a/b/c", 0o755, 5, strings.NewReader("hello"))
	c.File("a/b/empty", 0o644, 0, strings.NewReader(""))
	c.Symlink("busybox", "/bin/sh")
	c.Dir("/a/b")
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	want := []cpioEntry{
		{name: "proc", mode: 0o40755},
		{name: "dev", mode: 0o40755},
		{name: "dev/console", mode: 0o20600, major: 5, minor: 1},
		{name: "a", mode: 0o40755},
		{name: "a/b", mode: 0o40755},
		{name: "a/b/c", mode: 0o100755, data: "hello"},
		{name: "a/b/empty", mode: 0o100644},
		{name: "bin", mode: 0o40755},
		{name: "bin/sh", mode: 0o120777, data: "busybox"},
	}
	got := readCpio(t, buf.Bytes())
	if len(got) != len(want) {
		t.Fatalf("got %d entries, want %d: %+v", len(got), len(want), got)
	}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("entry %d: got %+v, want %+v", i, got[i], want[i])
		}
	}
	if !c.Has("/a/b/c") || c.Has("/a/c") {
		t.Error("Has does not know what is in the archive")
	}
}

func TestCpioWriterErrors(t *testing.T) {
	tests := []struct {
		name string
		do   func(c *cpioWriter)
		want error // nil: any
	}{
		{"short file", func(c *cpioWriter) { c.File("f", 0o644, 4, strings.NewReader("abc")) }, io.ErrUnexpectedEOF},
		{"name twice", func(c *cpioWriter) { c.Symlink("x", "f"); c.Symlink("y", "/f") }, nil},
		{"too big", func(c *cpioWriter) { c.File("f", 0o644, 1<<32, strings.NewReader("")) }, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := newCpioWriter(io.Discard)
			tt.do(c)
			c.Dir("later") // must not hide the error
			err := c.Close()
			if err == nil {
				t.Fatal("no error")
			}
			if tt.want != nil && !errors.Is(err, tt.want) {
				t.Errorf("got %v, want %v", err, tt.want)
			}
		})
	}
}
