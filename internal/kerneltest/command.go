package kerneltest

import (
	"errors"
	"fmt"
	"io"
	"os/exec"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// Start starts cmd in the namespace, or where the caller is if n is nil. When
// the test ends, whatever is left of the command and its children is killed;
// the caller may have waited for it or not. If the test binary itself is killed,
// a warden kills them: a death signal would be sent when the thread ends that
// started the command, which Go decides, and would not reach its children.
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
	group := cmd.Process.Pid
	if err := warden("+", group); err != nil {
		t.Errorf("watch over %s: %v", cmd, err)
	}
	t.Cleanup(func() {
		if err := unix.Kill(-cmd.Process.Pid, unix.SIGKILL); err != nil && !errors.Is(err, unix.ESRCH) {
			t.Errorf("kill %s: %v", cmd, err)
		}
		if cmd.ProcessState == nil {
			_ = cmd.Wait() // it was killed, or has been waited for
		}
		if err := warden("-", group); err != nil {
			t.Errorf("watch over %s: %v", cmd, err)
		}
	})
}

// watch reads numbers of process groups to watch over, "+ 4711", and to forget, "- 4711".
// When there is nothing more to read, which is when the test binary has ended, it kills
// those that are left.
const watch = `trap '' HUP INT TERM
groups=
while read -r op n; do
	case $op in
	+) groups="$groups $n " ;;
	-) groups="${groups%% $n *} ${groups#* $n }" ;;
	esac
done
for n in $groups; do kill -9 -$n; done 2>/dev/null`

// startWarden starts it, in a group of its own, and returns what it reads from.
var startWarden = sync.OnceValues(func() (io.Writer, error) {
	cmd := exec.Command("sh", "-c", watch)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	orders, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	return orders, cmd.Start() // nobody waits for it: it is the last to go
})

// warden has a group of processes watched over, or forgotten.
func warden(op string, group int) error {
	orders, err := startWarden()
	if err == nil {
		_, err = fmt.Fprintln(orders, op, group)
	}
	return err
}
