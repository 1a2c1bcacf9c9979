package main

import (
	"bytes"
	"encoding/json"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/twtrace/twtrace/internal/event"
	"github.com/twtrace/twtrace/internal/kernel"
	"github.com/twtrace/twtrace/internal/kerneltest"
	"github.com/twtrace/twtrace/internal/workload"
)

// asTwtrace in the environment turns the test binary into twtrace, so that the
// tests run the real command line in a process of its own.
const asTwtrace = "TWTRACE_TEST_RUN"

// hooksVariable in the environment chooses the hook set for every trace of the
// tests: the kernel matrix runs them with each.
const hooksVariable = "TWTRACE_TEST_HOOKS"

func TestMain(m *testing.M) {
	workload.Main()
	if os.Getenv(asTwtrace) != "" {
		os.Unsetenv(asTwtrace)
		signal.Notify(make(chan os.Signal, 1), unix.SIGPIPE)
		os.Exit(run(append([]string{"twtrace"}, os.Args[1:]...), os.Stdout, os.Stderr))
	}
	os.Exit(m.Run())
}

// record is a line of JSON output, as a reader of the contract would declare it.
type record struct {
	Time       time.Time
	Event      string
	Cookie     string
	Netns      uint32
	IP         int
	Laddr      netip.Addr
	Lport      uint16
	Raddr      netip.Addr
	Rport      uint16
	Role       string
	Closer     string
	PID        uint32
	Comm       string
	Owner      string
	OpenerPID  uint32 `json:"opener_pid"`
	OpenerComm string `json:"opener_comm"`
	AcceptPID  uint32 `json:"accepter_pid"`
	AcceptComm string `json:"accepter_comm"`
	CloserPID  uint32 `json:"closer_pid"`
	CloserComm string `json:"closer_comm"`
	PIDStart   uint64 `json:"pid_start"`
	UID        *uint32
	PPID       uint32
	PComm      string
	Cmdline    string
	Exe        string
	Cgroup     string
	Unit       string
	Container  string
	Runtime    string
	Pod        string
	Unnamed    map[string]uint64
	Oldstate   string
	Newstate   string
	Reason     string
	LifeNs     int64 `json:"life_ns"`
	StateNs    int64 `json:"state_ns"`
	Rearms     int
	Errno      string
	Call       string
	Severity   string
	Count      uint64
	Stage      string

	// On start and end.
	Hooks   []string
	Missing []string
	Births  uint64
	Parked  uint64
	Promote uint64 `json:"promoted"`
	Begins  uint64
	Ends    map[string]uint64
	Refused uint64
	Alive   uint64
	Lost    map[string]uint64
	Drift   []struct {
		Netns                          uint32
		Births, Reused, Refused, Alive int64
	}
	Why string
}

// command is twtrace with args, not yet started.
func command(args ...string) *exec.Cmd {
	cmd := exec.Command("/proc/self/exe", args...)
	cmd.Env = append(os.Environ(), asTwtrace+"=1")
	cmd.SysProcAttr = &unix.SysProcAttr{Pdeathsig: unix.SIGKILL}
	return cmd
}

// trace is a running `twtrace trace -o json` that writes to a file, so that a slow
// reader cannot hold it up.
type trace struct {
	t      testing.TB
	cmd    *exec.Cmd
	stderr talk
	out    *os.File

	unread  []byte // an incomplete line
	records []record
}

// talk is what a process says on stderr, readable while it runs.
type talk struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (w *talk) Write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.buf.Write(b)
}

func (w *talk) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.buf.String()
}

// patience is for what should happen at once, on a busy machine too. In a VM under
// software emulation on a busy host, attaching trampolines alone may take a minute.
var patience = func() time.Duration {
	if kerneltest.InVM() {
		return 8 * time.Minute
	}
	return 2 * time.Minute
}()

// startTrace starts a trace and returns once its start record was read.
func startTrace(t testing.TB, args ...string) *trace {
	t.Helper()
	kerneltest.RequireRoot(t)
	name := filepath.Join(t.TempDir(), "trace")
	file, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	args = append([]string{"trace", "-o", "json"}, args...)
	if set := os.Getenv(hooksVariable); set != "" {
		args = append(args, "--hooks", set)
	}
	tr := &trace{t: t, cmd: command(args...)}
	tr.cmd.Stdout, tr.cmd.Stderr = file, &tr.stderr
	if tr.out, err = os.Open(name); err != nil {
		t.Fatal(err)
	}
	if err := tr.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { tr.cmd.Process.Kill(); tr.out.Close() })
	kerneltest.Eventually(t, patience, func() (bool, string) {
		all := tr.all()
		return len(all) > 0 && all[0].Event == "start", "no start record; stderr: " + tr.stderr.String()
	})
	return tr
}

