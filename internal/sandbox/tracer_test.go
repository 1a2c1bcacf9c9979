package sandbox

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/twtrace/twtrace/internal/kernel"
	"github.com/twtrace/twtrace/internal/kerneltest"
)

// testTracer is a tracer in a process of its own, which a test may drop and kill.
type testTracer struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	out *json.Decoder
}

func startTracer(t *testing.T, o tracerOrders) *testTracer {
	t.Helper()
	kerneltest.RequireRoot(t)
	o.Options.Command = speakerCommand
	if o.Options.User.UID == 0 {
		o.Options.User = nobody
	}
	p := &testTracer{cmd: exec.Command("/proc/self/exe", tracerCommand)}
	p.cmd.Stderr = os.Stderr
	var err error
	if p.in, err = p.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	p.out = json.NewDecoder(bufio.NewReader(out))
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = p.cmd.Process.Kill() // it may have ended
		_ = p.cmd.Wait()
	})
	if err := json.NewEncoder(p.in).Encode(o); err != nil {
		t.Fatal(err)
	}
	return p
}

func (p *testTracer) state(t *testing.T) tracerState {
	t.Helper()
	var s tracerState
	if err := p.out.Decode(&s); err != nil {
		t.Fatalf("read what the tracer does: %v", err)
	}
	return s
}

// does has the tracer drop, or start a speaker.
func (p *testTracer) does(t *testing.T, word string) tracerState {
	t.Helper()
	if _, err := io.WriteString(p.in, word+"\n"); err != nil {
		t.Fatal(err)
	}
	return p.state(t)
}

// drops has it drop.
func (p *testTracer) drops(t *testing.T) {
	t.Helper()
	if s := p.does(t, "drop"); s.Err != "" {
		t.Fatal(s.Err)
	}
}

// speaks has it start a speaker, and returns the speaker's pid.
func (p *testTracer) speaks(t *testing.T) int {
	t.Helper()
	s := p.does(t, "start")
	if s.Err != "" {
		t.Fatal(s.Err)
	}
	return s.Speaker
}

// TestDrop: the tracer has on all threads what it keeps and can gain nothing, also with a
// speaker that runs already; and it starts another after one that was killed.
func TestDrop(t *testing.T) {
	t.Parallel()
	keep := LaunchCaps | kernel.CapSet(unix.CAP_BPF, unix.CAP_SYS_PTRACE)
	for _, before := range []bool{false, true} {
		p := startTracer(t, tracerOrders{Keep: keep})
		var pid int
		if before {
			pid = p.speaks(t)
		}
		p.drops(t)
		checkDropped(t, p.cmd.Process.Pid, keep)
		if !before {
			pid = p.speaks(t)
		}
		if err := unix.Kill(pid, unix.SIGKILL); err != nil {
			t.Fatal(err)
		}
		if s := p.state(t); s.Ended != pid || !strings.Contains(s.Err, "killed") {
			t.Errorf("the tracer reports %+v", s)
		}
		p.speaks(t)
		checkDropped(t, p.cmd.Process.Pid, keep)
	}
}

// checkDropped reads the sets of all threads of a tracer.
func checkDropped(t *testing.T, pid int, keep kernel.Caps) {
	t.Helper()
	threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", pid))
	if err != nil || len(threads) < 2 {
		t.Fatalf("%d threads, %v", len(threads), err)
	}
	for _, name := range threads {
		text, err := os.ReadFile(name)
		if err != nil {
			continue // it has ended
		}
		for _, want := range []string{"CapInh:\t0000000000000000", fmt.Sprintf("CapPrm:\t%016x", uint64(keep)),
			fmt.Sprintf("CapEff:\t%016x", uint64(keep)), "CapBnd:\t0000000000000000", "CapAmb:\t0000000000000000", "NoNewPrivs:\t1"} {
			if !strings.Contains(string(text), want+"\n") {
				t.Errorf("%s lacks %q:\n%s", name, want, text)
			}
		}
	}
}

