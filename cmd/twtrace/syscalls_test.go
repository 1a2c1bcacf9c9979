package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/twtrace/twtrace/internal/kerneltest"
)

// attached returns what the kernel says of the links that the process holds: the
// tracepoints of the raw ones, and of every link its kind.
func attached(t *testing.T, pid int) (points, kinds []string) {
	t.Helper()
	files, err := filepath.Glob(fmt.Sprintf("/proc/%d/fdinfo/*", pid))
	must(t, err)
	for _, file := range files {
		data, err := os.ReadFile(file)
		if os.IsNotExist(err) {
			continue
		}
		must(t, err)
		for line := range strings.Lines(string(data)) {
			key, value, _ := strings.Cut(line, ":")
			switch value = strings.TrimSpace(value); key {
			case "tp_name":
				points = append(points, value)
			case "link_type":
				kinds = append(kinds, value)
			}
		}
	}
	return points, kinds
}

// TestSyscallHooksTraced asks the kernel what is attached: nothing that is called for
// system calls, unless it was asked for.
func TestSyscallHooksTraced(t *testing.T) {
	t.Parallel()
	ns := kerneltest.NetNS(t)
	hold(t, ns)
	for _, tt := range []struct {
		flags []string
		calls int
	}{
		{nil, 0},
		{[]string{"--syscalls", "auto"}, 0},
		{[]string{"--syscalls", "off"}, 0},
		{[]string{"--syscalls", "on"}, 5},
	} {
		t.Run(strings.Join(tt.flags, " "), func(t *testing.T) {
			t.Parallel()
			tr := startTrace(t, append([]string{"-N", ns.Path()}, tt.flags...)...)
			points, kinds := attached(t, tr.cmd.Process.Pid)
			if !slices.Contains(points, "inet_sock_set_state") {
				t.Fatalf("the hooks that are known to be there are not in %q", points)
			}
			if slices.Contains(points, "sys_enter") || slices.Contains(points, "sys_exit") {
				t.Errorf("hooks on all system calls: %q", points)
			}
			calls := 0
			for _, kind := range kinds {
				if kind != "raw_tracepoint" && kind != "tracing" {
					calls++
				}
			}
			if calls != tt.calls || slices.Contains(points, "io_uring_complete") != (tt.calls > 0) {
				t.Errorf("%d hooks on single system calls, want %d; %q, %q", calls, tt.calls, kinds, points)
			}
			missing := strings.Join(tr.all()[0].Missing, "; ")
			if said := strings.Contains(missing, "--syscalls on"); said == (tt.calls > 0) {
				t.Errorf("missing is said to be %s", missing)
			}
			tr.stop()
		})
	}
}
