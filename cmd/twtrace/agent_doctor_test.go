package main

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/twtrace/twtrace/internal/kerneltest"
)

// stuck is a listener with a full accept queue, in that namespace until the test ends.
func stuck(t *testing.T, ns *kerneltest.NS) (at netip.AddrPort) {
	t.Helper()
	ns.Do(t, func() {
		l, err := net.Listen("tcp4", "127.0.0.1:0")
		must(t, err)
		t.Cleanup(func() { l.Close() })
		at = l.Addr().(*net.TCPAddr).AddrPort()
		raw, err := l.(*net.TCPListener).SyscallConn()
		must(t, err)
		must(t, raw.Control(func(fd uintptr) { err = unix.Listen(int(fd), 1) }))
		must(t, err)
		for range 2 { // one more than the backlog fits
			c, err := net.DialTimeout("tcp4", at.String(), patience)
			must(t, err)
			t.Cleanup(func() { c.Close() })
		}
	})
	return at
}

// TestAgentDoctor: a diagnosis that reads an agent has what only the host shows, if the
// user may read it; what the user may not read makes the verdict unknown.
func TestAgentDoctor(t *testing.T) {
	t.Parallel()
	const group = 45455
	ns := kerneltest.NetNS(t)
	stays := exec.Command("sleep", "1000")
	ns.Do(t, func() { must(t, stays.Start()) })
	t.Cleanup(func() { stays.Process.Kill(); _ = stays.Wait() })
	at := stuck(t, ns)
	a := serveAgent(t, "-N", ns.Path())
	must(t, os.Chown(a.socket, 0, group))
	a.knows(time.Now())
	inum := fmt.Sprint(ns.Inum())
	o := ended(t, command("doctor", "--agent", a.socket, "-N", ns.Path()))
	o.says(t, 1, "TW211", at.String())
	o = ended(t, command("doctor", "-o", "json", "--agent", a.socket, "-N", inum))
	o.says(t, 1, `"id":"TW211"`, fmt.Sprintf(`"lport":%d`, at.Port()), `"verdict":"warn"`)
	// The past has no accept queues of then.
	o = ended(t, command("doctor", "-o", "json", "--agent", a.socket, "-N", ns.Path(), "--to", "-0s"))
	o.says(t, 0, `"verdict":"ok"`)
	o = ended(t, asNobody(t, command("doctor", "--agent", a.socket, "-N", inum), group))
	o.says(t, exitDoctorUnknown, "unseen the network namespaces of other users' processes are not visible", "sudo twtrace doctor")
	a.stop()
}

// says checks the exit code, and what is printed.
func (o outcome) says(t *testing.T, code int, words ...string) {
	t.Helper()
	if o.code != code {
		t.Errorf("exit code %d, want %d", o.code, code)
	}
	for _, w := range words {
		if !strings.Contains(o.stdout, w) {
			t.Errorf("no %q in %s; stderr: %s", w, o.stdout, o.stderr)
		}
	}
}
