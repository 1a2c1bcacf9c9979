package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/twtrace/twtrace/internal/event"
	"github.com/twtrace/twtrace/internal/kerneltest"
	tracefile "github.com/twtrace/twtrace/internal/record"
)

// recording is a running `twtrace record`.
type recording struct {
	t      testing.TB
	cmd    *exec.Cmd
	stderr talk
	dir    string
}

// startRecording starts one in a directory of its own, and returns once the first
// block is written.
func startRecording(t testing.TB, dir string, args ...string) *recording {
	t.Helper()
	kerneltest.RequireRoot(t)
	args = append([]string{"record", "-w", filepath.Join(dir, "t.ndjson.zst")}, args...)
	if set := os.Getenv(hooksVariable); set != "" {
		args = append(args, "--hooks", set)
	}
	r := &recording{t: t, cmd: command(args...), dir: dir}
	r.cmd.Stderr = &r.stderr
	if err := r.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if r.cmd.ProcessState == nil {
			r.cmd.Process.Kill()
			r.cmd.Wait()
		}
	})
	kerneltest.Eventually(t, patience, func() (bool, string) {
		files := r.files()
		if len(files) == 0 {
			return false, "no file; " + r.stderr.String()
		}
		st, err := os.Stat(files[0])
		return err == nil && st.Size() > 0, "an empty file"
	})
	return r
}

// files are the files there are, oldest first.
func (r *recording) files() []string {
	files, err := filepath.Glob(filepath.Join(r.dir, "t*.zst"))
	if err != nil {
		r.t.Fatal(err)
	}
	slices.Sort(files)
	return files
}

// stop ends it, and checks that it ended well.
func (r *recording) stop() {
	r.t.Helper()
	if err := r.cmd.Process.Signal(unix.SIGINT); err != nil {
		r.t.Fatal(err)
	}
	if err := r.cmd.Wait(); err != nil {
		r.t.Fatalf("%v: %s", err, r.stderr.String())
	}
}

// lines are the records in the files, as zstd prints them, but for the facts that
// only files have.
func lines(t testing.TB, files []string) []string {
	t.Helper()
	out, err := exec.Command("zstd", append([]string{"-dcq"}, files...)...).Output()
	if err != nil {
		t.Fatal(err)
	}
	all := strings.SplitAfter(string(out), "\n")
	return slices.DeleteFunc(all, func(l string) bool {
		return l == "" || strings.Contains(l, `"event":"parked"`) || strings.Contains(l, `"event":"held"`)
	})
}

// asUser runs twtrace as an ordinary user, who has no files but the one on stdin.
func asUser(t testing.TB, stdin string, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	file, err := os.Open(stdin)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	cmd := unprivileged(t, args...)
	var out, talk bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = file, &out, &talk
	var exit *exec.ExitError
	if err := cmd.Run(); err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return out.String(), talk.String(), cmd.ProcessState.ExitCode()
}

var wrote = regexp.MustCompile(`([0-9,]+) records,`)

// told is how many records the recording says it wrote.
func (r *recording) told() int {
	m := wrote.FindAllStringSubmatch(r.stderr.String(), -1)
	if m == nil {
		r.t.Fatalf("it does not say what it wrote: %s", r.stderr.String())
	}
	n, err := strconv.Atoi(strings.ReplaceAll(m[len(m)-1][1], ",", ""))
	if err != nil {
		r.t.Fatal(err)
	}
	return n
}

