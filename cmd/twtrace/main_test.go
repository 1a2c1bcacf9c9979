package main

import (
	"bytes"
	"encoding/json"
	"fmt"
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

	"github.com/twtrace/twtrace/internal/demo"
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

// endWith ends this process, as a signal would, when its parent has ended. PDEATHSIG does
// so when the thread that started it ends, and threads of the tests end with their network
// namespaces.
func endWith(parent int) {
	for os.Getppid() == parent {
		time.Sleep(time.Second / 2)
	}
	os.Exit(128 + int(unix.SIGKILL))
}

func TestMain(m *testing.M) {
	os.Setenv(variableOf("agent"), "off") // the tests do not read the agent of the host that runs them
	workload.Main()
	demo.Main()
	if mode := os.Getenv(asShop); mode != "" {
		shop(mode)
	}
	if os.Getenv(asTwtrace) != "" {
		os.Unsetenv(asTwtrace)
		go endWith(os.Getppid())
		signal.Notify(make(chan os.Signal, 1), unix.SIGPIPE)
		attach := attachKernel
		switch os.Getenv(asTraced) {
		case "piped":
			attach = attachPiped
		case "exhausting":
			attach = attachExhausting
		case "interrupted":
			attach = attachInterrupted
		}
		os.Exit(runOver(attach, append([]string{"twtrace"}, os.Args[1:]...), os.Stdout, os.Stderr))
	}
	code := m.Run()
	os.RemoveAll(shippedDir)
	os.Exit(code)
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
	Closer     string `json:"closed_by"`
	PID        uint32
	Comm       string
	Owner      string
	OpenerPID  uint32 `json:"opener_pid"`
	OpenerComm string `json:"opener_comm"`
	AcceptPID  uint32 `json:"accepter_pid"`
	AcceptComm string `json:"accepter_comm"`
	CloserPID  uint32 `json:"closer_pid"`
	CloserComm string `json:"closer_comm"`
	PIDStart   uint64 `json:"pid_start_ticks"`
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
	Unnamed    map[string]uint64 `json:"unnamed_by_cause"`
	Oldstate   string
	Newstate   string
	Reason     string
	LifeNs     int64 `json:"life_ns"`
	StateNs    int64 `json:"state_ns"`
	IdleNs     int64 `json:"idle_ns"`
	DataLost   bool  `json:"data_lost"`
	Rearms     int
	Errno      string
	Call       string
	Cause      string
	Severity   string
	Count      uint64
	Stage      string

	// On start and end.
	Hooks   []string
	Missing []string
	Births  uint64            `json:"births_total"`
	Parked  uint64            `json:"parked_total"`
	Promote uint64            `json:"promoted_total"`
	Begins  uint64            `json:"time_wait_enters_total"`
	Ends    map[string]uint64 `json:"time_wait_exits_by_reason"`
	Refused uint64            `json:"time_wait_refused_total"`
	Alive   uint64
	Lost    map[string]uint64 `json:"lost_by_stage"`
	Drift   []struct {
		Netns                          uint32
		Births, Reused, Refused, Alive int64
	}
	Why string `json:"stopped_by"`
}

// command is twtrace with args, not yet started.
func command(args ...string) *exec.Cmd {
	cmd := exec.Command("/proc/self/exe", args...)
	cmd.Env = append(os.Environ(), asTwtrace+"=1")
	cmd.SysProcAttr = &unix.SysProcAttr{}
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
	if set := os.Getenv(hooksVariable); set != "" {
		args = append(args, "--hooks", set)
	}
	return launch(t, command(append([]string{"trace", "-o", "json"}, args...)...))
}

// startPiped starts a trace of what is ordered, and returns once its start record was read.
func startPiped(t testing.TB, args ...string) (*trace, orders) {
	t.Helper()
	cmd, o := pipedCommand(t, append([]string{"trace", "-o", "json"}, args...)...)
	return launch(t, cmd), o
}

// launch starts the trace that cmd is.
func launch(t testing.TB, cmd *exec.Cmd) *trace {
	t.Helper()
	name := filepath.Join(t.TempDir(), "trace")
	file, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	tr := &trace{t: t, cmd: cmd}
	tr.cmd.Stdout, tr.cmd.Stderr = file, &tr.stderr
	if tr.out, err = os.Open(name); err != nil {
		t.Fatal(err)
	}
	if err := tr.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(tr.state())
		}
		tr.cmd.Process.Kill()
		tr.out.Close()
	})
	kerneltest.Eventually(t, patience, func() (bool, string) {
		all := tr.all()
		return len(all) > 0 && all[0].Event == "start", "no start record; stderr: " + tr.stderr.String()
	})
	return tr
}

// state says how far the trace is, for a test that has failed.
func (tr *trace) state() string {
	last := record{}
	if n := len(tr.records); n > 0 {
		last = tr.records[n-1]
	}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", tr.cmd.Process.Pid))
	if err != nil {
		stat = []byte(err.Error())
	}
	return fmt.Sprintf("the trace has %d records, the last a %s of %v; it is %v now: %.60s; stderr: %s",
		len(tr.records), last.Event, last.Time, time.Now().UTC(), stat, tr.stderr.String())
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

// emulated7 reports whether this is Linux 7.0 or later in the VM, whose CPUs are slow.
func emulated7(t testing.TB) bool {
	t.Helper()
	host, err := kernel.ThisHost()
	if err != nil {
		t.Fatal(err)
	}
	return kerneltest.InVM() && host.Release[0] >= '7'
}

func checkLosses(t testing.TB, lost map[string]uint64) {
	t.Helper()
	few := uint64(fewSkipped)
	if emulated7(t) {
		few = fewEmulated
	}
	for stage, n := range lost {
		if stage == "recursion" && n <= few {
			t.Logf("%d transitions skipped", n)
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
