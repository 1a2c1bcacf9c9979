package kerneltest

import (
	"bufio"
	"bytes"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"
)

func TestNetNSIsPrivate(t *testing.T) {
	a, b := NetNS(t), NetNS(t)
	host, err := os.Stat("/proc/self/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	for _, ns := range []*NS{a, b} {
		st, err := os.Stat(ns.Path())
		if err != nil {
			t.Fatal(err)
		}
		if os.SameFile(st, host) {
			t.Error("a test's namespace is the host's")
		}
	}
	if a.Inum() == b.Inum() || a.Inum() == 0 {
		t.Errorf("inode numbers %d and %d", a.Inum(), b.Inum())
	}
	a.Sysctl(t, "net.ipv4.ip_local_port_range", "20000 20100")
	for ns, want := range map[*NS]bool{a: true, b: false} {
		ns.Do(t, func() {
			got, err := os.ReadFile("/proc/sys/net/ipv4/ip_local_port_range")
			if err != nil {
				t.Fatal(err)
			}
			if is := strings.Join(strings.Fields(string(got)), " ") == "20000 20100"; is != want {
				t.Errorf("port range %q", got)
			}
		})
	}
}

func TestDoComesBack(t *testing.T) {
	ns := NetNS(t)
	before, err := os.Readlink("/proc/self/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() { // f ends its goroutine, as t.FailNow does
		defer close(done)
		t.Run("", func(t *testing.T) { ns.Do(t, func() { t.Skip("this ends its goroutine, as t.FailNow does") }) })
	}()
	<-done
	tasks, err := os.ReadDir("/proc/self/task")
	if err != nil {
		t.Fatal(err)
	}
	for _, task := range tasks {
		if now, err := os.Readlink("/proc/self/task/" + task.Name() + "/ns/net"); err == nil && now != before {
			t.Errorf("thread %s stayed in %s", task.Name(), now)
		}
	}
}

func TestSocketsAndCounters(t *testing.T) {
	ns := NetNS(t)
	ns.AddAddr(t, "lo", "fd00::1/128")
	var l net.Listener
	ns.Do(t, func() {
		var err error
		if l, err = net.Listen("tcp", "[fd00::1]:7000"); err != nil {
			t.Fatal(err)
		}
	})
	defer l.Close()
	before := ns.Nstat(t)
	var c net.Conn
	ns.Do(t, func() {
		fd, err := net.Dial("tcp", "[fd00::1]:7000")
		if err != nil {
			t.Fatal(err)
		}
		c = fd
	})
	defer c.Close()
	at := netip.MustParseAddrPort("[fd00::1]:7000")
	got := ns.Sockets(t, "state", "connected", "dport", "=", "7000")
	if len(got) != 1 || got[0].State != "ESTAB" || got[0].Remote != at || got[0].Cookie == 0 {
		t.Errorf("sockets: %+v", got)
	}
	if n := ns.Nstat(t)["TcpActiveOpens"] - before["TcpActiveOpens"]; n != 1 {
		t.Errorf("TcpActiveOpens grew by %d", n)
	}
	if n := ns.Sockstat(t)["TCP6 inuse"]; n != 3 {
		t.Errorf("%d sockets in use, want a listener and two ends", n)
	}
}

func TestParseSS(t *testing.T) {
	const out = `0      0          127.0.0.1:53582    127.0.0.1:7000 timer:(timewait,59sec,0) ino:0 sk:1a2b
ESTAB 0 0 [::ffff:127.0.0.1]:7000 [::ffff:127.0.0.1]:40000 ino:7 sk:3 cgroup:/x <->
LISTEN 0 4096 127.0.0.53%lo:53 0.0.0.0:* ino:1 sk:4
LISTEN 0 4096 *:22 *:* ino:1 sk:5
`
	want := []Socket{
		{"", netip.MustParseAddrPort("127.0.0.1:53582"), netip.MustParseAddrPort("127.0.0.1:7000"), 0x1a2b},
		{"ESTAB", netip.MustParseAddrPort("127.0.0.1:7000"), netip.MustParseAddrPort("127.0.0.1:40000"), 3},
		{"LISTEN", netip.MustParseAddrPort("127.0.0.53:53"), netip.MustParseAddrPort("0.0.0.0:0"), 4},
		{"LISTEN", netip.MustParseAddrPort("[::]:22"), netip.MustParseAddrPort("[::]:0"), 5},
	}
	got, err := parseSS(out)
	if err != nil || len(got) != len(want) {
		t.Fatalf("%+v, %v", got, err)
	}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("line %d: got %+v, want %+v", i, got[i], want[i])
		}
	}
	for _, bad := range []string{"0 0\n", "0 0 x:1 y:z\n", "0 0 1.1.1.1:1 2.2.2.2:2 sk:xyz\n", "0 0 1.1.1.1 2.2.2.2:1\n"} {
		if got, err := parseSS(bad); err == nil {
			t.Errorf("%q was read as %+v", bad, got)
		}
	}
}

func TestParseCounters(t *testing.T) {
	all := make(map[string]uint64)
	if err := parseNstat(strings.NewReader("Tcp: MaxConn ActiveOpens\nTcp: -1 7\n"), all); err != nil {
		t.Fatal(err)
	}
	if len(all) != 1 || all["TcpActiveOpens"] != 7 {
		t.Errorf("counters: %v", all)
	}
	for _, bad := range []string{"Tcp: A\n", "Tcp: A\nUdp: 1\n", "Tcp: A B\nTcp: 1\n", "Tcp: A\nTcp: x\n", "\n\n"} {
		if err := parseNstat(strings.NewReader(bad), all); err == nil {
			t.Errorf("%q was accepted", bad)
		}
	}
	got := make(map[string]uint64)
	err := parseSockstat(strings.NewReader("sockets: used 5\nTCP: inuse 1 tw 23\n"), got)
	if err != nil || got["TCP tw"] != 23 || got["sockets used"] != 5 {
		t.Errorf("gauges: %v, %v", got, err)
	}
	if err := parseSockstat(strings.NewReader("TCP: inuse\n"), got); err == nil {
		t.Error("half a gauge was accepted")
	}
}

