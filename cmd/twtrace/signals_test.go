package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/twtrace/twtrace/internal/event"
	"github.com/twtrace/twtrace/internal/kernel"
	"github.com/twtrace/twtrace/internal/kerneltest"
	"github.com/twtrace/twtrace/internal/workload"
)

// TestSignals ends a trace the moment the last connection is in TIME_WAIT: what is
// on its way then must still be printed. TestDrainTraced does so with the kernel.
func TestSignals(t *testing.T) {
	t.Parallel()
	for _, signal := range []unix.Signal{unix.SIGINT, unix.SIGTERM} {
		t.Run(signal.String(), func(t *testing.T) {
			t.Parallel()
			tr, orders := startPiped(t)
			orders.make(connections)
			must(t, tr.cmd.Process.Signal(signal))
			end := tr.wait()
			if end.Why != "signal" || tr.stderr.String() != "" {
				t.Errorf("it ended because of %q; stderr: %s", end.Why, tr.stderr.String())
			}
			if n := len(tr.of("time_wait_enter", madeNetNS)); n != connections || end.Begins != connections {
				t.Errorf("%d begins printed, %d in the end record, want %d", n, end.Begins, connections)
			}
		})
	}
}

// connect makes n connections that the client closes first. When it returns, all
// of them are in TIME_WAIT.
func connect(t *testing.T, ns *kerneltest.NS, n int) workload.Result {
	t.Helper()
	ns.KeepTimeWait(t)
	result, err := workload.ActiveClose(workload.IPv4, n).Run(t.Context(), ns.Path())
	must(t, err)
	if got := ns.Sockstat(t)["TCP tw"]; got != uint64(n) {
		t.Fatalf("%d mini-sockets, want %d", got, n)
	}
	return result
}

// checkBegins wants a begin of TIME_WAIT for each connection of the clients.
func checkBegins(t *testing.T, tr *trace, end record, ns *kerneltest.NS, result workload.Result) {
	t.Helper()
	truth, seen := make(map[uint64]workload.Record), make(map[uint64]int)
	for _, r := range result.Clients[0].Records {
		truth[r.Cookie] = r
	}
	for _, r := range tr.of("time_wait_enter", ns.Inum()) {
		seen[cookie(t, r)]++
	}
	once(t, "time_wait_enter", truth, seen, hiddenBirths(end, []*kerneltest.NS{ns}))
}

// TestDrainTraced interrupts a trace in the middle of traffic. What the kernel had
// counted before must all be printed, though up to 50 ms of it are still in the
// ring when the signal comes.
func TestDrainTraced(t *testing.T) {
	t.Parallel()
	ns := kerneltest.NetNS(t)
	tr := startTrace(t, "-N", ns.Path())
	keepBusy(t, ns)
	least := 0
	kerneltest.Eventually(t, patience, func() (bool, string) {
		n := len(tr.of("time_wait_enter", ns.Inum()))
		least = births(t, ns)
		return n > 0 && least > n+20, fmt.Sprintf("%d begins printed, %d counted", n, least)
	})
	tr.stop()
	if n := len(tr.of("time_wait_enter", ns.Inum())); n < seenOf(least) {
		t.Errorf("%d begins printed, want %d at least", n, seenOf(least))
	}
}

func TestDuration(t *testing.T) {
	t.Parallel()
	tr, _ := startPiped(t, "--duration", "100ms")
	if end := tr.wait(); end.Why != "duration" || tr.stderr.String() != "" {
		t.Errorf("it ended because of %q; stderr: %s", end.Why, tr.stderr.String())
	}
}

// TestCount stops in the middle of more records than asked for.
func TestCount(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		flags []string
		only  string // the only event there may be
	}{
		{nil, ""},
		{[]string{"--event", "time_wait_enter"}, "time_wait_enter"},
	} {
		tr, orders := startPiped(t, append([]string{"-c", "17"}, c.flags...)...)
		orders.make(connections)
		if end := tr.wait(); end.Why != "count" || tr.stderr.String() != "" {
			t.Errorf("%v: it ended because of %q; stderr: %s", c.flags, end.Why, tr.stderr.String())
		}
		n := tr.count(func(r record) bool {
			if c.only != "" && r.Event != c.only && r.Event != "start" && r.Event != "end" && r.Event != "lost" {
				t.Errorf("%v: a record of %s", c.flags, r.Event)
			}
			return !slices.Contains([]string{"start", "lost", "end", "snapshot"}, r.Event)
		})
		if n != 17 {
			t.Errorf("%v: %d records, want 17", c.flags, n)
		}
	}
}

