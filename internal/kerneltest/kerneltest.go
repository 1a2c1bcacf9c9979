// Package kerneltest is what tests need from a kernel: root, a network
// namespace of their own, and the kernel's counters as the referee. What a
// laptop may skip must run in CI: there a missing privilege is a failure.
package kerneltest

import (
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// RequireRoot skips the test without root, and fails it if CI is set.
func RequireRoot(t testing.TB) {
	t.Helper()
	if os.Geteuid() == 0 {
		return
	}
	if os.Getenv("CI") != "" {
		t.Fatal("needs root, and CI has to run it")
	}
	t.Skip("needs root")
}

// InVM reports whether the test runs in the virtual machine that has a stock
// kernel and allows every hook. The VM's init sets TWTRACE_VM=1.
func InVM() bool { return os.Getenv("TWTRACE_VM") == "1" }

// PID1Artefact reports whether this kernel runs no BPF program while current is
// a thread of PID 1, which hides up to 0.1 % of the begins of TIME_WAIT. It is
// known of the micro-VM kernel of the build machines, by whose name it goes;
// TWTRACE_PID1_ARTEFACT=0 or 1 overrides that.
func PID1Artefact() bool {
	switch os.Getenv("TWTRACE_PID1_ARTEFACT") {
	case "0":
		return false
	case "1":
		return true
	}
	return !InVM() && strings.Contains(release(), "-fc")
}

func release() string {
	var u unix.Utsname
	if unix.Uname(&u) != nil {
		return ""
	}
	return unix.ByteSliceToString(u.Release[:])
}

// Eventually waits until f is ok, and fails the test with f's last state if it
// is not within timeout.
func Eventually(t testing.TB, timeout time.Duration, f func() (ok bool, state string)) {
	t.Helper()
	begin := time.Now()
	for {
		ok, state := f()
		if ok {
			return
		}
		if time.Since(begin) > timeout {
			t.Fatalf("not so after %v; last state: %s", timeout, state)
		}
		time.Sleep(Pause(begin))
	}
}

// Pause is how long to wait before another look at what was first looked at when it
// began: what takes a minute need not be looked at a hundred times a second, which a
// slow machine would do little else than.
func Pause(begin time.Time) time.Duration {
	return min(10*time.Millisecond+time.Since(begin)/20, time.Second)
}
