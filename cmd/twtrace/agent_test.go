package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"golang.org/x/sys/unix"

	"github.com/twtrace/twtrace/internal/agent"
	"github.com/twtrace/twtrace/internal/kerneltest"
	"github.com/twtrace/twtrace/internal/workload"
)

// latecomers are what is run when all is over: twtrace with arguments, and what has to be in
// its output for a program that made so many connections to workload.IPv4.
var latecomers = []struct {
	args string
	says func(comm string, n int) string
}{
	{"list --by comm -o json -N NS", func(comm string, n int) string { return fmt.Sprintf(`"group":%q`, comm) }},
	{"doctor --all -N NS", func(comm string, n int) string { return comm + "[" }},
	{"report -o json", func(comm string, n int) string { return fmt.Sprintf(`%q`, comm) }},
	{"ports -N NS -o json --fields raddr,rport,time_wait,comm", func(comm string, n int) string {
		return fmt.Sprintf(`"rport":%d,"time_wait":%d,"comm":%q`, workload.IPv4.Port(), n, comm)
	}},
	{"top -b -c 1 -o json -N NS", func(comm string, n int) string { return fmt.Sprintf(`"time_wait":%d`, n) }},
	{"top -b -c 1 -o json -N NS", func(comm string, n int) string { return fmt.Sprintf(`"group":%q`, comm) }},
}

// TestAgentLate: a program has ended when somebody asks who it was, and how much it did. So
// may root and the members of the group, and nobody else.
func TestAgentLate(t *testing.T) {
	t.Parallel()
	const group = 45454
	ns := kerneltest.NetNS(t)
	ns.KeepTimeWait(t)
	// A process in it, by which the agent finds the namespace and its limits.
	stays := exec.Command("sleep", "1000")
	ns.Do(t, func() { must(t, stays.Start()) })
	t.Cleanup(func() { stays.Process.Kill(); _ = stays.Wait() })
	a := serveAgent(t, "-N", ns.Path())
	must(t, os.Chown(a.socket, 0, group))
	const n = 500
	result, err := workload.ActiveClose(workload.IPv4, n).Run(t.Context(), ns.Path())
	must(t, err)
	client := result.Records()[0]
	for _, r := range result.Records() {
		if r.Remote == workload.IPv4 {
			client = r
		}
	}
	a.knows(time.Now())
	dir, err := os.MkdirTemp("", "twtrace-saved")
	must(t, err)
	defer os.RemoveAll(dir)
	must(t, os.Chmod(dir, 0o777))
	for who, run := range map[string]func(*exec.Cmd) *exec.Cmd{
		"root":   func(c *exec.Cmd) *exec.Cmd { return c },
		"member": func(c *exec.Cmd) *exec.Cmd { return asNobody(t, c, group) },
	} {
		// Each record of the past, once.
		o := ended(t, run(command("trace", "-o", "json", "--agent", a.socket, "--from", "-10m", "--to", "-0s")))
		opens, enters := 0, 0
		for line := range strings.Lines(o.stdout) {
			var r record
			must(t, json.Unmarshal([]byte(line), &r))
			if r.Netns != ns.Inum() || r.Role != "client" {
				continue
			}
			switch {
			case r.Event != "open" && r.Event != "time_wait_enter":
				continue
			case r.Comm != client.Comm || r.PID != client.PID || r.Owner != "connect":
				t.Errorf("%s: the owner is %s[%d] by %s, want %s[%d]", who, r.Comm, r.PID, r.Owner, client.Comm, client.PID)
			case r.Event == "open":
				opens++
			default:
				enters++
			}
		}
		if o.code != 0 || opens != n || enters != n {
			t.Errorf("%s: exit code %d, %d opened and %d in TIME_WAIT, want %d; stderr: %s", who, o.code, opens, enters, n, o.stderr)
		}
		all, _ := list(t, run(command("list", "-o", "json", "--agent", a.socket, "-N", fmt.Sprint(ns.Inum()))))
		if len(all) != n || all[0].Comm != client.Comm || all[0].PID != client.PID || all[0].Owner != "connect" {
			t.Errorf("%s: %d in TIME_WAIT, want %d; the first %+v", who, len(all), n, all)
		}
		for _, l := range latecomers {
			o := ended(t, run(command(append(strings.Fields(strings.ReplaceAll(l.args, "NS", fmt.Sprint(ns.Inum()))), "--agent", a.socket)...)))
			if want := l.says(client.Comm, n); !strings.Contains(o.stdout, want) || strings.Contains(o.stderr, "root") {
				t.Errorf("%s: %s: exit code %d, no %q in %s; stderr: %s", who, l.args, o.code, want, o.stdout, o.stderr)
			}
		}
		saved := ended(t, run(command("agent", "save", "--socket", a.socket, "--dir", dir)))
		o = ended(t, command("trace", "-o", "json", "--event", "open", "-r", strings.TrimSpace(saved.stdout)))
		if got := strings.Count(o.stdout, `"role":"client"`); saved.code != 0 || o.code != 0 || got != n {
			t.Errorf("%s: save: %+v; it has %d connections, want %d; %s", who, saved, got, n, o.stderr)
		}
		must(t, os.Remove(strings.TrimSpace(saved.stdout)))
		if o := ended(t, run(command("agent", "status", "--socket", a.socket))); o.code != 0 || !strings.Contains(o.stdout, "past.records") {
			t.Errorf("%s: status: %+v", who, o)
		}
	}
	for _, verb := range []string{"trace", "list", "ports", "storms", "doctor", "top"} {
		o := ended(t, asNobody(t, command(verb, "--agent", a.socket), group+1))
		o.failed(t, exitNoTrace, "only root and the members of group 45454")
	}
	a.stop()
	ended(t, command("list", "--agent", a.socket)).failed(t, exitFailed, "no agent answers at "+a.socket, "twtrace serve")
}

