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
	return awaitRecording(t, dir, command(args...))
}

// startPipedRecording starts one of what is ordered.
func startPipedRecording(t testing.TB, dir string, args ...string) (*recording, orders) {
	t.Helper()
	cmd, o := pipedCommand(t, append([]string{"record", "-w", filepath.Join(dir, "t.ndjson.zst")}, args...)...)
	return awaitRecording(t, dir, cmd), o
}

// awaitRecording starts the recording that cmd is.
func awaitRecording(t testing.TB, dir string, cmd *exec.Cmd) *recording {
	t.Helper()
	r := &recording{t: t, cmd: cmd, dir: dir}
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
	kerneltest.RequireTool(t, "zstd", "zstd")
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
	file := recordedFrom(t, played(2000, 30*time.Second, until(25*time.Second, busyClient(40))))
	want := lines(t, []string{file})
	if st, err := os.Stat(file); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v; want 0600", st.Mode(), err)
	}
	stdout, stderr, code := asUser(t, file, "trace", "-r", "-", "-o", "json")
	if got := strings.SplitAfter(strings.TrimSuffix(stdout, "\n"), "\n"); code != 0 || len(got) != len(want) || stdout != strings.Join(want, "") {
		t.Errorf("exit code %d, %d records, want the %d of the file: %s", code, len(got), len(want), stderr)
	}
	begins := 0
	for _, l := range want {
		if strings.Contains(l, `"event":"time_wait_enter"`) {
			begins++
		}
	}
	if begins < 997 {
		t.Errorf("%d begins are recorded", begins)
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
			r, orders := startPipedRecording(t, t.TempDir(), args...)
			orders.churn(20000)
			kerneltest.Eventually(t, patience, func() (bool, string) {
				return len(r.files()) >= 4, fmt.Sprintf("%d files; %s", len(r.files()), r.stderr.String())
			})
			r.stop()
			records, begins, end := readOnce(t, r.files())
			if want := r.told() - 2; records != want { // start and end are apart
				t.Errorf("%d records in %d files, want the run's %d", records, len(r.files()), want)
			}
			if uint64(begins) != end.Births || begins == 0 {
				t.Errorf("%d begins of %d births", begins, end.Births)
			}
		})
	}
}

// TestRotationTraced: nor is anything of the kernel's.
func TestRotationTraced(t *testing.T) {
	t.Parallel()
	ns := churnNS(t)
	r := startRecording(t, t.TempDir(), "-C", "1M", "-N", ns.Path())
	if _, err := someChurn().Scenario().Run(t.Context(), ns.Path()); err != nil {
		t.Fatal(err)
	}
	allBegun(t, ns, births(t, ns))
	r.stop()
	if files := r.files(); len(files) < 3 {
		t.Errorf("%d files, want several", len(files))
	}
	records, begins, end := readOnce(t, r.files())
	if want := r.told() - 2; records != want {
		t.Errorf("%d records in %d files, want the run's %d", records, len(r.files()), want)
	}
	lost := int(end.Lost["ring"])
	if born := births(t, ns); begins > born || begins < born-lost-born/500 {
		t.Errorf("%d begins of %d births; %d events are lost", begins, born, lost)
	}
}

// readOnce counts the records of files, and among these the starts of TIME_WAIT. No start
// may be there twice, and the files must be whole.
func readOnce(t *testing.T, files []string) (records, begins int, end *event.EndInfo) {
	t.Helper()
	seen := make(map[string]bool)
	reader, err := tracefile.Open(files, nil)
	must(t, err)
	defer reader.Close()
	var e event.Event
	for {
		err := reader.Read(&e)
		if errors.Is(err, io.EOF) {
			break
		}
		must(t, err)
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
	return records, len(seen), reader.End().End
}

// TestRecorderKilled: a recorder that is killed at any moment, 50 times, loses a block
// at most, and the reader says so.
func TestRecorderKilled(t *testing.T) {
	t.Parallel()
	for range 5 {
		t.Run("", func(t *testing.T) {
			t.Parallel()
			killRecorders(t, 10)
		})
	}
}

func killRecorders(t *testing.T, times int) {
	for range times {
		r, orders := startPipedRecording(t, t.TempDir())
		orders.churn(5000)
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
		if code != 1 || !strings.Contains(stderr, "it has no end") && !strings.Contains(stderr, "is truncated") {
			t.Errorf("exit code %d: %s", code, stderr)
		}
	}
}

// TestRecordDiskFullTraced: where the disk is full, the file is whole up to there.
func TestRecordDiskFullTraced(t *testing.T) {
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
			if s := r.stderr.String(); !strings.Contains(s, "no space left on device; the file is complete up to record") && !strings.Contains(s, "and --min-free is") {
				t.Errorf("it says %s", s)
			}
			r.told()
			kerneltest.RequireTool(t, "zstd", "zstd")
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
	dir := t.TempDir()
	cmd, orders := pipedCommand(t, "record", "-w", filepath.Join(dir, "t.ndjson.zst"), "--ring", "10m", "--after", "10m")
	r := &recording{t: t, dir: dir, cmd: cmd}
	r.cmd.Stderr = &r.stderr
	orders.make(connections)
	must(t, r.cmd.Start())
	defer r.cmd.Process.Kill()
	orders.taken()
	orders.churn(1000)
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
	if n := strings.Count(stdout, `"time_wait_enter"`); code != 0 || n <= connections {
		t.Errorf("exit code %d, %d begins: %s", code, n, stderr)
	}
	if s := r.stderr.String(); !strings.Contains(s, "SIGUSR2: writing the last part to "+r.files()[0]) {
		t.Errorf("it says %s", s)
	}
}