// churning is a busy namespace.
func churning(t *testing.T) *kerneltest.NS {
	t.Helper()
	ns := kerneltest.NetNS(t)
	keepBusy(t, ns)
	return ns
}

// keepBusy has connections made and closed in the namespace until the test ends.
// None of them is ever parked in FIN_WAIT2.
func keepBusy(t *testing.T, ns *kerneltest.NS) {
	t.Helper()
	server := start(t, ns, workload.Spec{Comm: "server", CountOnly: true, Serve: &workload.Serve{
		At: []netip.AddrPort{workload.IPv4}, End: workload.WaitEOF}})
	_, err := server.Ready()
	must(t, err)
	client := start(t, ns, workload.Spec{Comm: "client", CountOnly: true, Connect: &workload.Connect{
		To: []netip.AddrPort{workload.IPv4}, End: workload.HalfClose, Rate: 1000}})
	_, err = client.Ready()
	must(t, err)
	must(t, client.Go())
	t.Cleanup(func() {
		for _, p := range []*workload.Process{client, server} {
			must(t, p.Kill())
			_, _ = p.Wait() // it was killed
		}
	})
}

// TestReaderLeaves closes the pipe behind the first line, as head does. Without
// traffic nothing is written that could fail.
func TestReaderLeaves(t *testing.T) {
	t.Parallel()
	for name, rate := range map[string]int{"quiet": 0, "churn": 1000} {
		for _, args := range [][]string{{"trace"}, {"trace", "-o", "csv"}, {"top", "-b", "-i", "100ms"}} {
			t.Run(name+"/"+strings.Join(args, " "), func(t *testing.T) {
				t.Parallel()
				cmd, orders := pipedCommand(t, args...)
				orders.churn(rate)
				var stderr bytes.Buffer
				cmd.Stderr = &stderr
				stdout, err := cmd.StdoutPipe()
				must(t, err)
				must(t, cmd.Start())
				defer expire(cmd)()
				if _, err := bufio.NewReaderSize(stdout, 16).ReadSlice('\n'); err != nil && !errors.Is(err, bufio.ErrBufferFull) {
					t.Fatal(err)
				}
				must(t, stdout.Close())
				if err := cmd.Wait(); err != nil || stderr.Len() != 0 {
					t.Errorf("%v; stderr: %s", err, stderr.String())
				}
			})
		}
	}
}

// TestNoReader starts commands with a pipe that has no reader any more.
func TestNoReader(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{{"trace"}, {"top", "-b"}, {"list"}, {"list", "-o", "json"}, {"check"},
		{"explain", "TW101"}, {"doctor", "--window", "1ms"}, {"--help"}, {"--version"}} {
		t.Run(strings.Join(args, " "), func(t *testing.T) {
			t.Parallel()
			r, w, err := os.Pipe()
			must(t, err)
			must(t, r.Close())
			cmd := onOwn(t, args...)
			var stderr bytes.Buffer
			cmd.Stdout, cmd.Stderr = w, &stderr
			must(t, cmd.Start())
			defer expire(cmd)()
			err = cmd.Wait()
			w.Close()
			if err != nil || stderr.Len() != 0 {
				t.Errorf("%v; stderr: %s", err, stderr.String())
			}
		})
	}
}

// onOwn is twtrace with something to print that needs no right: a trace of no kernel, or
// a few TIME_WAITs of this process.
func onOwn(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	cmd, _ := pipedCommand(t, args...)
	if args[0] == "list" {
		cmd.Args = append(cmd.Args, "-N", "/proc/self/ns/net", "-D", fmt.Sprint(ownTimeWait(t, 5).Port()))
	}
	return cmd
}

