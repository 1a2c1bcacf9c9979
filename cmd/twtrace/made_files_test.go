package main

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/twtrace/twtrace/internal/event"
	"github.com/twtrace/twtrace/internal/kerneltest"
)

// TestDrain interrupts a trace in the middle of traffic. What had happened before must
// all be printed, though most of it is not yet read when the signal comes.
func TestDrain(t *testing.T) {
	t.Parallel()
	const n = 5000
	tr, orders := startPiped(t)
	orders.make(n)
	orders.taken()
	if end := tr.stop(); end.Why != "signal" || end.Begins != n {
		t.Errorf("%d begins in all, and it ended for %q", end.Begins, end.Why)
	}
	if begins := len(tr.of("time_wait_enter", madeNetNS)); begins != n {
		t.Errorf("%d begins printed, want %d", begins, n)
	}
}

// TestRecordDiskFull: where the disk is full, the file is whole up to there.
func TestRecordDiskFull(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "t.ndjson.zst")
	// No file system has as much room as this.
	const more = "3000000000G"
	o := over(t, played(20000, 10*time.Second, busyClient(500)), "record", "-w", path, "--min-free", more)
	o.failed(t, exitFailed, "and --min-free is")
	kerneltest.RequireTool(t, "zstd", "zstd")
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	must(t, err)
	defer full.Close()
	cmd, orders := pipedCommand(t, "record", "-w", "-")
	var stderr talk
	cmd.Stdout, cmd.Stderr = full, &stderr
	must(t, cmd.Start())
	defer expire(cmd)()
	orders.make(1000)
	_ = cmd.Wait() // the exit code says it
	if code := cmd.ProcessState.ExitCode(); code != exitFailed || !strings.Contains(stderr.String(), "no space left on device") {
		t.Errorf("exit code %d: %s", code, stderr.String())
	}
}

// TestPortScan has 65,536 ports of 16 addresses connected to: more destinations than are
// held. The storm of another client is flagged all the same, and what is not held is
// counted.
func TestPortScan(t *testing.T) {
	t.Parallel()
	const addrs, open = 16, 4096
	victim := busyClient(40)
	victim.Process.Comm = "checkout"
	src := played(600, 25*time.Second, victim)
	limits := src.ByNetNS[madeNetNS]
	limits.MaxTWBuckets = 1e6
	src.ByNetNS[madeNetNS] = limits
	for i := range addrs * open {
		e := event.Event{Time: src.From.Add(time.Duration(i) * 200 * time.Microsecond).UnixNano(), Kind: event.Open, NetNS: madeNetNS, Cookie: uint64(1<<32 + i),
			Role: event.Client, Local: netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), uint16(40000+i%600)), Opener: event.Proc{PID: 99, Comm: "scanner"},
			Remote: netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 2, byte(i / open)}), uint16(50000+i%open))}
		enter := e
		enter.Kind, enter.Time, enter.Closer, enter.Life = event.TimeWaitEnter, e.Time+1000, event.LocalSide, 1000
		src.Events = append(src.Events, e, enter)
	}
	slices.SortStableFunc(src.Events, func(a, b event.Event) int { return int(a.Time - b.Time) })
	again := *src
	o := over(t, src, "storms", "-o", "json")
	if storms, want := stormsOf(recordsIn(t, o.stdout)), []string{"churn warn scanner", "ports crit checkout 127.0.0.7:3306"}; !slices.Equal(storms, want) {
		t.Errorf("storms %q, want %q: %s", storms, want, o.stderr)
	}
	o = over(t, &again, "ports", "-i", "1s")
	folded := 0
	for _, m := range unheld.FindAllStringSubmatch(o.stdout, -1) {
		n, err := strconv.Atoi(strings.ReplaceAll(m[1], ",", ""))
		must(t, err)
		folded = max(folded, n)
	}
	if folded > addrs*open || folded < addrs*open/4 || !strings.Contains(o.stdout, fmt.Sprint(madeServer.Port())) {
		t.Errorf("%d of %d are counted as not held", folded, addrs*open)
	}
}

// TestRecordKeyFails: a file that cannot be made, or not be written on, is said on the
// screen, and the view goes on.
func TestRecordKeyFails(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for i := range 300 { // whatever the second is
		name := time.Now().Add(time.Duration(i-10) * time.Second).UTC().Format("twtrace-20060102-150405.ndjson.zst")
		must(t, os.WriteFile(filepath.Join(dir, name), nil, 0o600))
	}
	s, orders := openPiped(t, dir)
	s.Await("no connections yet")
	s.keys([2]string{"w", "-1.ndjson.zst"}, [2]string{"j", "w stop recording"}) // none of these is touched
	limit := func(bytes uint64) {
		must(t, unix.Prlimit(s.cmd.Process.Pid, unix.RLIMIT_FSIZE, &unix.Rlimit{Cur: bytes, Max: unix.RLIM_INFINITY}, nil))
	}
	limit(1)
	orders.make(101)
	s.Await("file too large")
	s.keys([2]string{"j", "w record "})
	if strings.Contains(s.Text(), "[REC") {
		t.Error("it still seems to record")
	}
	limit(unix.RLIM_INFINITY)
	for _, name := range s.files("*.zst") {
		if st, err := os.Stat(name); err != nil || st.Size() > 0 != strings.HasSuffix(name, "-1.ndjson.zst") {
			t.Errorf("%s: %v, %v", name, st, err)
		}
	}
	must(t, os.RemoveAll(dir))
	s.keys([2]string{"w", "no such file or directory"}, [2]string{"j", "w record "})
	orders.make(10)
	s.awaitTimeWait(111)
	s.quit()
	if !strings.Contains(s.stderr.String(), "file too large") {
		t.Errorf("stderr %q does not tell of the recording that failed", s.stderr.String())
	}
}