// all returns the records so far.
func (tr *trace) all() []record {
	tr.t.Helper()
	more, err := io.ReadAll(tr.out)
	if err != nil {
		tr.t.Fatal(err)
	}
	tr.unread = append(tr.unread, more...)
	for {
		line, rest, ok := bytes.Cut(tr.unread, []byte("\n"))
		if !ok {
			return tr.records
		}
		var rec record
		if err := json.Unmarshal(line, &rec); err != nil {
			tr.t.Fatalf("%v in %s", err, line)
		}
		tr.records = append(tr.records, rec)
		tr.unread = rest
	}
}

// count returns how many records satisfy f.
func (tr *trace) count(f func(record) bool) int {
	n := 0
	for _, r := range tr.all() {
		if f(r) {
			n++
		}
	}
	return n
}

// of returns the records of one event in one namespace.
func (tr *trace) of(event string, netns uint32) []record {
	var out []record
	for _, r := range tr.all() {
		if r.Event == event && r.Netns == netns {
			out = append(out, r)
		}
	}
	return out
}

// skipped is how many transitions the trace says that it has not seen, so far.
func (tr *trace) skipped() int {
	n := 0
	for _, r := range tr.all() {
		if r.Event == "lost" && r.Stage == "recursion" {
			n += int(r.Count)
		}
	}
	return n
}

// ownerBy is how the owner of a socket is best known with the hooks in use.
func (tr *trace) ownerBy(role event.Role) string {
	switch {
	case role == event.Client:
		return "connect"
	case tr.hooked("sock_accept"), tr.hooked("exit_accept"):
		return "accept"
	}
	return "close"
}

// hooked reports whether the trace uses a hook.
func (tr *trace) hooked(name string) bool { return slices.Contains(tr.all()[0].Hooks, name) }

// stop ends the trace with SIGINT and returns its end record.
func (tr *trace) stop() record {
	tr.t.Helper()
	if err := tr.cmd.Process.Signal(unix.SIGINT); err != nil {
		tr.t.Fatal(err)
	}
	return tr.wait()
}

// wait waits for the end of the trace, which must be a good one.
func (tr *trace) wait() record {
	tr.t.Helper()
	if err := tr.cmd.Wait(); err != nil {
		tr.t.Errorf("twtrace: %v; stderr: %s", err, tr.stderr.String())
	}
	all := tr.all()
	last := all[len(all)-1]
	if last.Event != "end" {
		tr.t.Fatalf("the last record is %q, want end", last.Event)
	}
	return last
}

// fewSkipped is how many skipped transitions a test puts up with: one in 100,000 is what
// is promised, and its trace counts those of all tests that run meanwhile, which make some
// two million.
const fewSkipped = 20

// fewEmulated is that in the VM since 7.0, where a program can be preempted. Emulated,
// programs take so much of the time that ticks often find a task within one, and of the six
// behind each other all may be taken at once, until those tasks run again: up to 129 of the
// 100,000 transitions that TestHotplug makes have been seen skipped.
const fewEmulated = 1000

// checkLost wants nothing lost but a few transitions, which are not among the begins
// and ends of TIME_WAIT.
func checkLost(t testing.TB, end record) {
	t.Helper()
	checkLosses(t, end.Lost)
}

func checkLosses(t testing.TB, lost map[string]uint64) {
	t.Helper()
	host, err := kernel.ThisHost()
	if err != nil {
		t.Fatal(err)
	}
	few := uint64(fewSkipped)
	if kerneltest.InVM() && host.Release[0] >= '7' {
		few = fewEmulated
	}
	for stage, n := range lost {
		if stage == "recursion" && n <= few {
			t.Logf("%d transitions skipped on Linux %s", n, host.Release)
		} else {
			t.Errorf("lost: %d (%s)", n, stage)
		}
	}
}

// hold keeps a process in the namespace, so that others can find it there.
func hold(t testing.TB, ns *kerneltest.NS) {
	t.Helper()
	ns.Start(t, exec.Command("sleep", "1000"))
}

// twtrace runs a command to its end.
func twtrace(t testing.TB, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	cmd := command(args...)
	var out, errs strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		if _, ok := err.(*exec.ExitError); !ok {
			t.Fatal(err)
		}
	}
	return out.String(), errs.String(), cmd.ProcessState.ExitCode()
}
