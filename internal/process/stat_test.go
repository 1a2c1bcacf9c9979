package process

import (
	"strings"
	"testing"
)

func TestParseUID(t *testing.T) {
	tests := []struct {
		in    string
		real  uint32
		fails string
	}{
		{"Name:\tsu\nUmask:\t0022\nUid:\t1000\t0\t0\t0\nGid:\t1000\n", 1000, ""},
		{"Uid:\t4294967294\t4294967295\t0\t0\n", 4294967294, ""},
		{"Name:\t\\nUid:\t1\t1\t1\t1\nUid:\t7\t8\t7\t7\n", 7, ""},
		{"Name:\tsu\nGid:\t1000\n", 0, "no Uid line"},
		{"Uid:\t1000\n", 0, "no Uid line"},
		{"Uid:\t-1\t0\t0\t0\n", 0, "uid:"},
	}
	for _, tt := range tests {
		r, err := parseUID([]byte(tt.in))
		if tt.fails != "" {
			if err == nil || !strings.Contains(err.Error(), tt.fails) {
				t.Errorf("%q: error %v, want %q", tt.in, err, tt.fails)
			}
			continue
		}
		if err != nil || r != tt.real {
			t.Errorf("%q: %d, %v", tt.in, r, err)
		}
	}
}

func TestParseBootOffset(t *testing.T) {
	for in, want := range map[string]int64{
		"monotonic           0         0\nboottime            0         0\n": 0,
		"monotonic           5         6\nboottime      -86400 500000000\n":  -86400e9 + 5e8,
		"monotonic           5         6\n":                                  0,
		"boottime x y\n":                                                     0,
		"":                                                                   0,
	} {
		if got := parseBootOffset(strings.NewReader(in)); got != want {
			t.Errorf("%q: %d, want %d", in, got, want)
		}
	}
}

func TestStartTicks(t *testing.T) {
	if bootOffset() != 0 {
		t.Fatal("the test runs in a time namespace with an offset")
	}
	for ns, want := range map[uint64]uint64{0: 0, 9_999_999: 0, 10_000_000: 1, 12_345_678_901_234: 1_234_567} {
		if got := StartTicks(ns); got != want {
			t.Errorf("%d ns: %d ticks, want %d", ns, got, want)
		}
	}
}

func TestLRU(t *testing.T) {
	l := newLRU[int, string](3)
	want := func(key int, value string) {
		t.Helper()
		switch v := l.get(key); {
		case v == nil && value != "":
			t.Errorf("%d is gone, want %q", key, value)
		case v != nil && *v != value:
			t.Errorf("%d is %q, want %q", key, *v, value)
		}
	}
	want(1, "")
	l.put(1, "a")
	l.put(1, "A")
	l.put(2, "b")
	l.put(3, "c")
	want(1, "A") // used: 2 is the oldest
	l.put(4, "d")
	want(2, "")
	want(1, "A")
	want(3, "c")
	want(4, "d")
	l.put(1, "a") // 3 is the oldest
	l.put(5, "e")
	want(3, "")
	for i := range 100 {
		l.put(i, "x")
		if n := len(l.nodes); n > 3 {
			t.Fatalf("holds %d, want 3 at most", n)
		}
	}
	if l.evicted != 2+99 { // 1 was there
		t.Errorf("%d evicted", l.evicted)
	}
	one := newLRU[int, int](1)
	one.put(1, 1)
	one.put(2, 2)
	if one.get(1) != nil || one.get(2) == nil {
		t.Errorf("one of one: %v", one.nodes)
	}
}
