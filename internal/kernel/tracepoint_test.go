package kernel

import (
	"errors"
	"os"
	"testing"

	"github.com/twtrace/twtrace/internal/kerneltest"
)

func TestTracepointID(t *testing.T) {
	kerneltest.RequireRoot(t)
	before, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	seen := make(map[uint64]bool)
	for _, name := range []string{"sys_exit_connect", "sys_exit_accept4"} {
		id, err := TracepointID("syscalls", name)
		if err != nil || id == 0 || seen[id] {
			t.Errorf("%s: number %d, %v", name, id, err)
		}
		seen[id] = true
	}
	if _, err := TracepointID("syscalls", "sys_exit_nonsense"); !errors.Is(err, ErrNoTracepoint) {
		t.Errorf("no such tracepoint: %v", err)
	}
	if after, _ := os.ReadFile("/proc/self/mountinfo"); string(after) != string(before) {
		t.Error("the mounts of this process are others than before")
	}
}
