package sandbox

import (
	"strings"
	"testing"
)

func TestLookupUser(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name     string
		uid, gid uint32
		err      string
	}{
		{"", 65534, 65534, ""}, // of nobody, or of twtrace: below
		{"nobody", 65534, 65534, ""},
		{"65534", 65534, 65534, ""},
		{"4000000000", 4000000000, 4000000000, ""},
		{"12:34", 12, 34, ""},
		{"root", 0, 0, ""}, // which Start refuses
		{"12:", 0, 0, "not UID:GID"},
		{"a:b", 0, 0, "not UID:GID"},
		{"-1", 0, 0, "find user"},
		{"4294967296", 0, 0, "find user"},
		{"no such user", 0, 0, "find user"},
	}
	for _, tt := range tests {
		u, err := LookupUser(tt.name)
		if tt.err != "" {
			if err == nil || !strings.Contains(err.Error(), tt.err) {
				t.Errorf("%q: got %+v, %v; want %q", tt.name, u, err, tt.err)
			}
			continue
		}
		if tt.name == "" {
			if twtrace, err := LookupUser("twtrace"); err == nil {
				tt.uid, tt.gid = twtrace.UID, twtrace.GID
			}
		}
		if err != nil || u.UID != tt.uid && tt.name != "nobody" || u.Groups != nil {
			t.Errorf("%q: got %+v, %v; want %d:%d", tt.name, u, err, tt.uid, tt.gid)
		}
	}
}

// TestMissing: what a kernel lacks is said once it matters, and nothing is said of one that
// lacks nothing.
func TestMissing(t *testing.T) {
	t.Parallel()
	none, dials, resolves := grants{}, grants{Dial: true}, grants{Dial: true, Resolve: true}
	tests := []struct {
		abi    int
		grants grants
		want   string // one word of each
	}{
		{0, none, "off"}, {1, none, "truncate"}, {2, resolves, "truncate ports UDP"}, {3, dials, "ports"},
		{3, none, ""}, {4, dials, ""}, {7, resolves, "UDP"}, {10, resolves, ""}, {99, resolves, ""},
	}
	for _, tt := range tests {
		got := missing(tt.abi, tt.grants)
		words := strings.Fields(tt.want)
		if len(got) != len(words) {
			t.Errorf("ABI %d, %+v: got %q, want %q", tt.abi, tt.grants, got, tt.want)
			continue
		}
		for i, w := range words {
			if !strings.Contains(got[i], w) {
				t.Errorf("ABI %d, %+v: got %q, want %q", tt.abi, tt.grants, got, tt.want)
			}
		}
	}
}

// TestCheckStatus finds each thing that makes a process less than confined.
func TestCheckStatus(t *testing.T) {
	t.Parallel()
	const good = "Name:\ttwtrace\nUid:\t7\t7\t7\t7\nGid:\t8\t8\t8\t8\nGroups:\t1 9 \nNoNewPrivs:\t1\nSeccomp:\t2\nSeccomp_filters:\t1\n" +
		"CapInh:\t0000000000000000\nCapPrm:\t0000000000000000\nCapEff:\t0000000000000000\nCapBnd:\t0000000000000000\nCapAmb:\t0000000000000000\n"
	u := User{UID: 7, GID: 8, Groups: []uint32{9, 1}}
	if err := checkStatus([]byte(good), u); err != nil {
		t.Error(err)
	}
	for _, change := range [][2]string{
		{"Uid:\t7\t7\t7\t7", "Uid:\t7\t7\t7\t0"}, {"Gid:\t8\t8", "Gid:\t8\t0"}, {"Groups:\t1 9 ", "Groups:\t0 1 9 "},
		{"NoNewPrivs:\t1", "NoNewPrivs:\t0"}, {"Seccomp:\t2", "Seccomp:\t0"}, {"Seccomp:\t2\n", ""},
		{"CapInh:\t0", "CapInh:\t1"}, {"CapPrm:\t0", "CapPrm:\t1"}, {"CapEff:\t0", "CapEff:\t1"},
		{"CapBnd:\t0", "CapBnd:\t1"}, {"CapAmb:\t0", "CapAmb:\t1"}, {"CapAmb", "CapAmp"},
	} {
		bad := strings.Replace(good, change[0], change[1], 1)
		if bad == good {
			t.Fatalf("%q changes nothing", change)
		}
		if err := checkStatus([]byte(bad), u); err == nil {
			t.Errorf("%q: no error", change[1])
		}
	}
}
