package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/twtrace/twtrace/internal/agent"
	"github.com/twtrace/twtrace/internal/kerneltest"
	"github.com/twtrace/twtrace/internal/workload"
)

// speaker is the process that answers for an agent.
func (a *runningAgent) speaker() *os.Process {
	a.t.Helper()
	var children []byte
	tasks, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", a.cmd.Process.Pid))
	must(a.t, err)
	for _, task := range tasks { // the child is that of the thread that has started it
		more, _ := os.ReadFile(fmt.Sprintf("/proc/%d/task/%s/children", a.cmd.Process.Pid, task.Name()))
		children = append(children, more...)
	}
	pid := 0
	if n, err := fmt.Sscan(string(children), &pid); n != 1 {
		a.t.Fatalf("the agent has no speaker: %v", err)
	}
	p, err := os.FindProcess(pid)
	must(a.t, err)
	return p
}

// TestSpeakerConfined: what answers requests has no right, and what has rights listens to
// nobody.
func TestSpeakerConfined(t *testing.T) {
	t.Parallel()
	a := serveAgent(t, "-N", kerneltest.NetNS(t).Path())
	status := func(pid int) string {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
		must(t, err)
		return string(b)
	}
	for _, line := range []string{`CapPrm:\s0+`, `CapEff:\s0+`, `CapBnd:\s0+`, `NoNewPrivs:\s1`, `Seccomp:\s2`, `Uid:\s[1-9]\d*`, `Gid:\s[1-9]\d*`} {
		if !regexp.MustCompile("(?m)^" + line + `\b`).MatchString(status(a.speaker().Pid)) {
			t.Errorf("the speaker has no line %s:\n%s", line, status(a.speaker().Pid))
		}
	}
	for _, line := range []string{`CapBnd:\s0+$`, `NoNewPrivs:\s1`} {
		if !regexp.MustCompile("(?m)^" + line).MatchString(status(a.cmd.Process.Pid)) {
			t.Errorf("the tracer has no line %s", line)
		}
	}
	a.stop()
}

// TestSpeakerKilled: if one part of an agent is killed, the other one ends as well, and
// the next agent takes the socket.
func TestSpeakerKilled(t *testing.T) {
	t.Parallel()
	ns := kerneltest.NetNS(t)
	a := serveAgent(t, "-N", ns.Path())
	must(t, a.speaker().Kill())
	free := expire(a.cmd)
	err := a.cmd.Wait()
	free()
	if a.cmd.ProcessState.ExitCode() != exitFailed || !strings.Contains(a.stderr.String(), "the speaker ended: signal: killed") {
		t.Errorf("%v: %s", err, a.stderr.String())
	}

	b := serveAgent(t, "-N", ns.Path())
	speaker := b.speaker()
	must(t, b.cmd.Process.Kill())
	_ = b.cmd.Wait()
	kerneltest.Eventually(t, patience, func() (bool, string) {
		return speaker.Signal(unix.Signal(0)) != nil, "the speaker stays"
	})
	serveAgentAt(t, b.socket, "-N", ns.Path()).stop()
}

// TestSpeakerStopped: a speaker that does not read does not hold the tracer up. It gets all
// later, and nothing is lost.
func TestSpeakerStopped(t *testing.T) {
	t.Parallel()
	ns := kerneltest.NetNS(t)
	a := serveAgent(t, "-N", ns.Path(), "--buffer", "4M") // 4 MiB have room for the events of 9,400 of these connections
	speaker := a.speaker()
	must(t, speaker.Signal(unix.SIGSTOP))
	const n = 20000
	churn := workload.Churn{Connections: n, Workers: 2, ServerWorkers: 2, To: workload.Destinations(20, 4), CountOnly: true, Rate: 2000}
	_, err := churn.Scenario().Run(t.Context(), ns.Path())
	must(t, err)
	must(t, speaker.Signal(unix.SIGCONT))
	kerneltest.Eventually(t, patience, func() (bool, string) {
		answer, err := agent.NewClient(a.socket).Get(t.Context(), "/v1/status")
		must(t, err)
		var s struct {
			Table struct {
				Opened uint64 `json:"opened_total"`
			}
			Lost map[string]uint64 `json:"lost_by_stage"`
		}
		must(t, json.Unmarshal(answer, &s))
		if len(s.Lost) > 0 {
			t.Fatalf("lost: %s", answer)
		}
		return s.Table.Opened == 2*n, string(answer)
	})
	a.stop()
}

// TestSpeakerMetrics: over TCP an agent has what it counted, and no records.
func TestSpeakerMetrics(t *testing.T) {
	t.Parallel()
	ns := kerneltest.NetNS(t)
	a := serveAgent(t, "-N", ns.Path(), "--listen", "127.0.0.1:0")
	at := regexp.MustCompile(`http://127\.0\.0\.1:\d+`).FindString(a.stderr.String())
	const n = 23
	_, err := workload.ActiveClose(workload.IPv4, n).Run(t.Context(), ns.Path())
	must(t, err)
	get := func(path string) (int, string) {
		answer, err := http.Get(at + path)
		must(t, err)
		defer answer.Body.Close()
		b, err := io.ReadAll(answer.Body)
		must(t, err)
		return answer.StatusCode, string(b)
	}
	want := fmt.Sprintf("\ntwtrace_time_wait_entered_total{reason=\"active_close\"} %d\n", n)
	kerneltest.Eventually(t, patience, func() (bool, string) {
		_, page := get("/metrics")
		return strings.Contains(page, want), page
	})
	// What only the tracer knows, and which hooks it has.
	vital := regexp.MustCompile(`(?m)^(twtrace_ring_size_bytes [1-9]|twtrace_ring_used_bytes \d|twtrace_map_capacity\{map="conns"\} [1-9]|` +
		`twtrace_bpf_recursion_total\{program="state"\} \d|twtrace_process_(cpu_seconds_total|resident_memory_bytes)\{process="(tracer|speaker)"\} (0\.0*)?[1-9]|` +
		`twtrace_trace_info\{hooks="(fentry|timer)",kernel="[^"]+",syscalls="(on|off)"\} 1)`)
	kerneltest.Eventually(t, patience, func() (bool, string) {
		_, page := get("/metrics")
		return len(vital.FindAllString(page, -1)) == 9, page
	})
	if code, words := get("/v1/stream"); code != http.StatusForbidden || !strings.Contains(words, "client certificate") {
		t.Errorf("records over TCP: %d %.100s", code, words)
	}
	if code, words := get("/readyz"); code != http.StatusOK {
		t.Errorf("/readyz: %d %s", code, words)
	}
	a.knows(time.Now())
	a.stop()
	for _, bad := range []string{"9464", "0.0.0.0:9464", "192.0.2.1:80", "example.org:1"} {
		ran("serve", "--listen", bad).failed(t, exitUsage, "--listen: ")
	}
}