// TestDropAll: who may not become another user starts no speaker, and says what it needs.
func TestDropAll(t *testing.T) {
	t.Parallel()
	p := startTracer(t, tracerOrders{})
	p.drops(t)
	if s := p.does(t, "start"); !strings.Contains(s.Err, "CAP_SETUID and CAP_SETGID") {
		t.Errorf("got %+v", s)
	}
}

// TestWithoutLandlock: a kernel without it confines the speaker by the rest, and the report
// says what is missing.
func TestWithoutLandlock(t *testing.T) {
	t.Parallel()
	p := startTracer(t, tracerOrders{Lacking: unix.SYS_LANDLOCK_CREATE_RULESET, Options: Options{Read: []string{"/etc/hosts"}}})
	s := p.does(t, "start")
	if s.Err != "" {
		t.Fatal(s.Err)
	}
	if s.Report.Landlock != 0 || len(s.Report.Missing) != 1 || !strings.Contains(s.Report.Missing[0], "Landlock is off") {
		t.Errorf("the report is %+v", s.Report)
	}
}

// TestWithoutSeccomp: no speaker runs on a kernel without it.
func TestWithoutSeccomp(t *testing.T) {
	t.Parallel()
	p := startTracer(t, tracerOrders{Lacking: unix.SYS_SECCOMP})
	if s := p.does(t, "start"); !strings.Contains(s.Err, "install the seccomp filter") {
		t.Errorf("got %+v", s)
	}
}

// TestTracerKilled: nothing is left of a speaker whose tracer was killed. With CAP_KILL the
// kernel ends it, even one that hangs; without, it has to notice.
func TestTracerKilled(t *testing.T) {
	t.Parallel()
	for name, keep := range map[string]kernel.Caps{"with CAP_KILL": LaunchCaps, "without": LaunchCaps &^ kernel.CapSet(unix.CAP_KILL)} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := startTracer(t, tracerOrders{Keep: keep})
			p.drops(t)
			pid := p.speaks(t)
			if keep.Has(unix.CAP_KILL) {
				halt(t, pid)
			}
			if err := p.cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() {
				if gone, _ := ended(pid); !gone {
					_ = unix.Kill(pid, unix.SIGKILL)
				}
			})
			killed := time.Now()
			kerneltest.Eventually(t, timeout, func() (bool, string) { return ended(pid) })
			t.Logf("the speaker ended %v after its tracer", time.Since(killed).Round(time.Millisecond))
		})
	}
}

// ended reports whether a process is gone, or dead and not yet waited for.
func ended(pid int) (bool, string) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return true, ""
	}
	_, state, _ := strings.Cut(string(text), ") ")
	return strings.HasPrefix(state, "Z"), string(text)
}

