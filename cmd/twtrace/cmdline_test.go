package main

import (
	"os"
	"strings"
	"testing"

	"github.com/twtrace/twtrace/internal/kerneltest"
)

// TestCmdlineTraced has command lines in the records only if they were asked for.
func TestCmdlineTraced(t *testing.T) {
	t.Parallel()
	ns := kerneltest.NetNS(t)
	keepBusy(t, ns)
	for _, asked := range []bool{false, true} {
		flags := []string{"-N", ns.Path(), "--event", "open,time_wait_enter", "-c", "100"}
		if asked {
			flags = append(flags, "--cmdline")
		}
		tr := startTrace(t, flags...)
		tr.wait()
		with := tr.count(func(r record) bool { return r.Cmdline != "" })
		if asked != (with > 0) {
			t.Errorf("asked for: %v, and %d records of 100 have a command line", asked, with)
		}
		for _, r := range tr.all() {
			if r.Cmdline != "" && !strings.HasPrefix(r.Cmdline, os.Args[0]) && !strings.HasPrefix(r.Cmdline, "/proc/self/exe") {
				t.Errorf("command line %q of %s[%d]", r.Cmdline, r.Comm, r.PID)
			}
		}
	}
}
