package kerneltest

import (
	"errors"
	"os/exec"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// Start starts cmd in the namespace, or where the caller is if n is nil. When
// the test ends, whatever is left of the command and its children is killed;
// the caller may have waited for it or not. There is no death signal on it: that
// would be sent when the thread ends that started it, which Go decides.
func (n *NS) Start(t testing.TB, cmd *exec.Cmd) {
	t.Helper()
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Setpgid = true
	start := cmd.Start
	if n != nil {
		start = func() error { return n.ns.Do(cmd.Start) }
	}
	if err := start(); err != nil {
		t.Fatalf("start %s: %v", cmd, err)
	}
	t.Cleanup(func() {
		if err := unix.Kill(-cmd.Process.Pid, unix.SIGKILL); err != nil && !errors.Is(err, unix.ESRCH) {
			t.Errorf("kill %s: %v", cmd, err)
		}
		if cmd.ProcessState == nil {
			_ = cmd.Wait() // it was killed, or has been waited for
		}
	})
}
