package kernel

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twtrace/twtrace/internal/kerneltest"
)

var namespaces atomic.Int32

// newNetNS makes a network namespace with `ip netns`, its loopback up, and
// removes it when the test ends.
func newNetNS(t testing.TB) NetNS {
	t.Helper()
	kerneltest.RequireRoot(t)
	name := fmt.Sprintf("twk-%d-%d", os.Getpid(), namespaces.Add(1))
	run(t, "ip", "netns", "add", name)
	t.Cleanup(func() { run(t, "ip", "netns", "del", name) })
	run(t, "ip", "-n", name, "link", "set", "lo", "up")
	n, err := FindNetNS(name)
	if err != nil {
		t.Fatal(err)
	}
	n.sysctl(t, "tcp_tw_reuse", "0") // a TIME_WAIT that was made stays
	return n
}

// exec runs a command in n, which must have a name.
func (n NetNS) exec(t testing.TB, args ...string) string {
	t.Helper()
	return run(t, "ip", append([]string{"netns", "exec", n.Name}, args...)...)
}

func run(t testing.TB, name string, args ...string) string {
	t.Helper()
	cmd := exec.Command(name, args...)
	var out, warnings strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &warnings
	if err := cmd.Run(); err != nil {
		t.Fatalf("%s %s: %v: %s", name, strings.Join(args, " "), err, warnings.String())
	}
	return out.String()
}

// sysctl sets a sysctl below net.ipv4 in n.
func (n NetNS) sysctl(t testing.TB, name, value string) {
	t.Helper()
	err := n.Do(func() error { return os.WriteFile("/proc/sys/net/ipv4/"+name, []byte(value), 0) })
	if err != nil {
		t.Fatal(err)
	}
}

// eventually waits until cond holds, and fails the test with what it said last
// if that takes longer than any machine needs.
func eventually(t testing.TB, cond func() error) {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for {
		err := cond()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
		time.Sleep(time.Millisecond)
	}
}

// startCat runs cat, which reads its input until the test ends or calls stop, by a
// command such as unshare --net.
func startCat(t testing.TB, command ...string) (pid int, stop func()) {
	t.Helper()
	cmd := exec.Command(command[0], append(command[1:], "cat")...)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	stop = sync.OnceFunc(func() {
		in.Close()
		if err := cmd.Wait(); err != nil {
			t.Errorf("%s: %v", strings.Join(cmd.Args, " "), err)
		}
	})
	t.Cleanup(stop)
	return cmd.Process.Pid, stop
}