// ownTimeWait makes n connections in the namespace that the test runs in, which the
// client closes first, and returns where they go.
func ownTimeWait(t *testing.T, n int) netip.AddrPort {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	must(t, err)
	defer l.Close()
	for range n {
		client, err := net.Dial("tcp4", l.Addr().String())
		must(t, err)
		server, err := l.Accept()
		must(t, err)
		must(t, client.Close())
		_, _ = io.Copy(io.Discard, server) // its end is that the FIN is there
		must(t, server.Close())
	}
	to := l.Addr().(*net.TCPAddr).AddrPort()
	ns, err := kernel.CurrentNetNS()
	must(t, err)
	kerneltest.Eventually(t, patience, func() (bool, string) {
		tw := 0
		err := ns.Sockets(kernel.States(event.TimeWait), func(s kernel.Socket) error {
			if s.Remote == to {
				tw++
			}
			return nil
		})
		return err == nil && tw == n, fmt.Sprintf("%d of %d in TIME_WAIT, %v", tw, n, err)
	})
	return to
}

func TestFullDisk(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		args []string
		code int
	}{
		{[]string{"trace", "--duration", "1ms"}, 1},
		{[]string{"trace", "--duration", "1ms", "-o", "csv"}, 1},
		{[]string{"top", "-b", "-c", "1", "-i", "100ms"}, 1},
		{[]string{"list"}, 1},
		{[]string{"list", "-o", "csv"}, 1},
		{[]string{"check"}, 1},
		{[]string{"explain", "TW101"}, 1},
		{[]string{"doctor", "--window", "1ms"}, 3},
	} {
		t.Run(strings.Join(c.args, " "), func(t *testing.T) {
			t.Parallel()
			full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
			must(t, err)
			defer full.Close()
			cmd := onOwn(t, c.args...)
			var stderr strings.Builder
			cmd.Stdout, cmd.Stderr = full, &stderr
			must(t, cmd.Start())
			defer expire(cmd)()
			_ = cmd.Wait() // the exit code says it
			outcome{stderr: stderr.String(), code: cmd.ProcessState.ExitCode()}.failed(t, c.code, "write ", "no space left on device")
		})
	}
}

// TestSecondSignal interrupts a trace that cannot finish, since nobody reads it,
// until it is gone.
func TestSecondSignal(t *testing.T) {
	t.Parallel()
	r, w, err := os.Pipe()
	must(t, err)
	defer r.Close()
	_, err = unix.FcntlInt(r.Fd(), unix.F_SETPIPE_SZ, 4096)
	must(t, err)
	cmd, orders := pipedCommand(t, "trace", "-o", "json", "--states", "all")
	cmd.Stdout = w
	must(t, cmd.Start())
	must(t, w.Close())
	if _, err := bufio.NewReader(r).ReadSlice('\n'); err != nil {
		t.Fatal(err)
	}
	orders.make(connections)
	kerneltest.Eventually(t, patience, func() (bool, string) { return writing(t, cmd.Process.Pid), "it does not write" })
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }()
	kerneltest.Eventually(t, patience, func() (bool, string) {
		if err := cmd.Process.Signal(unix.SIGINT); err != nil && !errors.Is(err, os.ErrProcessDone) {
			t.Fatal(err)
		}
		select {
		case <-done:
			return true, ""
		default:
			return false, "it is still there"
		}
	})
	if ws := cmd.ProcessState.Sys().(syscall.WaitStatus); !ws.Signaled() || ws.Signal() != unix.SIGINT {
		t.Errorf("it ended with %v, want death by SIGINT", cmd.ProcessState)
	}
}

// writing reports whether a thread of the process waits in write() to stdout.
func writing(t *testing.T, pid int) bool {
	t.Helper()
	tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/syscall", pid))
	must(t, err)
	return slices.ContainsFunc(tasks, func(task string) bool {
		call, _ := os.ReadFile(task) // of a thread that has ended: nothing
		return strings.HasPrefix(string(call), fmt.Sprintf("%d 0x1 ", unix.SYS_WRITE))
	})
}

// TestWatchReader checks the watch alone: it sees the end of the reader, and
// none where there is none.
func TestWatchReader(t *testing.T) {
	t.Parallel()
	for _, leaves := range []bool{false, true} {
		r, w, err := os.Pipe()
		must(t, err)
		defer r.Close()
		defer w.Close()
		gone := make(chan struct{})
		release, err := watchReader(w, func() { close(gone) })
		must(t, err)
		if leaves {
			must(t, r.Close())
			<-gone
		}
		release() // returns when the goroutine has ended
		select {
		case <-gone:
			if !leaves {
				t.Error("the reader is there and is said to have left")
			}
		default:
		}
	}
}
