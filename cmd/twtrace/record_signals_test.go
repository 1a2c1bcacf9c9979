package main

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/twtrace/twtrace/internal/event"
	"github.com/twtrace/twtrace/internal/kerneltest"
	tracefile "github.com/twtrace/twtrace/internal/record"
)

// readAll returns what the files have, start and end records included. They must be
// whole.
func readAll(t testing.TB, files ...string) []event.Event {
	t.Helper()
	reader, err := tracefile.Open(files, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	all := []event.Event{reader.Start()}
	for {
		var e event.Event
		err := reader.Read(&e)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if e.Kind == event.Snapshot && e.New != event.TimeWait {
			e.Kind = event.Held // as it is in the file
		}
		all = append(all, e)
	}
	if len(reader.Damage) > 0 || reader.End() == nil {
		t.Fatalf("damage %v, end %v", reader.Damage, reader.End())
	}
	return append(all, *reader.End())
}

// TestRecorderSignals: SIGHUP begins a new file where the old one was moved away, and
// nothing is lost by it; SIGUSR1 prints counters; SIGUSR2 flushes, and ends nothing.
func TestRecorderSignals(t *testing.T) {
	t.Parallel()
	r, orders := startPipedRecording(t, t.TempDir())
	orders.churn(1000)
	first := r.files()[0]
	moved := filepath.Join(r.dir, "t.1.zst")
	must(t, os.Rename(first, moved))
	must(t, r.cmd.Process.Signal(unix.SIGHUP))
	kerneltest.Eventually(t, patience, func() (bool, string) {
		st, err := os.Stat(first)
		return err == nil && st.Size() > 0, "no new file; " + r.stderr.String()
	})
	must(t, r.cmd.Process.Signal(unix.SIGHUP))
	kerneltest.Eventually(t, patience, func() (bool, string) {
		return strings.Contains(r.stderr.String(), "SIGHUP: file not renamed; still writing to it"), r.stderr.String()
	})
	must(t, r.cmd.Process.Signal(unix.SIGUSR1))
	kerneltest.Eventually(t, patience, func() (bool, string) {
		return wrote.MatchString(r.stderr.String()), r.stderr.String()
	})
	must(t, r.cmd.Process.Signal(unix.SIGUSR2))
	r.stop()
	if got, want := len(readAll(t, first, moved)), r.told(); got != want {
		t.Errorf("%d records in both files, want the %d that were told: %s", got, want, r.stderr.String())
	}
}

// TestStormWritesRing: a storm has the ring written. A replay gives the storms and
// records that the live run gave.
func TestStormWritesRing(t *testing.T) {
	t.Parallel()
	kerneltest.RequireTool(t, "zstd", "zstd")
	dir := t.TempDir()
	o := over(t, exhausting(), "record", "-w", filepath.Join(dir, "t.ndjson.zst"), "--ring", "10m", "--after", "10m")
	r := &recording{t: t, dir: dir}
	if len(r.files()) != 1 {
		t.Fatalf("files %q: %s", r.files(), o.stderr)
	}
	if want := "storm started: writing the last part to " + r.files()[0]; o.code != exitOK || !strings.Contains(o.stderr, want) {
		t.Errorf("exit code %d: it says %s", o.code, o.stderr)
	}
	var storms []string
	opens := 0
	for _, l := range lines(t, r.files()) {
		if strings.Contains(l, `"event":"storm_`) {
			storms = append(storms, l)
		}
		if strings.Contains(l, `"event":"open"`) {
			opens++
		}
	}
	if len(storms) == 0 || !strings.Contains(storms[0], `"event":"storm_start"`) || opens < 100 {
		t.Fatalf("%d storm records, %d opens", len(storms), opens)
	}
	stdout, stderr, code := asUser(t, r.files()[0], "storms", "-r", "-", "-o", "json")
	var replayed []string
	for line := range strings.Lines(stdout) {
		if strings.Contains(line, `"event":"storm_`) {
			replayed = append(replayed, line)
		}
	}
	if code != exitStorm || !slices.Equal(replayed, storms) {
		t.Errorf("exit code %d: %s\ngot %q\nwant %q", code, stderr, replayed, storms)
	}
}

// TestFilesOfSudo: what root writes who came by sudo is the user's, in a directory of
// the user's, and root's elsewhere.
func TestFilesOfSudo(t *testing.T) {
	t.Parallel()
	kerneltest.RequireRoot(t)
	for owner, want := range map[int]uint32{1234: 1234, 0: 0, 4321: 0} {
		dir := t.TempDir()
		must(t, os.Chown(dir, owner, owner))
		for _, name := range []string{"a.ndjson.zst", "a.parquet"} {
			cmd := command("convert", "-r", fixture, "-w", filepath.Join(dir, name))
			cmd.Env = append(cmd.Env, "SUDO_UID=1234", "SUDO_GID=1234")
			if o := ended(t, cmd); o.code != 0 {
				t.Fatalf("exit code %d: %s", o.code, o.stderr)
			}
			var st unix.Stat_t
			must(t, unix.Stat(filepath.Join(dir, name), &st))
			if st.Uid != want || st.Mode&0o7777 != 0o600 {
				t.Errorf("in a directory of %d, %s is of %d, mode %o; want %d, 0600", owner, name, st.Uid, st.Mode&0o7777, want)
			}
		}
	}
}

// TestRecordPlain: lines and rows that are asked for come without blocks.
func TestRecordPlain(t *testing.T) {
	t.Parallel()
	for format, begin := range map[string]string{"json": `{"time":`, "csv": "time,event,"} {
		src := played(1000, 10*time.Second, until(5*time.Second, busyClient(20)))
		want := int(src.Last.Begins)
		o := over(t, src, "record", "-w", "-", "-o", format)
		event := map[string]string{"json": `"time_wait_enter"`, "csv": ",time_wait_enter,"}[format]
		if n := strings.Count(o.stdout, event); o.code != exitOK || !strings.HasPrefix(o.stdout, begin) || n != want || n < 97 {
			t.Errorf("%s: exit code %d, %d begins, want %d, in %.100s; %s", format, o.code, n, want, o.stdout, o.stderr)
		}
		if format != "json" {
			continue
		}
		file := filepath.Join(t.TempDir(), "out")
		must(t, os.WriteFile(file, []byte(o.stdout), 0o600))
		if all := readAll(t, file); len(all) != 2*want+2 { // start, opens, begins, end
			t.Errorf("%d records are read back, want %d", len(all), 2*want+2)
		}
	}
}