// TestAgentLive: who follows sees what happens from now on, once, beside a reader that is
// stopped; at the end it gets the end of the trace.
func TestAgentLive(t *testing.T) {
	t.Parallel()
	ns := kerneltest.NetNS(t)
	ns.KeepTimeWait(t)
	a := serveAgent(t, "-N", ns.Path()) // whatever else this host does
	stopped := launch(t, command("trace", "-o", "json", "--agent", a.socket))
	must(t, stopped.cmd.Process.Signal(unix.SIGSTOP))
	tr := launch(t, command("trace", "-o", "json", "--agent", a.socket))
	dir := t.TempDir()
	file := filepath.Join(dir, "t.ndjson.zst")
	rec := command("record", "-w", file, "--agent", a.socket)
	rec.Stderr = &a.stderr
	must(t, rec.Start())
	t.Cleanup(func() { rec.Process.Kill() })
	kerneltest.Eventually(t, patience, func() (bool, string) {
		st, err := os.Stat(file)
		return err == nil && st.Size() > 0, fmt.Sprint(err)
	})
	const n = 300
	_, err := workload.ActiveClose(workload.IPv4, n).Run(t.Context(), ns.Path())
	must(t, err)
	kerneltest.Eventually(t, patience, func() (bool, string) {
		got := len(tr.of("time_wait_enter", ns.Inum()))
		return got >= n, fmt.Sprintf("%d in TIME_WAIT", got)
	})
	a.knows(time.Now())
	must(t, rec.Process.Signal(unix.SIGINT))
	if err := rec.Wait(); err != nil {
		t.Errorf("record: %v; %s", err, a.stderr.String())
	}
	o := ended(t, command("trace", "-r", file, "-o", "json", "--event", "time_wait_enter", "-N", fmt.Sprint(ns.Inum())))
	if got := strings.Count(o.stdout, `"time_wait_enter"`); o.code != 0 || got != n {
		t.Errorf("%d recorded, want %d: exit code %d, %s", got, n, o.code, o.stderr)
	}
	must(t, stopped.cmd.Process.Signal(unix.SIGCONT))
	a.stop()
	if end := tr.wait(); end.Event != "end" || end.Why != "signal" {
		t.Errorf("the last record is %+v", end)
	}
	if got := len(tr.of("time_wait_enter", ns.Inum())); got != n {
		t.Errorf("%d in TIME_WAIT, want %d", got, n)
	}
}

