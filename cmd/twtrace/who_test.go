package main

import (
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/twtrace/twtrace/internal/kerneltest"
)

// TestCgroup has a process that lives for milliseconds in a cgroup as docker would
// make it, beside one that is in none: it is in the records of that container, alone.
func TestCgroup(t *testing.T) {
	t.Parallel()
	ns := kerneltest.NetNS(t)
	hold(t, ns)
	curl := httpServer(t, ns)
	id := fmt.Sprintf("%064x", 0xb1c0ffee<<16|os.Getpid())
	slice := fmt.Sprintf("twtrace-test-%d.slice", os.Getpid())
	path := "/" + slice + "/docker-" + id + ".scope"
	dir := cgroupMount(t) + path
	must(t, os.MkdirAll(dir, 0o755))
	t.Cleanup(func() {
		for _, d := range []string{dir, filepath.Dir(dir)} {
			if err := unix.Rmdir(d); err != nil {
				t.Errorf("remove cgroup %s: %v", d, err)
			}
		}
	})
	tr := startTrace(t, "-N", ns.Path(), "--container", id[:60], "--role", "client")
	inside := exec.Command("sh", "-c", "echo 0 > "+dir+"/cgroup.procs; "+curl+" & echo $!; wait")
	outside := exec.Command("sh", "-c", curl)
	var out strings.Builder
	inside.Stdout = &out
	for _, cmd := range []*exec.Cmd{outside, inside} {
		ns.Start(t, cmd)
		must(t, cmd.Wait())
	}
	kerneltest.Eventually(t, patience, func() (bool, string) {
		return len(tr.of("time_wait_enter", ns.Inum())) > 0, "no begin"
	})
	end := tr.stop()
	checkLost(t, end)
	checkClients(t, tr.all(), pidsIn(t, out.String()))
	for _, r := range tr.all()[1:] {
		if r.Event != "end" && (r.Cgroup != path || r.Container != id || r.Runtime != "docker" || r.UID == nil || *r.UID != 0) {
			t.Errorf("cgroup %s, container %s of %s, uid %v", r.Cgroup, r.Container, r.Runtime, r.UID)
		}
	}
}

// cgroupMount is where cgroup v2 is mounted.
func cgroupMount(t *testing.T) string {
	t.Helper()
	for _, m := range []string{"/sys/fs/cgroup", "/sys/fs/cgroup/unified"} {
		var st unix.Statfs_t
		if unix.Statfs(m, &st) == nil && st.Type == unix.CGROUP2_SUPER_MAGIC {
			return m
		}
	}
	t.Fatal("cgroup v2 is not mounted")
	return ""
}

// TestContained: a process that has namespaces of its own, and is pid 1 there, has
// its pid of the host in the records, whatever it calls itself.
func TestContained(t *testing.T) {
	t.Parallel()
	ns := kerneltest.NetNS(t)
	hold(t, ns)
	curl := httpServer(t, ns)
	cmd := exec.Command("unshare", "--pid", "--fork", "--mount-proc", "--kill-child", "sh", "-c", "read go; echo $$; exec "+curl)
	cue, err := cmd.StdinPipe()
	must(t, err)
	var out strings.Builder
	cmd.Stdout = &out
	ns.Start(t, cmd)
	pid := childOf(t, cmd.Process.Pid)
	tr := startTrace(t, "-N", ns.Path(), "--role", "client")
	_, err = io.WriteString(cue, "go\n")
	must(t, err)
	must(t, cmd.Wait())
	kerneltest.Eventually(t, patience, func() (bool, string) {
		return len(tr.of("time_wait_enter", ns.Inum())) > 0, "no begin"
	})
	checkLost(t, tr.stop())
	if out.String() != "1\n" {
		t.Fatalf("the process calls itself %q", out.String())
	}
	for _, r := range tr.all() {
		if r.Netns == ns.Inum() && (r.PID != pid || r.PPID != uint32(cmd.Process.Pid) || r.Comm != "curl") {
			t.Errorf("%s of %s[%d], child of %d; want curl[%d], child of %d", r.Event, r.Comm, r.PID, r.PPID, pid, cmd.Process.Pid)
		}
	}
}

// childOf waits for a process to have a child.
func childOf(t *testing.T, pid int) (child uint32) {
	t.Helper()
	kerneltest.Eventually(t, patience, func() (bool, string) {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
		n, err2 := strconv.ParseUint(strings.TrimSpace(string(b)), 10, 32)
		child = uint32(n)
		return err == nil && err2 == nil, fmt.Sprintf("children %q", b)
	})
	return child
}