func TestEventuallyReportsTheLastState(t *testing.T) {
	calls := 0
	Eventually(t, 1<<62, func() (bool, string) { calls++; return calls == 3, "" })
	if calls != 3 {
		t.Errorf("called %d times", calls)
	}
	f := &fake{TB: t}
	done := make(chan struct{})
	go func() {
		defer close(done)
		Eventually(f, 0, func() (bool, string) { return false, "stuck at 7" })
	}()
	<-done
	if !strings.Contains(f.said, "stuck at 7") {
		t.Errorf("the failure says %q", f.said)
	}
}

// fake records a failure and ends the goroutine, as a failing test does.
type fake struct {
	testing.TB
	said string
}

func (f *fake) Helper() {}

func (f *fake) Skipf(format string, args ...any) {
	f.said = fmt.Sprintf("skip: "+format, args...)
	runtime.Goexit()
}

func (f *fake) Fatalf(format string, args ...any) {
	f.said = fmt.Sprintf(format, args...)
	runtime.Goexit()
}

// TestRequireTool: a test without its tool is skipped on a laptop, and fails in CI; both
// say which package has it.
func TestRequireTool(t *testing.T) {
	for ci, want := range map[string]string{
		"":     "skip: needs no-such-tool (apt-get install some-package)",
		"true": "needs no-such-tool (apt-get install some-package), and CI has to run it",
	} {
		t.Setenv("CI", ci)
		f := &fake{TB: t}
		done := make(chan struct{})
		go func() {
			defer close(done)
			RequireTool(f, "sh", "dash")
			RequireTool(f, "no-such-tool", "some-package")
		}()
		<-done
		if f.said != want {
			t.Errorf("with CI=%q: %q, want %q", ci, f.said, want)
		}
	}
}

func TestNamedLeavesNothing(t *testing.T) {
	name := fmt.Sprintf("test-%d", os.Getpid())
	path := "/run/netns/" + name
	t.Run("named", func(t *testing.T) {
		ns := NetNS(t)
		ns.Named(t, name)
		a, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		b, err := os.Stat(ns.Path())
		if err != nil || !os.SameFile(a, b) {
			t.Errorf("%s is another namespace (%v)", path, err)
		}
	})
	if _, err := os.Stat(path); !os.IsNotExist(err) {
		t.Errorf("%s is still there", path)
	}
}

func TestStartedCommandIsGoneWithItsChildren(t *testing.T) {
	var group int
	t.Run("started", func(t *testing.T) {
		ns := NetNS(t)
		cmd := exec.Command("sh", "-c", "readlink /proc/self/ns/net; sleep 1000 & sleep 1000")
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		ns.Start(t, cmd)
		group = cmd.Process.Pid
		line, err := bufio.NewReader(out).ReadString('\n')
		if want := fmt.Sprintf("net:[%d]\n", ns.Inum()); line != want {
			t.Errorf("the command is in %q, want %q (%v)", line, want, err)
		}
	})
	Eventually(t, 30*time.Second, func() (bool, string) {
		return running(t, group) == 0, "the group has processes left"
	})
}

// killedVariable has the test binary start commands, print their groups, and wait to be
// killed.
const killedVariable = "TWTRACE_TEST_KILLED"

// TestKilledBinaryLeavesNothing kills a test binary: what it started goes too, with its
// children, but for what had been cleaned up.
func TestKilledBinaryLeavesNothing(t *testing.T) {
	if os.Getenv(killedVariable) != "" {
		var n *NS
		t.Run("cleaned up", func(t *testing.T) { n.Start(t, exec.Command("sleep", "1000")) })
		for range 3 {
			cmd := exec.Command("sh", "-c", "sleep 1000 & sleep 1000")
			n.Start(t, cmd)
			fmt.Println("group", cmd.Process.Pid)
		}
		time.Sleep(time.Hour) // the runtime may take select {} for a deadlock, and end
	}
	killed := exec.Command("/proc/self/exe", "-test.run", "^TestKilledBinaryLeavesNothing$")
	killed.Env = append(os.Environ(), killedVariable+"=1")
	out, err := killed.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := killed.Start(); err != nil {
		t.Fatal(err)
	}
	var groups []int
	for lines := bufio.NewScanner(out); len(groups) < 3 && lines.Scan(); {
		var group int
		if n, _ := fmt.Sscanf(lines.Text(), "group %d", &group); n == 1 {
			groups = append(groups, group)
		}
	}
	for _, g := range groups {
		if running(t, g) == 0 {
			t.Errorf("group %d is not there", g)
		}
	}
	if err := killed.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = killed.Wait() // it was killed
	for _, g := range groups {
		Eventually(t, 30*time.Second, func() (bool, string) {
			return running(t, g) == 0, fmt.Sprintf("group %d has processes left", g)
		})
	}
	if len(groups) != 3 {
		t.Errorf("%d groups were started, want 3", len(groups))
	}
}

// running counts the processes of a group that are no zombies: those whose
// parent is gone may have nobody to collect them.
func running(t *testing.T, group int) int {
	t.Helper()
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, path := range stats {
		b, err := os.ReadFile(path)
		if err != nil {
			continue // it ended
		}
		// pid (comm) state ppid pgrp
		fields := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))
		if fields[0] != "Z" && fields[2] == strconv.Itoa(group) {
			n++
		}
	}
	return n
}
