package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"
	"golang.org/x/sys/unix"

	"github.com/twtrace/twtrace/internal/agent"
	"github.com/twtrace/twtrace/internal/kerneltest"
	"github.com/twtrace/twtrace/internal/workload"
)

// readersNow asks an agent about its readers.
func (a *runningAgent) readersNow() (now, cutOff, missed int) {
	a.t.Helper()
	answer, err := agent.NewClient(a.socket).Get(a.t.Context(), "/v1/status")
	must(a.t, err)
	var s struct {
		Readers struct {
			Now    int
			CutOff int `json:"cut_off_total"`
			Missed int `json:"missed_records_total"`
		}
	}
	must(a.t, json.Unmarshal(answer, &s))
	return s.Readers.Now, s.Readers.CutOff, s.Readers.Missed
}

// TestSlowAgentReaders: of fifty readers ten are stopped. They are cut off and counted, the
// others get each record, and the agent stays as large as it may be.
func TestSlowAgentReaders(t *testing.T) {
	t.Parallel()
	kerneltest.RequireTool(t, "curl", "curl")
	const all, stopped, n, then = 50, 10, 12_000, 500
	ns := kerneltest.NetNS(t)
	ns.KeepTimeWait(t)
	a := serveAgent(t, "-N", ns.Path(), "--max-readers", fmt.Sprint(all))
	_, peak := a.footprint()
	dir := t.TempDir()
	var readers [all]*exec.Cmd
	file := func(i int) string { return filepath.Join(dir, fmt.Sprintf("%d.zst", i)) }
	for i := range readers {
		readers[i] = exec.Command("curl", "-sN", "--unix-socket", a.socket, "-o", file(i), "http://agent/v1/stream")
		must(t, readers[i].Start())
		defer readers[i].Process.Kill()
	}
	kerneltest.Eventually(t, patience, func() (bool, string) {
		for i := range readers {
			if st, err := os.Stat(file(i)); err != nil || st.Size() == 0 {
				return false, fmt.Sprintf("reader %d has nothing", i)
			}
		}
		return true, ""
	})
	for _, r := range readers[:stopped] {
		must(t, r.Process.Signal(unix.SIGSTOP))
	}
	run := func(n int) {
		_, err := workload.ActiveClose(workload.IPv4, n).Run(t.Context(), ns.Path())
		must(t, err)
		a.knows(time.Now())
	}
	run(n)
	kerneltest.Eventually(t, patience, func() (bool, string) {
		now, cutOff, missed := a.readersNow()
		return cutOff == stopped && now == all-stopped && missed > 0, fmt.Sprintf("%d readers, %d cut off, without %d records", now, cutOff, missed)
	})
	run(then)
	if _, high := a.footprint(); high > peak+64<<20 {
		t.Errorf("up to %d bytes, %d before", high, peak)
	} else {
		t.Logf("up to %d KiB, %d KiB before", high>>10, peak>>10)
	}
	a.stop()
	for i, r := range readers[stopped:] {
		err := r.Wait()
		if got := bytes.Count(inflated(t, file(stopped+i)), []byte(`"event":"time_wait_enter"`)); err != nil || got != n+then {
			t.Errorf("reader %d: %d in TIME_WAIT, want %d; %v", stopped+i, got, n+then, err)
		}
	}
	for i, r := range readers[:stopped] {
		must(t, r.Process.Signal(unix.SIGCONT))
		err := r.Wait()
		if got := bytes.Count(inflated(t, file(i)), []byte(`"event":"time_wait_enter"`)); err == nil || got >= n {
			t.Errorf("reader %d was stopped, and has %d in TIME_WAIT; %v", i, got, err)
		}
	}
}

// inflated is what is in a compressed file, up to where it is whole.
func inflated(t *testing.T, path string) []byte {
	t.Helper()
	f, err := os.Open(path)
	must(t, err)
	defer f.Close()
	z, err := zstd.NewReader(f)
	must(t, err)
	defer z.Close()
	b, _ := io.ReadAll(z)
	return b
}