// TestTraceContained runs twtrace where /proc has other pids than the host: it says
// so, and takes nothing from there.
func TestTraceContained(t *testing.T) {
	t.Parallel()
	self, err := os.Executable()
	must(t, err)
	for _, proc := range []string{"--mount-proc", "--mount"} { // its own /proc, and the host's
		ns := kerneltest.NetNS(t)
		curl := httpServer(t, ns)
		out, err := os.Create(filepath.Join(t.TempDir(), "out"))
		must(t, err)
		defer out.Close()
		cmd := exec.Command("unshare", "--pid", "--fork", "--kill-child", proc,
			self, "trace", "-o", "json", "-N", fmt.Sprint(ns.Inum()), "--role", "client", "-c", "2")
		cmd.Env = append(os.Environ(), asTwtrace+"=1")
		var stderr talk
		cmd.Stdout, cmd.Stderr = out, &stderr
		ns.Start(t, cmd)
		in, err := os.Open(out.Name())
		must(t, err)
		defer in.Close()
		tr := &trace{t: t, out: in}
		kerneltest.Eventually(t, patience, func() (bool, string) { return len(tr.all()) > 0, stderr.String() })
		client := exec.Command("sh", "-c", "exec "+curl)
		ns.Start(t, client)
		must(t, client.Wait())
		must(t, cmd.Wait())
		all := tr.all()
		if missing := strings.Join(all[0].Missing, "\n"); !strings.Contains(missing, "/proc does not have the host's process ids") {
			t.Errorf("%s: missing: %s", proc, missing)
		}
		for _, r := range all[1 : len(all)-1] {
			if r.PID != uint32(client.Process.Pid) || r.Comm != "curl" || r.PPID == 0 || r.UID == nil || r.Exe != "" {
				t.Errorf("%s: %+v", proc, r)
			}
		}
	}
}

// TestReusedPID gives the pid of a process whose connection goes on to another one:
// the records of the first have nothing of the second.
func TestReusedPID(t *testing.T) {
	t.Parallel()
	ns := kerneltest.NetNS(t)
	hold(t, ns)
	curl := httpServer(t, ns)
	var silent net.Listener
	var err error
	ns.Do(t, func() { silent, err = net.Listen("tcp4", "127.0.0.1:0") })
	must(t, err)
	defer silent.Close()
	tr := startTrace(t, "-N", ns.Path(), "--role", "client")
	kerneltest.RequireTool(t, "curl", "curl")
	first := exec.Command("curl", "--noproxy", "*", "-s", "http://"+silent.Addr().String()+"/")
	ns.Start(t, first)
	held, err := silent.Accept()
	must(t, err)
	_, err = held.Read(make([]byte, 4096)) // a close with something unread would be a reset
	must(t, err)
	must(t, first.Process.Kill())
	_ = first.Wait()
	pid := first.Process.Pid
	second := processWith(t, ns, pid, "read go; exec "+curl)
	must(t, held.Close()) // the first one's TIME_WAIT begins while the second has its pid
	kerneltest.Eventually(t, patience, func() (bool, string) {
		return len(tr.of("time_wait_enter", ns.Inum())) > 0, "no begin"
	})
	must(t, second())
	kerneltest.Eventually(t, patience, func() (bool, string) {
		return len(tr.of("time_wait_enter", ns.Inum())) > 1, "no begin of the second"
	})
	checkLost(t, tr.stop())
	starts := make(map[string]map[uint64]bool) // of each connection
	for _, r := range tr.all() {
		if r.Netns != ns.Inum() {
			continue
		}
		if r.PID != uint32(pid) || r.PIDStart == 0 {
			t.Errorf("%s of pid %d, started at %d, want pid %d", r.Event, r.PID, r.PIDStart, pid)
		}
		if starts[r.Cookie] == nil {
			starts[r.Cookie] = make(map[uint64]bool)
		}
		starts[r.Cookie][r.PIDStart] = true
	}
	all := make(map[uint64]bool)
	for cookie, s := range starts {
		if len(s) != 1 {
			t.Errorf("connection %s is of processes that started at %v", cookie, s)
		}
		for start := range s {
			all[start] = true
		}
	}
	if len(starts) != 2 || len(all) != 2 {
		t.Errorf("%d connections of %d processes, want 2 of 2", len(starts), len(all))
	}
}

// processWith starts a shell that has the pid, by telling the kernel which it gave
// last, and returns how to have it go on to its end.
func processWith(t *testing.T, ns *kerneltest.NS, pid int, script string) (run func() error) {
	t.Helper()
	for range 1000 {
		must(t, os.WriteFile("/proc/sys/kernel/ns_last_pid", []byte(strconv.Itoa(pid-1)), 0))
		cmd := exec.Command("sh", "-c", script)
		cue, err := cmd.StdinPipe()
		must(t, err)
		ns.Start(t, cmd)
		if cmd.Process.Pid == pid {
			return func() error {
				if _, err := io.WriteString(cue, "go\n"); err != nil {
					return err
				}
				return cmd.Wait()
			}
		}
		must(t, cmd.Process.Kill())
		_ = cmd.Wait()
	}
	t.Fatalf("pid %d is not to be had", pid)
	return nil
}