// TestAgentNotify: the service manager learns when it is ready, that it lives, and when it
// stops.
func TestAgentNotify(t *testing.T) {
	t.Parallel()
	kerneltest.RequireRoot(t)
	path := filepath.Join(t.TempDir(), "notify")
	c, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	must(t, err)
	defer c.Close()
	cmd := exec.Command(shipped(t), "serve", "--socket", filepath.Join(t.TempDir(), "agent.sock"), "-N", kerneltest.NetNS(t).Path())
	cmd.Env = append(os.Environ(), "NOTIFY_SOCKET="+path)
	must(t, cmd.Start())
	t.Cleanup(func() { cmd.Process.Kill() })
	for _, want := range []string{"READY=1", "WATCHDOG=1", "STOPPING=1"} {
		if want == "STOPPING=1" {
			must(t, cmd.Process.Signal(unix.SIGTERM))
		}
		for got := ""; !strings.HasPrefix(got, want); {
			b := make([]byte, 1024)
			must(t, c.SetReadDeadline(time.Now().Add(patience)))
			n, err := c.Read(b)
			must(t, err)
			got = string(b[:n])
		}
	}
	must(t, cmd.Wait())
}

// TestAgentSchemas: what /v1/status and /v1/findings answer is as the schemas have it.
func TestAgentSchemas(t *testing.T) {
	t.Parallel()
	a := serveAgent(t, "-N", kerneltest.NetNS(t).Path())
	for path, name := range map[string]string{"/v1/status": "agent-status", "/v1/findings": "doctor"} {
		answer, err := agent.NewClient(a.socket).Get(t.Context(), path)
		must(t, err)
		schema, err := jsonschema.NewCompiler().Compile("../../docs/" + name + ".schema.json")
		must(t, err)
		v, err := jsonschema.UnmarshalJSON(strings.NewReader(string(answer)))
		must(t, err)
		if err := schema.Validate(v); err != nil {
			t.Errorf("%s: %v in %s", path, err, answer)
		}
	}
	a.stop()
}

// TestAgentFlags: which flags go with an agent.
func TestAgentFlags(t *testing.T) {
	t.Parallel()
	none := filepath.Join(t.TempDir(), "none.sock")
	for _, args := range []string{"trace --hooks timer", "trace --agent %s -r x.zst", "doctor --no-bpf", "trace --states all", "list --cmdline"} {
		if !strings.Contains(args, "%s") {
			args += " --agent %s"
		}
		ran(strings.Fields(fmt.Sprintf(args, none))...).failed(t, map[bool]int{true: exitDoctorUnknown, false: exitUsage}[strings.HasPrefix(args, "doctor")], "conflicts with")
	}
	ran("trace", "--agent", none).failed(t, exitFailed, "no agent answers at "+none)
	ran("report", "-o", "md").failed(t, exitUsage, "report requires -r FILE")
	ran("agent", "stop").failed(t, exitUsage, "agent takes one word: status or save")
	ran("agent", "save", "--socket", none).failed(t, exitFailed, "no agent answers at "+none)
	for _, args := range []string{"--past-bytes 1", "--past -1s", "--max-readers 0"} {
		ran(append([]string{"serve", "--socket", none}, strings.Fields(args)...)...).failed(t, exitUsage, "bad ")
	}
}

// TestAgentURL: an agent is asked at an URL too.
func TestAgentURL(t *testing.T) {
	t.Parallel()
	a := serveAgent(t, "-N", kerneltest.NetNS(t).Path())
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	proxy := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		c := http.Client{Transport: &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) { return net.Dial("unix", a.socket) }}}
		answer, err := c.Get("http://agent" + q.URL.RequestURI())
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		defer answer.Body.Close()
		for k, v := range answer.Header {
			w.Header()[k] = v
		}
		_, _ = io.Copy(w, answer.Body)
	})}
	go proxy.Serve(ln)
	defer proxy.Close()
	url := "http://" + ln.Addr().String()
	if o := ended(t, command("doctor", "--brief", "--agent", url)); o.code != 0 || o.stdout == "" {
		t.Errorf("doctor: %+v", o)
	}
	if o := ended(t, command("list", "-o", "json", "--agent", url)); o.code != 0 || !strings.Contains(o.stderr, "reading the agent at "+url) {
		t.Errorf("list: %+v", o)
	}
	a.stop()
}
