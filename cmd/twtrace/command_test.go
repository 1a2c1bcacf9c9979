package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/twtrace/twtrace/internal/kerneltest"
	"github.com/twtrace/twtrace/internal/session"
)

// httpServer serves HTTP in the namespace, and returns a shell command for a process
// that fetches a page of it and goes.
func httpServer(t *testing.T, ns *kerneltest.NS) (curl string) {
	t.Helper()
	kerneltest.RequireTool(t, "curl", "curl")
	var l net.Listener
	var err error
	ns.Do(t, func() { l, err = net.Listen("tcp4", "127.0.0.1:0") })
	must(t, err)
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "ok") })}
	go srv.Serve(l)
	t.Cleanup(func() { srv.Close() })
	return "curl --noproxy '*' -s -o /dev/null http://" + l.Addr().String() + "/"
}

// inNS runs cmd in the namespace and returns its exit code.
func inNS(t *testing.T, ns *kerneltest.NS, cmd *exec.Cmd) int {
	t.Helper()
	ns.Start(t, cmd)
	var exit *exec.ExitError
	if err := cmd.Wait(); err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode()
}

// pidsIn are the numbers in the lines of a text, which is all there may be in it.
func pidsIn(t *testing.T, text string) map[uint32]bool {
	t.Helper()
	pids := make(map[uint32]bool)
	for _, line := range strings.Fields(text) {
		n, err := strconv.ParseUint(line, 10, 32)
		if err != nil {
			t.Fatalf("%q among the pids: %s", line, text)
		}
		pids[uint32(n)] = true
	}
	return pids
}

// checkClients wants the records to be those of the connections of these curls, each
// opened and ended, and of nobody else.
func checkClients(t *testing.T, all []record, pids map[uint32]bool) {
	t.Helper()
	opened, ended := make(map[uint32]int), make(map[uint32]int)
	for _, r := range all {
		switch r.Event {
		case "start", "lost", "end":
			continue
		case "open":
			opened[r.PID]++
		case "time_wait_enter", "close":
			ended[r.PID]++
		}
		if !pids[r.PID] || r.Comm != "curl" || r.PComm != "sh" || r.PIDStart == 0 {
			t.Errorf("a record of %s[%d], child of %s[%d]: %+v", r.Comm, r.PID, r.PComm, r.PPID, r)
		}
	}
	for pid := range pids {
		if opened[pid] != 1 || ended[pid] != 1 {
			t.Errorf("curl[%d] has %d opens and %d ends", pid, opened[pid], ended[pid])
		}
	}
}

// TestCommandTraced runs a command beside another that does the same and is nobody's
// business.
func TestCommandTraced(t *testing.T) {
	t.Parallel()
	ns := kerneltest.NetNS(t)
	hold(t, ns)
	curl := httpServer(t, ns)
	ns.Start(t, exec.Command("sh", "-c", "while :; do "+curl+"; done"))

	out, err := os.Create(filepath.Join(t.TempDir(), "out"))
	must(t, err)
	defer out.Close()
	var stderr talk
	cmd := command("trace", "-o", "json", "--", "sh", "-c", "for i in $(seq 20); do "+curl+" & echo $!; wait $!; done; exit 7")
	cmd.Stdout, cmd.Stderr = out, &stderr
	if code := inNS(t, ns, cmd); code != 7 {
		t.Errorf("exit code %d, want the command's; stderr: %s", code, stderr.String())
	}
	tr := &trace{t: t, out: out}
	_, err = out.Seek(0, io.SeekStart)
	must(t, err)
	all := tr.all()
	checkClients(t, all, pidsIn(t, stderr.String()))
	for i, want := range map[int]string{0: "start", len(all) - 1: "end"} {
		if all[i].Event != want {
			t.Errorf("record %d is %q, want %q", i, all[i].Event, want)
		}
	}
	if why := all[len(all)-1].Why; why != "command" {
		t.Errorf("it ended for %q", why)
	}
}

// TestCommandCode checks which exit code is whose.
func TestCommandCode(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		args string
		want int
	}{
		{"-- true", 0},
		{"-- sh -c exit\x003", 3},
		{"-- sh -c kill\x00-9\x00$$", 137},
		{"-- ./no/such/command", session.ExitNotFound},
		{"-- /etc/passwd", session.ExitNoExec},
		{"dport 80", exitUsage},
		{"-p 1 -- true", exitUsage},
		{"--follow -- true", exitUsage},
		{"--follow", exitUsage},
		{"--follow -p !1", exitUsage},
	} {
		args := strings.Fields("trace " + tt.args)
		for i := range args {
			args[i] = strings.ReplaceAll(args[i], "\x00", " ")
		}
		cmd, _ := pipedCommand(t, args...)
		if o := ended(t, cmd); o.code != tt.want {
			t.Errorf("%q: exit code %d, want %d: %s", tt.args, o.code, tt.want, o.stderr)
		}
	}
}

// TestCommandOutlived: a command does not go on after a trace that had enough of it.
func TestCommandOutlived(t *testing.T) {
	t.Parallel()
	cmd, _ := pipedCommand(t, "trace", "--duration", "100ms", "--", "sh", "-c", "echo $$; exec sleep 1000")
	o := ended(t, cmd)
	if o.code != 0 {
		t.Errorf("exit code %d: %s", o.code, o.stderr)
	}
	for pid := range pidsIn(t, o.stderr) {
		if err := unix.Kill(int(pid), 0); !errors.Is(err, unix.ESRCH) {
			t.Errorf("the command goes on: %v", err)
		}
	}
}

// TestFollowTraced follows a process that has started another before the trace, and starts
// more during it, which end at once and leave theirs to somebody else.
func TestFollowTraced(t *testing.T) {
	t.Parallel()
	ns := kerneltest.NetNS(t)
	ended(t, command("trace", "--follow", "-p", "4194303")).failed(t, exitFailed) // there is none
	hold(t, ns)
	curl := httpServer(t, ns)
	ns.Start(t, exec.Command("sh", "-c", "while :; do "+curl+"; done"))

	orphan := "sh -c '" + strings.ReplaceAll(curl, "'", `"`) + " & echo $!'"
	root := exec.Command("sh", "-c",
		"exec 3<&0; sh -c 'read go <&3; for i in $(seq 10); do "+strings.ReplaceAll(curl, "'", `"`)+" & echo $!; wait $!; done' & "+
			"read go; for i in $(seq 10); do "+orphan+"; done; wait")
	cue, err := root.StdinPipe()
	must(t, err)
	var stdout talk
	root.Stdout = &stdout
	ns.Start(t, root)
	tr := startTrace(t, "-p", fmt.Sprint(root.Process.Pid), "--follow")
	_, err = io.WriteString(cue, "go\ngo\n")
	must(t, err)
	must(t, root.Wait())
	pids := pidsIn(t, stdout.String())
	if len(pids) != 20 {
		t.Fatalf("%d processes: %s", len(pids), stdout.String())
	}
	kerneltest.Eventually(t, patience, func() (bool, string) {
		n := tr.count(func(r record) bool { return r.Event == "time_wait_enter" || r.Event == "close" })
		return n >= len(pids), fmt.Sprintf("%d of %d connections have ended", n, len(pids))
	})
	end := tr.stop()
	checkLost(t, end)
	all := tr.all()
	for i := range all {
		if all[i].PPID != 0 && all[i].PComm != "sh" {
			all[i].PComm = "sh" // an orphan
		}
	}
	checkClients(t, all, pids)
	if hooks := all[0].Hooks; !slices.Contains(hooks, "process_fork") {
		t.Errorf("hooks: %v", hooks)
	}
}
