package process

import (
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestDescriptors(t *testing.T) {
	pid := uint32(os.Getpid())
	before, limit, err := Descriptors(pid)
	if err != nil {
		t.Fatal(err)
	}
	var want unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &want); err != nil || limit != want.Cur {
		t.Errorf("the limit is %d, want %d (%v)", limit, want.Cur, err)
	}
	for range 17 {
		f, err := os.Open("/dev/null")
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
	}
	if after, _, err := Descriptors(pid); err != nil || after != before+17 {
		t.Errorf("%d descriptors after 17 more than %d (%v)", after, before, err)
	}
	if _, _, err := Descriptors(0); err == nil {
		t.Error("no error for a process that is not")
	}
	if used, limit, err := HostDescriptors(); err != nil || used == 0 || used > limit {
		t.Errorf("the host has %d of %d open (%v)", used, limit, err)
	}
}

func TestParseOpenFiles(t *testing.T) {
	if n, err := parseOpenFiles([]byte("Max processes  7 7 processes\nMax open files            1024                 524288               files\n")); err != nil || n != 1024 {
		t.Errorf("%d, %v", n, err)
	}
	for _, bad := range []string{"", "Max open files\n", "Max open files  unlimited unlimited files\n"} {
		if n, err := parseOpenFiles([]byte(bad)); err == nil {
			t.Errorf("%q is %d", bad, n)
		}
	}
}

func TestSystemTime(t *testing.T) {
	pid := uint32(os.Getpid())
	before, err := SystemTime(pid)
	if err != nil {
		t.Fatal(err)
	}
	var used time.Duration
	for used <= 0 { // it ends: this loop is made of system calls
		unix.Getppid()
		now, err := SystemTime(pid)
		if err != nil {
			t.Fatal(err)
		}
		used = now - before
	}
	if used%(10*time.Millisecond) != 0 {
		t.Errorf("%v is no number of clock ticks", used)
	}
	if _, err := SystemTime(0); err == nil {
		t.Error("no error for a process that is not")
	}
}