// halt stops a process, and returns when all its threads have.
func halt(t *testing.T, pid int) {
	t.Helper()
	if err := unix.Kill(pid, unix.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	kerneltest.Eventually(t, timeout, func() (bool, string) {
		threads, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", pid))
		for _, name := range threads {
			text, err := os.ReadFile(name)
			if err == nil && !strings.Contains(string(text), ") T ") {
				return false, string(text)
			}
		}
		return len(threads) > 0, "no threads"
	})
}

// TestSpeakerKilled: the tracer knows at once.
func TestSpeakerKilled(t *testing.T) {
	t.Parallel()
	twin := speaker(t, Options{})
	select {
	case <-twin.Done():
		t.Fatal("it has ended already")
	default:
	}
	killed := time.Now()
	if err := unix.Kill(twin.Report.PID, unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	select {
	case <-twin.Done():
		t.Logf("noticed after %v", time.Since(killed).Round(time.Millisecond))
	case <-time.After(timeout):
		t.Fatal("not noticed")
	}
	if err := twin.Err(); err == nil || errors.Is(err, ErrForbidden) || !strings.Contains(err.Error(), "killed") {
		t.Errorf("got %v", err)
	}
}

// TestOrder: a speaker gets orders beside its connection. The last of those that it has not
// taken counts, and none keeps it from the word to stop.
func TestOrder(t *testing.T) {
	t.Parallel()
	twin := speaker(t, Options{})
	for _, n := range []int{1, 2, 3} {
		if err := twin.Order(map[string]int{"n": n}); err != nil {
			t.Fatal(err)
		}
		if n == 1 {
			twin.succeeds(t, order{Do: "order"}, `{"n":1}`)
		}
	}
	kerneltest.Eventually(t, timeout, func() (bool, string) {
		got := twin.does(t, order{Do: "order"}).Out
		return got == `{"n":3}`, "the last order is " + got
	})
	for range 100 {
		if err := twin.Order([]int{1}); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	if err := twin.Stop(ctx); err != nil {
		t.Errorf("a stop after orders that nobody took: %v", err)
	}
	if err := twin.Order(1); err == nil {
		t.Error("an order to a speaker that has ended is no error")
	}
}

// TestStop: a speaker ends as it likes, and one that does not, is killed.
func TestStop(t *testing.T) {
	t.Parallel()
	twin := speaker(t, Options{})
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	for range 2 {
		if err := twin.Stop(ctx); err != nil {
			t.Errorf("a stop in time: %v", err)
		}
	}
	stuck := speaker(t, Options{})
	halt(t, stuck.Report.PID)
	cancel()
	if err := stuck.Stop(ctx); err == nil || !strings.Contains(err.Error(), "killed") {
		t.Errorf("stop of a process that hangs: %v", err)
	}
}

// TestPanic: a speaker that panics is not taken for one that was taken over.
func TestPanic(t *testing.T) {
	t.Parallel()
	kerneltest.RequireRoot(t)
	log, err := os.CreateTemp(t.TempDir(), "log")
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	twin, err := Start(Options{Command: speakerCommand, User: nobody, Log: log})
	if err != nil {
		t.Fatal(err)
	}
	defer twin.Conn.Close()
	if r, err := twin.asks(order{Do: "panic"}); err == nil {
		t.Errorf("it answers %+v", r)
	}
	if err := twin.Err(); err == nil || errors.Is(err, ErrForbidden) {
		t.Errorf("got %v", err)
	}
	if text, err := os.ReadFile(log.Name()); err != nil || !strings.Contains(string(text), "panic: as asked") {
		t.Errorf("its log is %q, %v", text, err)
	}
}

// TestByHand: the hidden command is nothing that anybody can run.
func TestByHand(t *testing.T) {
	t.Parallel()
	if Requested(os.Args[len(os.Args)-1]) {
		t.Error("this test is taken for a speaker")
	}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	for _, files := range [][]*os.File{nil, {r, w}} {
		cmd := exec.Command("/proc/self/exe", speakerCommand)
		cmd.ExtraFiles = files
		if out, err := cmd.CombinedOutput(); err == nil || !strings.Contains(string(out), "not requested\n") || !strings.Contains(string(out), "run twtrace serve") {
			t.Errorf("with %d descriptors: %v, %s", len(files), err, out)
		}
	}
}

// TestStartFails: no process is left of a speaker that cannot be confined as asked.
func TestStartFails(t *testing.T) {
	t.Parallel()
	kerneltest.RequireRoot(t)
	tests := []struct {
		name string
		o    Options
		says string
	}{
		{"root", Options{}, "another user and group than root"},
		{"root's group", Options{User: User{UID: 65534}}, "another user and group than root"},
		{"all files", Options{User: nobody, Read: []string{"/etc/.."}}, "not an absolute path below /"},
		{"a relative path", Options{User: nobody, Write: []string{"parts"}}, "not an absolute path below /"},
		{"a file that is missing", Options{User: nobody, Read: []string{"/nonexistent"}}, "/nonexistent"},
		{"a directory that is missing", Options{User: nobody, Write: []string{"/nonexistent"}}, "/nonexistent"},
		{"another command", Options{User: nobody, Command: "-test.run=^$"}, "ended before it was confined"},
	}
	null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tt.o.Log = null
			if tt.o.Command == "" {
				tt.o.Command = speakerCommand
			}
			twin, err := Start(tt.o)
			if err == nil {
				twin.Kill()
				t.Fatal("it started")
			}
			if !strings.Contains(err.Error(), tt.says) {
				t.Errorf("got %q, want %q in it", err, tt.says)
			}
		})
	}
}
