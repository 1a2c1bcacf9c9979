package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/twtrace/twtrace/internal/kerneltest"
	"github.com/twtrace/twtrace/internal/kerneltest/terminal"
	"github.com/twtrace/twtrace/internal/workload"
)

// screen is a `twtrace top` that runs on a terminal.
type screen struct {
	*terminal.PTY
	t      *testing.T
	cmd    *exec.Cmd
	dir    string // it runs in
	stderr talk
}

// openScreen starts one of 132 by 43 cells in a directory.
func openScreen(t *testing.T, dir string, args ...string) *screen {
	t.Helper()
	s := &screen{PTY: terminal.Open(t), t: t, dir: dir}
	s.Resize(132, 43)
	exe, err := os.Executable()
	must(t, err)
	s.cmd = command(append([]string{"top"}, args...)...)
	s.cmd.Path, s.cmd.Dir, s.cmd.Env = exe, s.dir, append(s.cmd.Env, "TERM=xterm-256color", "LC_ALL=C.UTF-8")
	s.cmd.Stdin, s.cmd.Stdout, s.cmd.Stderr = s.Slave, s.Slave, &s.stderr
	s.cmd.SysProcAttr = &unix.SysProcAttr{Setsid: true, Setctty: true, Pdeathsig: unix.SIGKILL}
	must(t, s.cmd.Start())
	t.Cleanup(func() {
		if s.cmd.ProcessState == nil {
			s.cmd.Process.Kill()
			s.cmd.Wait()
		}
	})
	return s
}

// keys presses each key once the screen shows what the one before leads to.
func (s *screen) keys(steps ...[2]string) {
	s.t.Helper()
	for _, k := range steps {
		s.Press(k[0])
		s.Await(k[1])
	}
}

// quit leaves it, and checks that it ended well with the terminal as it was.
func (s *screen) quit() {
	s.t.Helper()
	s.Press("q")
	defer expire(s.cmd)()
	if err := s.cmd.Wait(); err != nil {
		s.t.Fatalf("%v: %s", err, s.stderr.String())
	}
	s.Restored()
}

// files are those in its directory that match.
func (s *screen) files(pattern string) []string {
	s.t.Helper()
	files, err := filepath.Glob(filepath.Join(s.dir, pattern))
	must(s.t, err)
	return files
}

// TestTopObjects: -o json prints an object an interval, beyond a SIGHUP, and each is
// what the table has.
func TestTopObjects(t *testing.T) {
	t.Parallel()
	kerneltest.RequireRoot(t)
	ns := churnNS(t)
	cmd := command("top", "-o", "json", "-i", "200ms", "-N", ns.Path())
	out, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	defer expire(cmd)()
	lines := bufio.NewScanner(out)
	lines.Buffer(nil, 1<<20)
	next := func() (o struct {
		Time time.Time
		TW   uint64
		Rows []struct{ TW uint64 }
	}) {
		t.Helper()
		if !lines.Scan() {
			t.Fatalf("it ended: %v", lines.Err())
		}
		must(t, json.Unmarshal(lines.Bytes(), &o))
		sum := uint64(0)
		for _, r := range o.Rows {
			sum += r.TW
		}
		if sum != o.TW {
			t.Errorf("rows have %d in TIME_WAIT, the total is %d", sum, o.TW)
		}
		return o
	}
	last := next().Time
	must(t, cmd.Process.Signal(unix.SIGHUP))
	churnSome(t, ns, 101)
	for {
		o := next()
		if !o.Time.After(last) {
			t.Fatalf("%v is not after %v", o.Time, last)
		}
		if last = o.Time; o.TW == 101 {
			break
		}
	}
	must(t, cmd.Process.Signal(unix.SIGINT))
	for lines.Scan() { // to its end
	}
	must(t, cmd.Wait())
}

// timeWait waits until the screen has n sockets in TIME_WAIT, and reports whether it came
// to that: begins that this kernel hides are said as drift.
func (s *screen) timeWait(n int) bool {
	s.t.Helper()
	want, drift := fmt.Sprintf("TIME_WAIT %d ", n), false
	s.Until(fmt.Sprintf("%q is on the screen", want), func() bool {
		drift = kerneltest.PID1Artefact() && strings.Contains(s.Text(), "drift: births +")
		return drift || strings.Contains(s.Text(), want)
	})
	return !drift
}

// TestRecordKey: what w records in the middle of a trace replays to what the screen
// showed at its end, with what was there before.
func TestRecordKey(t *testing.T) {
	t.Parallel()
	kerneltest.RequireRoot(t)
	for again := 5; !recordsByKey(t); again-- {
		if again == 0 {
			t.Fatal("begins were hidden each time")
		}
	}
}

// recordsByKey reports false if begins were hidden.
func recordsByKey(t *testing.T) bool {
	t.Helper()
	ns := churnNS(t)
	s := openScreen(t, t.TempDir(), "-N", ns.Path())
	s.Await("no connection seen yet")
	churnSome(t, ns, 101)
	if !s.timeWait(101) {
		return false
	}
	s.keys([2]string{"w", "recording to /"}, [2]string{"j", "w stop recording twtrace-"})
	churnSome(t, ns, 211)
	if !s.timeWait(312) {
		return false
	}
	s.keys([2]string{" ", "PAUSED"}, [2]string{" ", "[LIVE] [REC"}, [2]string{"w", "recorded to /"})
	s.quit()
	files := s.files("*.zst")
	if len(files) != 1 {
		t.Fatalf("files %q", files)
	}
	if want := "twtrace: recorded to " + files[0] + ": "; !strings.Contains(s.stderr.String(), want) {
		t.Errorf("stderr %q, want %q in it", s.stderr.String(), want)
	}
	o := ended(t, command("trace", "-r", files[0], "-o", "json"))
	begins, before := strings.Count(o.stdout, `"event":"time_wait_enter"`), strings.Count(o.stdout, `"event":"snapshot"`)
	if begins != 211 || before != 101 || !strings.Contains(o.stdout, `"births":211,`) || !strings.Contains(o.stdout, `"begins":211,`) {
		t.Errorf("%d begins, %d from before, want 211 and 101; stderr %s; the end is %s", begins, before, o.stderr, o.stdout[strings.LastIndex(strings.TrimSpace(o.stdout), "\n")+1:])
	}
	r := openScreen(t, t.TempDir(), "-r", files[0], "--speed", "100")
	r.Await("END]")
	r.Await("TIME_WAIT 312 ")
	r.quit()
	return true
}

