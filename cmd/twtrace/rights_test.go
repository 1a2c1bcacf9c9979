package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/twtrace/twtrace/internal/kerneltest"
)

// withoutBPF in the environment has the kernel answer EPERM to every bpf(), as a
// container's seccomp profile does, whatever the capabilities.
const withoutBPF = "TWTRACE_TEST_WITHOUT_BPF"

func init() {
	if os.Getenv(withoutBPF) == "" {
		return
	}
	filter := []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS}, // the number of the call
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, Jf: 1, K: unix.SYS_BPF},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ERRNO | uint32(unix.EPERM)},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW},
	}
	prog := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	if _, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER,
		unix.SECCOMP_FILTER_FLAG_TSYNC, uintptr(unsafe.Pointer(&prog))); errno != 0 {
		panic("seccomp: " + errno.Error())
	}
}

// rights is a way of running twtrace with fewer than root's.
type rights struct {
	name    string
	command func(t testing.TB, args ...string) *exec.Cmd
	words   []string // what the refusal says
}

// fewerRights are all that forbid a trace.
func fewerRights() []rights {
	return []rights{
		{"nobody", unprivileged, []string{"CAP_BPF and CAP_PERFMON", "run as root"}},
		{"root without CAP_BPF", func(t testing.TB, args ...string) *exec.Cmd {
			return bounded(t, "-bpf,-sys_admin", args...)
		}, []string{"missing CAP_BPF", "run as root"}},
		{"root without CAP_PERFMON", func(t testing.TB, args ...string) *exec.Cmd {
			return bounded(t, "-perfmon,-sys_admin", args...)
		}, []string{"missing CAP_PERFMON", "run as root"}},
		{"root without any", func(t testing.TB, args ...string) *exec.Cmd {
			return bounded(t, "-all", args...)
		}, []string{"CAP_BPF and CAP_PERFMON", "run as root"}},
		{"root without CAP_SYSLOG", func(t testing.TB, args ...string) *exec.Cmd {
			return bounded(t, "-syslog", args...)
		}, []string{"tw_timer_handler", "CAP_SYSLOG"}},
		{"root under seccomp", func(t testing.TB, args ...string) *exec.Cmd {
			kerneltest.RequireRoot(t)
			cmd := command(args...)
			cmd.Env = append(cmd.Env, withoutBPF+"=1")
			return cmd
		}, []string{"the kernel does not permit BPF", "seccomp"}},
		{"root of a user namespace", func(t testing.TB, args ...string) *exec.Cmd {
			kerneltest.RequireRoot(t)
			cmd := command(args...)
			cmd.SysProcAttr.Cloneflags = unix.CLONE_NEWUSER
			cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}}
			cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}}
			return cmd
		}, []string{"user namespace"}},
	}
}

// unprivileged is twtrace as a user who has no right at all, the one who runs the test if
// that is no root. The test binary may be where only root can reach it, so a copy is run.
func unprivileged(t testing.TB, args ...string) *exec.Cmd {
	t.Helper()
	cmd := command(args...)
	if os.Getuid() != 0 {
		return cmd
	}
	const nobody = 65534
	dir, err := os.MkdirTemp("", "twtrace")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	// Not copied by this process: while it forks elsewhere, the child has the
	// copy open for writing, and nobody can execute it.
	path := filepath.Join(dir, "twtrace")
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("install", "-m", "755", self, path).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	cmd.Path, cmd.Dir = path, "/"
	cmd.SysProcAttr.Credential = &syscall.Credential{Uid: nobody, Gid: nobody}
	return cmd
}

// bounded is twtrace as root with a bounding set as setpriv(1) has it.
func bounded(t testing.TB, set string, args ...string) *exec.Cmd {
	t.Helper()
	kerneltest.RequireRoot(t)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := command()
	if cmd.Path, err = exec.LookPath("setpriv"); err != nil {
		t.Fatal(err)
	}
	cmd.Args = append([]string{"setpriv", "--bounding-set=" + set, self}, args...)
	return cmd
}

// TestFewerRights runs everything that needs root as a user who has no right at all.
func TestFewerRights(t *testing.T) {
	t.Parallel()
	checkFewerRights(t, fewerRights()[0])
}

// TestFewerRightsTraced runs it as root who has some.
func TestFewerRightsTraced(t *testing.T) {
	t.Parallel()
	kerneltest.RequireRoot(t)
	for _, r := range fewerRights()[1:] {
		checkFewerRights(t, r)
	}
}

func checkFewerRights(t *testing.T, r rights) {
	for _, args := range [][]string{{"trace"}, {"top"}, {}, {"trace", "-o", "json", "-c", "1"}} {
		t.Run(r.name+"/"+strings.Join(args, " "), func(t *testing.T) {
			t.Parallel()
			o := ended(t, r.command(t, args...))
			o.failed(t, 3, r.words...)
			o.silent(t)
		})
	}
	t.Run(r.name+"/check", func(t *testing.T) {
		t.Parallel()
		o := ended(t, r.command(t, "check"))
		o.failed(t, 3, r.words...)
		reason, _, _ := strings.Cut(strings.TrimSpace(strings.TrimPrefix(o.stderr, "twtrace: ")), "; run as root")
		if !strings.Contains(o.stdout, "\nFAIL ") || !strings.Contains(o.stdout, reason) {
			t.Errorf("the table lacks the reason %q: %s", reason, o.stdout)
		}
	})
}

// TestDemoWithoutRoot says what it lacks before anything else: a namespace.
func TestDemoWithoutRoot(t *testing.T) {
	t.Parallel()
	demoFails(t, unprivileged(t, "demo"))
}

// TestDemoWithoutRootTraced: root who may not make one is told the same.
func TestDemoWithoutRootTraced(t *testing.T) {
	t.Parallel()
	demoFails(t, bounded(t, "-sys_admin", "demo"))
}

func demoFails(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	o := ended(t, cmd)
	o.failed(t, 3, "make a network namespace", "run as root")
	o.silent(t)
}

// TestForeignNetNS asks by name for what may not be looked at.
func TestForeignNetNS(t *testing.T) {
	t.Parallel()
	for _, verb := range []string{"list", "trace"} {
		o := ended(t, unprivileged(t, verb, "-N", "pid:1"))
		o.failed(t, 3, "--netns", "permission denied", "run as root")
		o.silent(t)
	}
}
