package demo

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/twtrace/twtrace/internal/kerneltest"
)

// patience is for what should happen at once, on a busy machine too.
const patience = 30 * time.Second

func TestMain(m *testing.M) {
	Main()
	switch {
	case len(os.Args) == 2 && os.Args[1] == command:
		fmt.Print(refused)
	case len(os.Args) == 3 && os.Args[1] == startIt:
		theirs, err := socket()
		if err != nil {
			panic(err)
		}
		cmd := exec.Command(os.Args[2], command)
		cmd.ExtraFiles, cmd.Stdout = []*os.File{theirs}, os.Stdout
		_ = cmd.Run() // a process of the demo that has no parent fails
	default:
		m.Run()
	}
}

// refused is what a copy of the test binary prints that was not made a process of the
// demo. With startIt it starts another one, as the demo does.
const (
	refused = "refused"
	startIt = "start"
)

// TestDemo wants the four processes, and the connections that they are there for.
func TestDemo(t *testing.T) {
	kerneltest.RequireRoot(t)
	d, err := New()
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Start(); err != nil {
		t.Fatal(err)
	}
	var pids []int
	for i, p := range d.processes {
		pids = append(pids, p.cmd.Process.Pid)
		comm, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pids[i]))
		if want := roles()[i].Comm + "\n"; err != nil || string(comm) != want {
			t.Errorf("process %d is named %q, want %q (%v)", i, comm, want, err)
		}
	}
	for _, at := range []string{"127.0.0.7:3306", "127.0.0.8:6379"} {
		kerneltest.Eventually(t, patience, func() (bool, string) {
			var out []byte
			err := d.ns.Do(func() (err error) {
				out, err = exec.Command("ss", "-Htan", "state", "time-wait", "dst", at).CombinedOutput()
				return err
			})
			return err == nil && strings.Count(string(out), at) >= 10, fmt.Sprintf("%s, %v", out, err)
		})
	}
	if err := d.Close(); err != nil {
		t.Error(err)
	}
	for _, pid := range pids {
		if err := unix.Kill(pid, 0); err != unix.ESRCH {
			t.Errorf("process %d: %v", pid, err)
		}
	}
}

// anywhere starts a process in the network namespace of the test, which needs no root.
func anywhere(start func() error) error { return start() }

// listen returns a listener of the test.
func listen(t *testing.T) *net.TCPListener {
	t.Helper()
	l, err := net.ListenTCP("tcp4", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

// free is an address of loopback that nobody listens at.
func free(t *testing.T) netip.AddrPort {
	t.Helper()
	l := listen(t)
	defer l.Close()
	return l.Addr().(*net.TCPAddr).AddrPort()
}

// TestProcessEndsWithItsParent closes the socket between them, as the kernel does when
// the parent ends.
func TestProcessEndsWithItsParent(t *testing.T) {
	at := free(t)
	for _, r := range []role{{Comm: "database", Listen: at}, {Comm: "checkout", Connect: at, Rate: 5}} {
		p, err := startProcess(anywhere, r)
		if err != nil {
			t.Fatal(err)
		}
		defer p.end()
		p.socket.Close()
		if err := p.cmd.Wait(); err != nil {
			t.Errorf("%s: %v", r.Comm, err)
		}
	}
}

func TestErrorsOfAProcessReachItsParent(t *testing.T) {
	at := free(t)
	for _, want := range []string{"", "address already in use"} {
		p, err := startProcess(anywhere, role{Comm: "database", Listen: at})
		if p != nil {
			defer p.end()
		}
		if (err != nil) != (want != "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
	if p, err := startProcess(func(func() error) error { return os.ErrPermission }, role{}); !errors.Is(err, os.ErrPermission) || p != nil {
		t.Errorf("not started: %v", err)
	}
}

// TestServerClosesLast: a server has the name of its role, takes one connection after the
// other, and closes each when its client has.
func TestServerClosesLast(t *testing.T) {
	at := free(t)
	p, err := startProcess(anywhere, role{Comm: "database", Listen: at})
	if err != nil {
		t.Fatal(err)
	}
	defer p.end()
	comm, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", p.cmd.Process.Pid))
	if err != nil || string(comm) != "database\n" {
		t.Errorf("it is named %q, %v", comm, err)
	}
	for range 3 {
		c, err := net.DialTCP("tcp4", nil, net.TCPAddrFromAddrPort(at))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if _, err := c.Write([]byte("hello")); err != nil {
			t.Fatal(err)
		}
		c.SetReadDeadline(time.Now().Add(20 * time.Millisecond))
		if n, err := c.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("it answered %d bytes, %v, before its client had closed", n, err)
		}
		c.SetReadDeadline(time.Now().Add(patience))
		if err := c.CloseWrite(); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
			t.Errorf("it did not close: %v", err)
		}
	}
}

// TestClientClosesFirst: a client opens one connection after the other, as often as its
// role says at most, and closes each first, without a word.
func TestClientClosesFirst(t *testing.T) {
	l := listen(t)
	l.SetDeadline(time.Now().Add(patience))
	const rate, n = 50, 10
	start := time.Now()
	p, err := startProcess(anywhere, role{Comm: "checkout", Connect: l.Addr().(*net.TCPAddr).AddrPort(), Rate: rate})
	if err != nil {
		t.Fatal(err)
	}
	defer p.end()
	for i := range n {
		c, err := l.AcceptTCP()
		if err != nil {
			t.Fatal(err)
		}
		c.SetReadDeadline(time.Now().Add(patience))
		if got, err := io.ReadAll(c); err != nil || len(got) != 0 {
			t.Errorf("connection %d: %q, %v", i, got, err)
		}
		c.Close()
	}
	if took := time.Since(start); took < (n-1)*time.Second/rate {
		t.Errorf("%d connections in %v", n, took)
	}
}

// TestOnlyTheDemoStartsItsProcesses: the hidden command is refused without a socket to
// the parent, with something else in its place, and if the parent is another program.
func TestOnlyTheDemoStartsItsProcesses(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	other := filepath.Join(t.TempDir(), "other")
	if data, err := os.ReadFile(self); err != nil {
		t.Fatal(err)
	} else if err := os.WriteFile(other, data, 0o755); err != nil {
		t.Fatal(err)
	}
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	theirs, err := socket()
	if err != nil {
		t.Fatal(err)
	}
	defer theirs.Close()
	for name, tt := range map[string]struct {
		cmd  *exec.Cmd
		pass []*os.File
		want string
	}{
		"no descriptor":                {exec.Command(self, command), nil, refused},
		"a file":                       {exec.Command(self, command), []*os.File{null}, refused},
		"the socket of a grandparent":  {exec.Command("sh", "-c", `"$0" "$1"; exit $?`, self, command), []*os.File{theirs}, refused},
		"the socket of another":        {exec.Command(other, startIt, self), nil, refused},
		"the socket of the same, ends": {exec.Command(self, startIt, self), nil, ""},
	} {
		t.Run(name, func(t *testing.T) {
			tt.cmd.ExtraFiles = tt.pass
			if out, err := tt.cmd.Output(); string(out) != tt.want {
				t.Errorf("it printed %q, want %q (%v)", out, tt.want, err)
			}
		})
	}
}

// socket is one end of a socket pair that this process made; the other is closed.
func socket() (*os.File, error) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(pair[1]), "child"), unix.Close(pair[0])
}
