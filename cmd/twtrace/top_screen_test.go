package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
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
	return showOn(t, dir, command(append([]string{"top"}, args...)...))
}

// openPiped starts one of what is ordered.
func openPiped(t *testing.T, dir string, args ...string) (*screen, orders) {
	t.Helper()
	cmd, orders := pipedCommand(t, append([]string{"top"}, args...)...)
	return showOn(t, dir, cmd), orders
}

// showOn starts the screen that cmd is.
func showOn(t *testing.T, dir string, cmd *exec.Cmd) *screen {
	t.Helper()
	s := &screen{PTY: terminal.Open(t), t: t, cmd: cmd, dir: dir}
	s.Resize(132, 43)
	exe, err := os.Executable()
	must(t, err)
	s.cmd.Path, s.cmd.Dir, s.cmd.Env = exe, s.dir, append(s.cmd.Env, "TERM=xterm-256color", "LC_ALL=C.UTF-8")
	s.cmd.Stdin, s.cmd.Stdout, s.cmd.Stderr = s.Slave, s.Slave, &s.stderr
	s.cmd.SysProcAttr = &unix.SysProcAttr{Setsid: true, Setctty: true}
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

// awaitTimeWait waits for the header to say that so many sockets are in TIME_WAIT.
func (s *screen) awaitTimeWait(n uint64) {
	s.t.Helper()
	header := regexp.MustCompile(fmt.Sprintf(`TIME_WAIT +%d `, n)) // the number has a fixed width
	s.Until(header.String(), func() bool { return header.MatchString(s.Text()) })
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
	cmd, orders := pipedCommand(t, "top", "-o", "json", "-i", "200ms")
	out, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	defer expire(cmd)()
	lines := bufio.NewScanner(out)
	lines.Buffer(nil, 1<<20)
	next := func() (o struct {
		Time time.Time
		TW   uint64 `json:"time_wait"`
		Rows []struct {
			TW uint64 `json:"time_wait"`
		}
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
	orders.make(101)
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

// TestRecordKey: what w records in the middle of a trace replays to what the screen
// showed at its end, with what was there before.
func TestRecordKey(t *testing.T) {
	t.Parallel()
	s, orders := openPiped(t, t.TempDir())
	s.Await("no connections yet")
	orders.make(101)
	s.awaitTimeWait(101)
	s.keys([2]string{"w", "recording to /"}, [2]string{"j", "w stop recording twtrace-"})
	orders.make(211)
	s.awaitTimeWait(312)
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
	if begins != 211 || before != 101 || !strings.Contains(o.stdout, `"births_total":211,`) || !strings.Contains(o.stdout, `"time_wait_enters_total":211,`) {
		t.Errorf("%d begins, %d from before, want 211 and 101; stderr %s; the end is %s", begins, before, o.stderr, o.stdout[strings.LastIndex(strings.TrimSpace(o.stdout), "\n")+1:])
	}
	r := openScreen(t, t.TempDir(), "-r", files[0], "--speed", "100")
	r.Await("END]")
	r.awaitTimeWait(312)
	r.quit()
}

// TestRecordKeyFailsTraced: a file that cannot be made, or not be written on, is said on the
// screen, and the view goes on.
func TestRecordKeyFailsTraced(t *testing.T) {
	t.Parallel()
	kerneltest.RequireRoot(t)
	ns, dir := churnNS(t), t.TempDir()
	must(t, unix.Mount("none", dir, "tmpfs", 0, "size=100m"))
	defer unix.Unmount(dir, unix.MNT_DETACH)
	s := openScreen(t, dir, "-N", ns.Path())
	s.Await("no connections yet")
	s.keys([2]string{"w", "recording to /"}, [2]string{"j", "w stop recording"})
	filler := filepath.Join(dir, "filler") // less room than is to be left free
	must(t, os.WriteFile(filler, make([]byte, 50<<20), 0o600))
	kerneltest.Eventually(t, patience, func() (bool, string) { // until a block is to be written
		churnSome(t, ns, 11)
		return strings.Contains(s.Text(), "and --min-free is"), s.Text()
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
	if !strings.Contains(s.stderr.String(), "and --min-free is") {
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
	// 303 connections in three bursts, two seconds apart.
	burst := busyClient(1)
	burst.Rate = func(at time.Duration) float64 {
		if at%(2*time.Second) <= 505*time.Millisecond && at < 5*time.Second {
			return 200
		}
		return 0
	}
	src := played(1000, 6*time.Second, burst)
	file, begins := recordedFrom(t, src), src.Last.Begins
	if begins < 303 {
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
	s.awaitTimeWait(begins)
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
