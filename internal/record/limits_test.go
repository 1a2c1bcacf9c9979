package record

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// sysctls are limits that are told apart by n.
func sysctls(n int) map[string]string {
	return map[string]string{"net.ipv4.tcp_max_tw_buckets": fmt.Sprint(n)}
}

// told is what a Reader tells of limits, by namespace, up to the end of the files.
func told(t *testing.T, names ...string) map[uint32]map[string]string {
	t.Helper()
	r, err := Open(names, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	all := make(map[uint32]map[string]string)
	r.OnLimits = func(list []Limits, _ Read) {
		for _, l := range list {
			for _, netns := range l.NetNS {
				all[netns] = l.Sysctls
			}
		}
	}
	e := nth(0)
	for err == nil {
		err = r.Read(&e)
	}
	if !errors.Is(err, io.EOF) || len(r.Damage) > 0 {
		t.Fatal(err, r.Damage)
	}
	return all
}

// TestLimits: each block tells what is new, and each file all.
func TestLimits(t *testing.T) {
	dir := t.TempDir()
	w, err := NewWriter(Options{Path: filepath.Join(dir, "t.zst"), Every: 4 * time.Second}, startEvent(), t0)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 10 {
		w.SetLimits(1, sysctls(1))
		w.SetLimits(2, sysctls(1))
		w.SetLimits(uint32(100+i), sysctls(i))
		e := nth(i)
		now := t0.Add(time.Duration(i) * time.Second)
		if err := errors.Join(w.Write(&e), w.Flush(), w.Tick(now)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(endEvent()); err != nil {
		t.Fatal(err)
	}
	_, _, names := readDir(t, dir)
	if len(names) < 3 {
		t.Fatalf("%d files, want some", len(names))
	}
	for _, name := range names {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		_, heads := scanBlocks(t, data)
		for _, h := range heads[2:] {
			if h.Records > 0 && h.Close == "" && (len(h.Limits) != 1 || len(h.Limits[0].NetNS) != 1) {
				t.Errorf("%s: block %d tells %v, and not one piece of news", name, h.Block, h.Limits)
			}
		}
	}
	want := map[uint32]map[string]string{1: sysctls(1), 2: sysctls(1)}
	for i := range 10 {
		want[uint32(100+i)] = sysctls(i)
	}
	for i := range names {
		got := told(t, names[i:]...)
		if !maps.EqualFunc(got, want, maps.Equal) {
			t.Errorf("from file %d on: %v, want %v", i+1, got, want)
		}
	}
}

// TestLimitsOfARing: what was told before the oldest block that is left is in the file.
func TestLimitsOfARing(t *testing.T) {
	dir := t.TempDir()
	w, err := NewWriter(Options{Path: filepath.Join(dir, "t.zst"), Ring: 2 * time.Second}, startEvent(), t0)
	if err != nil {
		t.Fatal(err)
	}
	w.SetLimits(1, sysctls(7))
	for i := range 10 {
		e := nth(i)
		e.Time = t0.Add(time.Duration(i) * time.Second).UnixNano()
		if err := errors.Join(w.Write(&e), w.Flush()); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := w.Trigger(t0); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(nil); err != nil {
		t.Fatal(err)
	}
	_, _, names := readDir(t, dir)
	if got := told(t, names...); !maps.Equal(got[1], sysctls(7)) {
		t.Errorf("got %v, want the limits of namespace 1", got)
	}
}

// TestLimitsChangeInARing: a file from memory starts with the limits of its first block,
// and has what changed after that at its place.
func TestLimitsChangeInARing(t *testing.T) {
	dir := t.TempDir()
	w, err := NewWriter(Options{Path: filepath.Join(dir, "t.zst"), Ring: 4 * time.Second}, startEvent(), t0)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 10 {
		at := t0.Add(time.Duration(i) * time.Second)
		if i == 0 || i == 2 || i == 7 {
			w.SetRead(Read{At: at, Before: at.Add(-time.Second)})
			w.SetLimits(1, sysctls(i))
			w.SetName(1, "ux-web", i == 0)
		}
		e := nth(i)
		e.Time = at.UnixNano()
		if err := errors.Join(w.Write(&e), w.Flush()); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := w.Trigger(t0); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(nil); err != nil {
		t.Fatal(err)
	}
	_, _, names := readDir(t, dir)
	r, err := Open(names, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	got := ""
	r.OnLimits = func(list []Limits, read Read) {
		for _, l := range list {
			got += fmt.Sprintf("%v %s home %d at %v after %v; ", l.Sysctls, l.Names[1], l.Home, read.At.Sub(t0), read.Before.Sub(t0))
		}
	}
	for e := nth(0); err == nil; {
		err = r.Read(&e)
	}
	want := "map[net.ipv4.tcp_max_tw_buckets:2] ux-web home 1 at"
	if news := "map[net.ipv4.tcp_max_tw_buckets:7] ux-web home 1 at 7s after 6s; "; !strings.HasPrefix(got, want) || !strings.HasSuffix(got, news) {
		t.Errorf("%s; want %s ... %s", got, want, news)
	}
	if !r.Late() && len(r.files) > 0 {
		t.Error("the file starts in the middle, and does not say so")
	}
}

// TestLimitsAreBounded: a host of very many namespaces that come and go does not make
// a header that no reader believes, and those that stay have theirs.
func TestLimitsAreBounded(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	w, err := NewWriter(Options{Path: path}, startEvent(), t0)
	if err != nil {
		t.Fatal(err)
	}
	const n = 9000
	for i := range n {
		w.SetLimits(uint32(i), sysctls(i))
		w.SetLimits(3, sysctls(3))
	}
	first, last := nth(0), nth(1)
	if err := errors.Join(w.Write(&first), w.Flush(), w.Write(&last)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(endEvent()); err != nil {
		t.Fatal(err)
	}
	got := told(t, path)
	if len(got) < 1000 || len(got) >= n {
		t.Errorf("limits of %d namespaces are told", len(got))
	}
	for _, netns := range []uint32{3, n - 1} {
		if !maps.Equal(got[netns], sysctls(int(netns))) {
			t.Errorf("namespace %d: %v", netns, got[netns])
		}
	}
}
