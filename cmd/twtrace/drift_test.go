package main

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/twtrace/twtrace/internal/kerneltest"
	"github.com/twtrace/twtrace/internal/workload"
)

// unhookVariable in the environment of a test binary that runs as twtrace names a
// tracepoint. The test binary takes the program on it away from twtrace, which does
// not notice: the events of that tracepoint are hidden, on purpose.
const unhookVariable = "TWTRACE_TEST_UNHOOK"

func init() {
	if point := os.Getenv(unhookVariable); point != "" && os.Getenv(asTwtrace) != "" {
		go unhook(point)
	}
}

// lastHook is the tracepoint that the timer hooks are attached to last.
const lastHook = "timer_cancel"

// unhook puts another file in the place of the link to the tracepoint, once all
// hooks are attached: the link was held by nothing else.
func unhook(point string) {
	for {
		files, _ := filepath.Glob("/proc/self/fdinfo/*")
		if !slices.ContainsFunc(files, func(f string) bool { return isLink(f, lastHook) }) {
			continue
		}
		for _, info := range files {
			if !isLink(info, point) {
				continue
			}
			var fd int
			if _, err := fmt.Sscan(filepath.Base(info), &fd); err != nil {
				panic(err)
			}
			null, err := unix.Open("/dev/null", unix.O_RDONLY|unix.O_CLOEXEC, 0)
			if err == nil {
				err = errors.Join(unix.Dup3(null, fd, unix.O_CLOEXEC), unix.Close(null))
			}
			if err != nil {
				panic(err)
			}
			return
		}
	}
}

// isLink tells whether a file of /proc/PID/fdinfo is of a link to the tracepoint.
func isLink(info, point string) bool {
	f, err := os.Open(info)
	if err != nil {
		return false
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if name, ok := strings.CutPrefix(lines.Text(), "tp_name:"); ok && strings.TrimSpace(name) == point {
			return true
		}
	}
	return false
}

// TestHiddenTraced takes the hook away by which births are seen, and wants twtrace to say
// how many it has not seen, and --strict to fail for it.
func TestHiddenTraced(t *testing.T) {
	t.Attr("row", "a hook removed: the drift is reported")
	const n = 97
	ns := kerneltest.NetNS(t)
	ns.KeepTimeWait(t)
	hold(t, ns)
	t.Setenv(hooksVariable, "timer")
	t.Setenv(unhookVariable, "timer_start")
	tr := startTrace(t, "-N", ns.Path(), "--strict")
	if _, err := workload.ActiveClose(workload.IPv4, n).Run(t.Context(), ns.Path()); err != nil {
		t.Fatal(err)
	}
	if got := births(t, ns); got != n {
		t.Fatalf("%d births, want %d", got, n)
	}
	must(t, tr.cmd.Process.Signal(unix.SIGINT))
	if err := tr.cmd.Wait(); tr.cmd.ProcessState.ExitCode() != exitLossy {
		t.Errorf("%v, want exit code %d", err, exitLossy)
	}
	words := fmt.Sprintf("in netns %d the kernel counts %d more TIME_WAIT starts, %d more TIME_WAIT sockets", ns.Inum(), n, n)
	if got := tr.stderr.String(); !strings.Contains(got, words) {
		t.Errorf("stderr is %q, want %q in it", got, words)
	}
	all := tr.all()
	end := all[len(all)-1]
	found := false
	for _, d := range end.Drift {
		found = found || d.Netns == ns.Inum() && d.Births == n && d.Alive == n
	}
	if !found || end.Births != 0 {
		t.Errorf("%d births and drift %+v; want no births and %d in netns %d", end.Births, end.Drift, n, ns.Inum())
	}
}