// TestReplay: an ordinary user gets the records of the run from its file, one by one
// the same, and a table of them.
func TestReplay(t *testing.T) {
	t.Parallel()
	ns := kerneltest.NetNS(t)
	ns.KeepTimeWait(t)
	ns.Sysctl(t, "net.ipv4.ip_local_port_range", "20000 21999")
	r := startRecording(t, t.TempDir(), "-N", ns.Path())
	connect(t, ns, 997)
	r.stop()
	want := lines(t, r.files())
	file := r.files()[0]
	if st, err := os.Stat(file); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v; want 0600", st.Mode(), err)
	}
	stdout, stderr, code := asUser(t, file, "trace", "-r", "-", "-o", "json")
	if got := strings.SplitAfter(strings.TrimSuffix(stdout, "\n"), "\n"); code != 0 || len(got) != len(want) || stdout != strings.Join(want, "") {
		t.Errorf("exit code %d, %d records, want the %d of the file: %s", code, len(got), len(want), stderr)
	}
	begins := 0
	for _, l := range want {
		if strings.Contains(l, `"event":"time_wait_enter"`) || strings.Contains(l, `"event":"snapshot"`) {
			begins++
		}
	}
	stdout, stderr, code = asUser(t, file, "list", "-r", "-", "-o", "json")
	if n := strings.Count(stdout, "\n"); code != 0 || n != begins {
		t.Errorf("list: exit code %d, %d sockets, want %d: %s", code, n, begins, stderr)
	}
	stdout, stderr, code = asUser(t, file, "top", "-b", "-r", "-", "-i", "100ms")
	if code != 0 || !strings.Contains(stdout, "host=") {
		t.Errorf("top: exit code %d, %s%s", code, stdout, stderr)
	}
	stdout, stderr, code = asUser(t, file, "ports", "-r", "-", "-o", "csv", "--fields", "what,time_wait,usable")
	if want := fmt.Sprintf("ports,%d,2000\n", begins); code != 0 || !strings.Contains(stdout, want) {
		t.Errorf("ports: exit code %d, want %q in %s%s", code, want, stdout, stderr)
	}
}

// TestRotation: through files that come and go, nothing is lost and nothing is there
// twice.
func TestRotation(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{{"-C", "1M"}, {"-G", "1"}} {
		t.Run(args[0], func(t *testing.T) {
			t.Parallel()
			rotate(t, args...)
		})
	}
}

func rotate(t *testing.T, args ...string) {
	ns := churnNS(t)
	r := startRecording(t, t.TempDir(), append(args, "-N", ns.Path())...)
	if _, err := someChurn().Scenario().Run(t.Context(), ns.Path()); err != nil {
		t.Fatal(err)
	}
	allBegun(t, ns, births(t, ns))
	r.stop()
	files := r.files()
	if len(files) < 3 {
		t.Errorf("%d files, want several", len(files))
	}
	records, seen := 0, make(map[string]bool)
	reader, err := tracefile.Open(files, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	var e event.Event
	for {
		err := reader.Read(&e)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		records++
		if e.Kind == event.TimeWaitEnter {
			key := fmt.Sprintf("%x %d", e.Cookie, e.Time)
			if seen[key] {
				t.Fatalf("twice: %+v", e)
			}
			seen[key] = true
		}
	}
	if len(reader.Damage) > 0 || reader.End() == nil {
		t.Fatalf("damage %v, end %v", reader.Damage, reader.End())
	}
	if want := r.told() - 2; records != want { // start and end are apart
		t.Errorf("%d records in %d files, want the run's %d", records, len(files), want)
	}
	lost := int(reader.End().End.Lost["ring"])
	if born := births(t, ns); len(seen) > born || len(seen) < born-lost-born/500 {
		t.Errorf("%d begins of %d births; %d events are lost", len(seen), born, lost)
	}
}

// TestRecorderKilled: a recorder that is killed at any moment, 50 times, loses a block
// at most, and the reader says so.
func TestRecorderKilled(t *testing.T) {
	t.Parallel()
	ns := churning(t)
	for range 5 {
		t.Run("", func(t *testing.T) {
			t.Parallel()
			killRecorders(t, ns, 10)
		})
	}
}

func killRecorders(t *testing.T, ns *kerneltest.NS, times int) {
	for range times {
		r := startRecording(t, t.TempDir(), "-N", ns.Path())
		size := int64(2000 + rand.IntN(100000))
		kerneltest.Eventually(t, patience, func() (bool, string) {
			st, err := os.Stat(r.files()[0])
			return err == nil && st.Size() > size, "it does not grow"
		})
		r.cmd.Process.Kill()
		r.cmd.Wait()
		reader, err := tracefile.Open(r.files(), nil)
		if err != nil {
			t.Fatal(err)
		}
		var e event.Event
		n := 0
		for err = reader.Read(&e); err == nil; err = reader.Read(&e) {
			n++
		}
		// One damage, at the end: so the blocks before it are all there.
		if !errors.Is(err, io.EOF) || len(reader.Damage) != 1 || n == 0 {
			t.Errorf("%d records, %v, damage %v", n, err, reader.Damage)
		}
		reader.Close()
		_, stderr, code := twtrace(t, "trace", "-r", r.files()[0], "-o", "csv")
		if code != 1 || !strings.Contains(stderr, "it has no end") && !strings.Contains(stderr, "is torn") {
			t.Errorf("exit code %d: %s", code, stderr)
		}
	}
}

// TestRecordDiskFull: where the disk is full, the file is whole up to there.
func TestRecordDiskFull(t *testing.T) {
	t.Parallel()
	for name, args := range map[string][]string{"to the last byte": {"--min-free", "0"}, "early": {"--min-free", "300K"}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ns := churnNS(t)
			dir := t.TempDir()
			if err := unix.Mount("twtrace", dir, "tmpfs", 0, "size=1M"); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { unix.Unmount(dir, unix.MNT_DETACH) })
			r := startRecording(t, dir, append(args, "-N", ns.Path())...)
			if _, err := someChurn().Scenario().Run(t.Context(), ns.Path()); err != nil {
				t.Fatal(err)
			}
			var exit *exec.ExitError
			if err := r.cmd.Wait(); !errors.As(err, &exit) || exit.ExitCode() != exitFailed {
				t.Fatalf("%v: %s", err, r.stderr.String())
			}
			if s := r.stderr.String(); !strings.Contains(s, "no space left on device; the file is whole up to record") && !strings.Contains(s, "(--min-free)") {
				t.Errorf("it says %s", s)
			}
			r.told()
			if out, err := exec.Command("zstd", "-tq", r.files()[0]).CombinedOutput(); err != nil {
				t.Errorf("zstd -t: %v: %s", err, out)
			}
			if stdout, stderr, code := twtrace(t, "trace", "-r", r.files()[0], "-o", "csv"); code == 0 && strings.Contains(stderr, "torn") || stdout == "" {
				t.Errorf("exit code %d: %s", code, stderr)
			}
		})
	}
}

