package main

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/twtrace/twtrace/internal/kerneltest"
)

// withoutFiles in the environment turns the test binary into a process that listens,
// waits for a byte on stdin, and then tries to make and to accept sockets.
const withoutFiles = "TWTRACE_TEST_WITHOUT_FILES"

// tries is how often it tries each.
const tries = 3

func init() {
	if os.Getenv(withoutFiles) == "" {
		return
	}
	l, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
	if err == nil {
		err = unix.Listen(l, 1)
	}
	if err != nil {
		panic("listen: " + err.Error())
	}
	told := func(words string) {
		if _, err := unix.Write(1, []byte(words)); err != nil {
			panic("write: " + err.Error())
		}
	}
	told("ready\n")
	if n, err := unix.Read(0, make([]byte, 1)); n != 1 {
		panic(fmt.Sprintf("read: %v", err))
	}
	for range tries {
		_, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
		told(fmt.Sprintln("socket", errnoName(err)))
		_, _, err = unix.Accept(l)
		told(fmt.Sprintln("accept", errnoName(err)))
	}
	os.Exit(0)
}

func errnoName(err error) string {
	errno, _ := err.(unix.Errno)
	return unix.ErrnoName(errno)
}

// fileMax is how many files all processes may have open. Root is exempt, by
// CAP_SYS_ADMIN.
const fileMax = "/proc/sys/fs/file-max"

// TestENFILE: the host has no file left for anybody but root.
func TestENFILE(t *testing.T) {
	requireVM(t)
	t.Parallel()
	t.Attr("row", "ENFILE: socket, accept")
	ns := kerneltest.NetNS(t)
	hold(t, ns)
	tr := startTrace(t, "-N", ns.Path(), "--event", "fail", "--syscalls", "on")
	rec := startRecording(t, t.TempDir(), "-N", ns.Path(), "--syscalls", "on")
	useUpFiles(t, ns, tr)
	rec.stop()
	d, _ := doctorJSON(t, "-r", rec.files()[0])
	loud, _, said := d.in(ns.Inum())
	if want := []string{"crit TW105"}; !slices.Equal(loud, want) || !strings.Contains(said, fmt.Sprintf("%d calls failed with ENFILE (23)", 2*tries)) {
		t.Errorf("doctor found %q, want %q:\n%s", loud, want, said)
	}
}

// useUpFiles has a process find that the host has no file left, and tr see it.
func useUpFiles(t *testing.T, ns *kerneltest.NS, tr *trace) {
	t.Helper()
	self, err := os.Executable()
	must(t, err)
	cmd := exec.Command("setpriv", "--bounding-set=-sys_admin", self)
	cmd.Env = append(os.Environ(), withoutFiles+"=1")
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	must(t, err)
	out, err := cmd.StdoutPipe()
	must(t, err)
	ns.Start(t, cmd)
	ready := make([]byte, len("ready\n"))
	_, err = io.ReadFull(out, ready)
	must(t, err)

	before, err := os.ReadFile(fileMax)
	must(t, err)
	must(t, os.WriteFile(fileMax, []byte("10"), 0))
	_, err = in.Write([]byte{1})
	told, err2 := io.ReadAll(out)
	must(t, os.WriteFile(fileMax, before, 0))
	must(t, err)
	must(t, err2)
	if want := strings.Repeat("socket ENFILE\naccept ENFILE\n", tries); string(told) != want {
		t.Fatalf("the process was told %q, want %q", told, want)
	}
	kerneltest.Eventually(t, patience, func() (bool, string) {
		n := len(tr.of("fail", ns.Inum()))
		return n >= 2*tries, fmt.Sprintf("%d of %d records", n, 2*tries)
	})
	checkLost(t, tr.stop())
	calls := make(map[string]int)
	for _, r := range tr.of("fail", ns.Inum()) {
		if r.Errno != "ENFILE" || r.PID != uint32(cmd.Process.Pid) {
			t.Errorf("record %+v", r)
		}
		calls[r.Call]++
	}
	if calls["socket"] != tries || calls["accept"] != tries {
		t.Errorf("%v, want %d each", calls, tries)
	}
}