// TestRecordKeyFails: a file that cannot be made, or not be written on, is said on the
// screen, and the view goes on.
func TestRecordKeyFails(t *testing.T) {
	t.Parallel()
	kerneltest.RequireRoot(t)
	ns, dir := churnNS(t), t.TempDir()
	must(t, unix.Mount("none", dir, "tmpfs", 0, "size=100m"))
	defer unix.Unmount(dir, unix.MNT_DETACH)
	s := openScreen(t, dir, "-N", ns.Path())
	s.Await("no connection seen yet")
	s.keys([2]string{"w", "recording to /"}, [2]string{"j", "w stop recording"})
	filler := filepath.Join(dir, "filler") // less room than is to be left free
	must(t, os.WriteFile(filler, make([]byte, 50<<20), 0o600))
	kerneltest.Eventually(t, patience, func() (bool, string) { // until a block is to be written
		churnSome(t, ns, 11)
		return strings.Contains(s.Text(), "are to be left"), s.Text()
	})
	s.keys([2]string{"j", "w record "})
	if strings.Contains(s.Text(), "[REC") {
		t.Error("it still seems to record")
	}
	must(t, os.Remove(filler))
	must(t, unix.Mount("", dir, "", unix.MS_REMOUNT|unix.MS_RDONLY, ""))
	s.keys([2]string{"w", "read-only file system"}, [2]string{"j", "w record "})
	must(t, unix.Mount("", dir, "", unix.MS_REMOUNT, ""))
	for i := range 120 { // whatever the second is
		name := time.Now().Add(time.Duration(i-10) * time.Second).UTC().Format("twtrace-20060102-150405.ndjson.zst")
		if _, err := os.Lstat(filepath.Join(dir, name)); err != nil {
			must(t, os.WriteFile(filepath.Join(dir, name), nil, 0o600))
		}
	}
	s.keys([2]string{"w", "-1.ndjson.zst"}) // none of these is touched
	s.quit()
	if !strings.Contains(s.stderr.String(), "are to be left") {
		t.Errorf("stderr %q does not tell of the recording that failed", s.stderr.String())
	}
}

// churnSome makes n connections in the namespace.
func churnSome(t *testing.T, ns *kerneltest.NS, n int) {
	t.Helper()
	c := workload.Churn{Connections: n, Workers: 2, ServerWorkers: 2, To: workload.Destinations(2, 1), CountOnly: true}
	_, err := c.Scenario().Run(t.Context(), ns.Path())
	must(t, err)
}

// TestReplayKeys: a recording on the screen can be stopped, gone through state by
// state in both directions, and goes on; at its end it stays.
func TestReplayKeys(t *testing.T) {
	t.Parallel()
	ns := churnNS(t)
	ns.KeepTimeWait(t) // 303 sockets are to be there at the end
	ns.Sysctl(t, "net.ipv4.tcp_tw_reuse", "0")
	rec := startRecording(t, t.TempDir(), "-N", ns.Path())
	for range 3 {
		churnSome(t, ns, 101)
		wait := time.Now().Add(2 * time.Second) // of the recording
		kerneltest.Eventually(t, patience, func() (bool, string) { return time.Now().After(wait), "the time does not pass" })
	}
	allBegun(t, ns, births(t, ns))
	rec.stop()
	file := rec.files()[0]
	begins := strings.Count(ended(t, command("trace", "-r", file, "-o", "json")).stdout, `"event":"time_wait_enter"`)
	if hidden := 303 - begins; hidden < 0 || hidden > 5 || hidden > 0 && !kerneltest.PID1Artefact() {
		t.Fatalf("%d begins, want 303", begins)
	}

	s := openScreen(t, t.TempDir(), "-r", file, "-i", "500ms", "--speed", "0.5")
	s.Await("[REPLAY ")
	s.Await(" x0.5]")
	s.keys([2]string{" ", "x0.5 PAUSED]"})
	s.keys([2]string{"t", "TIME_WAIT"})
	for range 200 { // to the end, as fast as it can be read; beyond it, t does nothing
		s.Press("t")
	}
	s.Await("x0.5 END]")
	s.Await(fmt.Sprintf("TIME_WAIT %d ", begins))
	s.keys([2]string{"T", "/"}, [2]string{"t", "x0.5 END]"}, [2]string{"\x1b[D", "/"})
	s.quit()
	s.Await(fmt.Sprintf("TIME_WAIT %d,", begins)) // the summary is of the last state

	s = openScreen(t, t.TempDir(), "-r", file, "--speed", "50", "--from", "3s", "--to", "4s")
	s.Await("END]")
	s.quit()
	s.Until("3 to 4 s of the recording were seen", func() bool {
		return strings.Contains(s.Text(), "watched 3s") || strings.Contains(s.Text(), "watched 4s")
	})
}