// TestFlightRecorder: what was kept in memory is in a file once it is asked for, and
// what comes after.
func TestFlightRecorder(t *testing.T) {
	t.Parallel()
	kerneltest.RequireRoot(t)
	ns := churning(t)
	dir := t.TempDir()
	r := &recording{t: t, dir: dir, cmd: command("record", "-w", filepath.Join(dir, "t.ndjson.zst"), "--ring", "10m", "--after", "10m", "-N", ns.Path())}
	r.cmd.Stderr = &r.stderr
	must(t, r.cmd.Start())
	defer r.cmd.Process.Kill()
	kerneltest.Eventually(t, patience, func() (bool, string) {
		return len(kernelObjects(t, r.cmd.Process.Pid)) > 0, "nothing is attached; " + r.stderr.String()
	})
	must(t, r.cmd.Process.Signal(unix.SIGUSR2))
	kerneltest.Eventually(t, patience, func() (bool, string) {
		files := r.files()
		if len(files) == 0 {
			return false, "no file; " + r.stderr.String()
		}
		st, err := os.Stat(files[0])
		return err == nil && st.Size() > 10000, "it does not grow"
	})
	r.stop()
	stdout, stderr, code := twtrace(t, "trace", "-r", r.files()[0], "-o", "json")
	if code != 0 || strings.Count(stdout, `"time_wait_enter"`) == 0 {
		t.Errorf("exit code %d, %d bytes: %s", code, len(stdout), stderr)
	}
	if s := r.stderr.String(); !strings.Contains(s, "SIGUSR2: the last part is written to "+r.files()[0]) {
		t.Errorf("it says %s", s)
	}
}

// TestMoment: times of a recording that began at 23:59:30.
func TestMoment(t *testing.T) {
	begin := time.Date(2026, 11, 22, 23, 59, 30, 0, time.UTC)
	for s, want := range map[string]time.Duration{
		"": -time.Duration(begin.UnixNano()), "90s": 90 * time.Second, "23:59:40": 10 * time.Second, "00:01": 90 * time.Second,
		"2026-11-22T23:59:31Z": time.Second,
	} {
		got, err := moment(s, begin.UnixNano())
		if err != nil || got != begin.UnixNano()+int64(want) {
			t.Errorf("%q: %v, %v", s, time.Unix(0, got).UTC(), err)
		}
	}
	for _, s := range []string{"noon", "25:00", "-3s"} {
		if _, err := moment(s, begin.UnixNano()); err == nil {
			t.Errorf("%q: no error", s)
		}
	}
}
