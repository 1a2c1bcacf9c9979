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
	"time"

	"golang.org/x/sys/unix"

	"github.com/twtrace/twtrace/internal/event"
	"github.com/twtrace/twtrace/internal/kerneltest"
	"github.com/twtrace/twtrace/internal/process"
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

// TestHidden takes the hook away by which births are seen, and wants twtrace to say
// how many it has not seen, and --strict to fail for it.
func TestHidden(t *testing.T) {
	t.Attr("row", "a hook taken away: the drift is told")
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
	words := fmt.Sprintf("births %+d, alive %+d in netns %d", n, n, ns.Inum())
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

func TestJudge(t *testing.T) {
	names := map[uint32]string{7: "", 8: "web"}
	drift := []event.Drift{{NetNS: 7, Births: 3, Alive: -1}, {NetNS: 8, Reused: 2, Refused: -4}}
	tests := []struct {
		name  string
		lost  map[event.Stage]uint64
		drift []event.Drift
		want  string
	}{
		{"nothing", nil, nil, ""},
		{"lost", map[event.Stage]uint64{event.StageRing: 5, event.StageMap: 1}, nil,
			"events were lost: 5 (ring) 1 (map); try a larger --buffer or --max-conns"},
		{"drift", nil, drift,
			"the kernel counted otherwise: births +3, alive -1 in netns 7; reused +2, refused -4 in netns 8 (web)"},
		{"both", map[event.Stage]uint64{event.StageRing: 5}, drift[:1],
			"events were lost: 5 (ring); try a larger --buffer or --max-conns; the kernel counted otherwise: births +3, alive -1 in netns 7"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			err := judge(test.lost, test.drift, names)
			if test.want == "" {
				if err != nil {
					t.Errorf("got %v", err)
				}
				return
			}
			var exit exitError
			if !errors.As(err, &exit) || exit.code != exitLossy || exit.msg != test.want {
				t.Errorf("got %v, want %q", err, test.want)
			}
		})
	}
}

// TestDriftOnScreen has drift on the screen.
func TestDriftOnScreen(t *testing.T) {
	s := session{drift: []event.Drift{{NetNS: 7, Births: 3}}, stream: newNamer(nil, process.Options{})}
	defer s.stream.stop()
	now := time.Now()
	if got := s.remarks(now); len(got) != 1 || got[0] != "drift: births +3 in netns 7" {
		t.Errorf("remarks %q", got)
	}
}
