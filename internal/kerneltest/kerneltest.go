// Package kerneltest is what tests need from a kernel: root, a network
// namespace of their own, and the kernel's counters as the referee. An ordinary
// user skips the tests that need root. Root skips those that need what it lacks,
// and under CI it fails them.
package kerneltest

import (
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// RequireRoot skips the test for an ordinary user. For a root that lacks rights, as in
// a container, it skips the test too, and fails it if CI is set.
func RequireRoot(t testing.TB) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root: run it as root")
	}
	switch missing := missingRights(); {
	case missing == "":
	case os.Getenv("CI") != "":
		t.Fatalf("needs %s, which this root lacks, and CI has to run it", missing)
	default:
		t.Skipf("needs %s, which this root lacks", missing)
	}
}

// missingRights is what a root lacks that is not the host's.
func missingRights() string {
	const initUserNS = 0xEFFFFFFD // PROC_USER_INIT_INO
	var st unix.Stat_t
	if err := unix.Stat("/proc/self/ns/user", &st); err != nil || st.Ino != initUserNS {
		return "the host's user namespace"
	}
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&header, &data[0]); err != nil || data[0].Effective&(1<<unix.CAP_SYS_ADMIN) == 0 {
		return "CAP_SYS_ADMIN"
	}
	return ""
}

// RequireTool skips the test without a program, and says which Debian package has it.
// It fails the test if CI is set.
func RequireTool(t testing.TB, program, debianPackage string) {
	t.Helper()
	if _, err := exec.LookPath(program); err == nil {
		return
	}
	if os.Getenv("CI") != "" {
		t.Fatalf("needs %s (apt-get install %s), and CI has to run it", program, debianPackage)
	}
	t.Skipf("needs %s (apt-get install %s)", program, debianPackage)
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

// Pause is how long to wait until a condition is checked again that was first checked
// at begin: what takes a minute need not be checked a hundred times a second, which
// would keep a slow machine from all else.
func Pause(begin time.Time) time.Duration {
	return min(10*time.Millisecond+time.Since(begin)/20, time.Second)
}
