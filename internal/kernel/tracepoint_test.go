package kernel

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
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

// TestTracepointIDOfMount reads a made-up tracefs.
func TestTracepointIDOfMount(t *testing.T) {
	usual := tracefsPaths
	t.Cleanup(func() { tracefsPaths = usual })
	dir := t.TempDir()
	tracefsPaths = []string{filepath.Join(dir, "absent"), dir}
	for name, id := range map[string]string{"good": "1234\n", "bad": "many\n"} {
		path := filepath.Join(dir, "events/tcp", name)
		if err := os.MkdirAll(path, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(path, "id"), []byte(id), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if id, err := TracepointID("tcp", "good"); id != 1234 || err != nil {
		t.Errorf("number %d, %v; want 1234", id, err)
	}
	if id, err := TracepointID("tcp", "bad"); !errors.Is(err, strconv.ErrSyntax) {
		t.Errorf("no number in the file: %d, %v", id, err)
	}
	if _, err := TracepointID("tcp", "none"); !errors.Is(err, ErrNoTracepoint) || !strings.Contains(err.Error(), "tcp:none") {
		t.Errorf("no such tracepoint: %v", err)
	}
}
