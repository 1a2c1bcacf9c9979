package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/twtrace/twtrace/internal/kernel"
	"github.com/twtrace/twtrace/internal/kerneltest"
	"github.com/twtrace/twtrace/internal/workload"
)

// verdict is what `doctor -o json` says, as a reader of its schema would declare it.
type verdict struct {
	Time       time.Time
	Verdict    string
	ExitCode   int `json:"exit_code"`
	Namespaces []struct {
		Netns uint32
		Name  string
	}
	Traced bool
	Lost   uint64 `json:"lost_events"`
	Checks []finding
}

type finding struct {
	ID, Group, Status, Title, What, Who, When, Reason string
	Scope                                             struct {
		Netns, PID         uint32
		Comm, Laddr, Raddr string
		Rport              uint16
	}
	Forecast *struct {
		Event string
		InS   float64 `json:"in_s"`
	}
	Remedies     []remedy
	Consequences []finding
	Contributors []contributor
}

type contributor struct {
	Role, Comm string
	PID        uint32
	Processes  int
	N          uint64
	Share      float64
	PerS       float64 `json:"per_s"`
	Victim     bool
}

type remedy struct{ Kind, Text, Command, Undo, Risk string }

// doctored runs doctor to its end, and checks what it writes against the schema.
func doctored(t *testing.T, cmd *exec.Cmd) verdict {
	t.Helper()
	return verdictOf(t, ended(t, cmd))
}

// verdictOf checks what doctor wrote against the schema.
func verdictOf(t *testing.T, o outcome) verdict {
	t.Helper()
	if o.stderr != "" {
		t.Errorf("stderr: %s", o.stderr)
	}
	schema, err := jsonschema.NewCompiler().Compile("../../docs/doctor.schema.json")
	must(t, err)
	document, err := jsonschema.UnmarshalJSON(strings.NewReader(o.stdout))
	if err != nil {
		t.Fatalf("%v in %q", err, o.stdout)
	}
	if err := schema.Validate(document); err != nil {
		t.Error(err)
	}
	var v verdict
	must(t, json.Unmarshal([]byte(o.stdout), &v))
	if o.code != v.ExitCode {
		t.Errorf("exit code %d, the report says %d", o.code, v.ExitCode)
	}
	return v
}

// inspected is a diagnosis of one namespace.
func inspected(t *testing.T, ns *kerneltest.NS, args ...string) verdict {
	t.Helper()
	kerneltest.RequireRoot(t)
	return doctored(t, command(append([]string{"doctor", "-o", "json", "--window", "3s", "-N", ns.Path()}, args...)...))
}

// of are the findings of a rule in a namespace, also those under others.
func (v verdict) of(id string, ns *kerneltest.NS) []finding { return v.in(id, ns.Inum()) }

func (v verdict) in(id string, netns uint32) (found []finding) {
	for _, x := range v.Checks {
		for _, x := range append([]finding{x}, x.Consequences...) {
			if x.ID == id && x.Scope.Netns == netns {
				found = append(found, x)
			}
		}
	}
	return found
}

// has tells whether a rule found something, anywhere.
func (v verdict) has(id string) bool {
	return slices.ContainsFunc(v.Checks, func(x finding) bool { return x.ID == id })
}

// alarms are the rules that found something that needs care, with how bad it is.
func (v verdict) alarms() (all []string) {
	for _, x := range v.Checks {
		if x.Status == "warn" || x.Status == "crit" {
			all = append(all, x.ID+" "+x.Status)
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// words are the findings, for an error message.
func (v verdict) words() string {
	var b strings.Builder
	for _, x := range v.Checks {
		if x.Group == "host" {
			fmt.Fprintf(&b, "\n%s %s %s: %s; %s; %s", x.Status, x.ID, x.Title, x.What, x.Who, x.When)
		}
	}
	return b.String()
}

// narrow is a namespace with so many ports, in which none is reused.
func narrow(t *testing.T, ports int) *kerneltest.NS {
	t.Helper()
	ns := kerneltest.NetNS(t)
	ns.Sysctl(t, "net.ipv4.ip_local_port_range", fmt.Sprintf("40000 %d", 40000+ports-1))
	ns.Sysctl(t, "net.ipv4.tcp_tw_reuse", "0")
	ns.KeepTimeWait(t)
	return ns
}

// onStage has a load go on until the test ends, or it is stopped.
func onStage(t *testing.T, ns *kerneltest.NS, client, server workload.Spec) *workload.Running {
	t.Helper()
	r, err := workload.Scenario{Server: server, Client: client, Clients: 1}.Start(t.Context(), ns.Path())
	must(t, err)
	t.Cleanup(func() { _, _ = r.Stop() }) // it may have ended
	must(t, r.Go())
	return r
}

// holdPorts has so many connections stay open.
func holdPorts(t *testing.T, ns *kerneltest.NS, n int) {
	t.Helper()
	c := caller("holder", 0, workload.Hold, one)
	c.Connect.Count = n
	onStage(t, ns, c, database)
	awaitSockets(t, ns, n, "state", "established", "dport", "=", ":3306")
}

func awaitSockets(t *testing.T, ns *kerneltest.NS, n int, filter ...string) {
	t.Helper()
	kerneltest.Eventually(t, patience, func() (bool, string) {
		got := len(ns.Sockets(t, filter...))
		return got >= n, fmt.Sprintf("%d sockets, want %d", got, n)
	})
}

// TestDoctorExitCodes: as monitoring plugins have them, and as --fail-on says.
func TestDoctorExitCodes(t *testing.T) {
	t.Parallel()
	noted := recordedFrom(t, played(20000, 10*time.Second, busyClient(40))) // TW201 is a note
	most := recordedFrom(t, played(100, 10*time.Second, until(5*time.Second, busyClient(17))))
	full := recordedFrom(t, exhausting())
	for _, tt := range []struct {
		file   string
		failOn string
		code   int
	}{
		{noted, "warn", 0}, {noted, "crit", 0}, {noted, "info", 1},
		{most, "info", 1}, {most, "warn", 1}, {most, "crit", 0},
		{full, "info", 2}, {full, "warn", 2}, {full, "crit", 2},
	} {
		v := verdictOf(t, ran("doctor", "-o", "json", "-r", tt.file, "--fail-on", tt.failOn))
		if v.ExitCode != tt.code {
			t.Errorf("--fail-on %s: exit code %d, want %d:%s", tt.failOn, v.ExitCode, tt.code, v.words())
		}
		if want := map[string]string{noted: "ok", most: "warn", full: "crit"}[tt.file]; v.Verdict != want {
			t.Errorf("--fail-on %s: verdict %s, want %s: it is not the exit code's", tt.failOn, v.Verdict, want)
		}
	}
	for _, args := range [][]string{{"--fail-on", "bad"}, {"--brief", "-o", "json"}, {"--all", "-o", "json"}, {"--window", "0s"}, {"--from", "1s"}, {"-N", "bogus"}} {
		o := ran(append([]string{"doctor"}, args...)...)
		o.failed(t, 3)
		o.silent(t)
	}
}

// TestDoctorFormats: a pipe gets no escapes, and every format the same verdict.
func TestDoctorFormats(t *testing.T) {
	t.Setenv("CLICOLOR_FORCE", "")
	file := recordedFrom(t, exhausting())
	for format, want := range map[string][]string{
		"":        {"CRITICAL TW101 net:[4026531840]: ports to 127.0.0.7:3306 are used up", "\nhost\n  CRIT  TW101 ports held by TIME_WAIT\n", "holds 300 of 300 ports", "\n        undo\nnsenter --net=", "explain TW101", "Exit status 2.\n"},
		"--brief": {"CRITICAL TW101 net:[4026531840]: ports to 127.0.0.7:3306", "are used up", "\n  now    the next line; undo: the one after it\nnsenter --net=", "Exit status 2.\n"},
		"-o=md":   {"# twtrace doctor: crit\n", "| CRIT | TW101 |", "\n## CRIT TW101: ", "  ```\n  nsenter --net=", "| evidence |", "Exit status 2.\n"},
	} {
		args := []string{"doctor", "-r", file}
		if format != "" {
			args = append(args, format)
		}
		o := ran(args...)
		if o.code != 2 || o.stderr != "" || strings.ContainsRune(o.stdout, '\x1b') {
			t.Errorf("%s: exit code %d, stderr %q, stdout %q", format, o.code, o.stderr, o.stdout)
		}
		for _, w := range want {
			if !strings.Contains(o.stdout, w) {
				t.Errorf("%s: no %q in\n%s", format, w, o.stdout)
			}
		}
		if format == "--brief" && strings.Count(o.stdout, "\n") > 8 { // the verdict, of TW101 with TW201
			t.Errorf("brief: %s", o.stdout)
		}
	}
}

// TestDoctorOwner: while it goes on, the destination, who does it, and when it fails.
// TestDoctorRulesTraced has the kernel do so.
func TestDoctorOwner(t *testing.T) {
	t.Parallel()
	ns, err := kernel.CurrentNetNS()
	must(t, err)
	src, err := inOwnNetNS(played(600, 10*time.Second, busyClient(40)))
	must(t, err)
	v := verdictOf(t, over(t, src, "doctor", "-o", "json", "--window", "3s", "-N", ownNetNS))
	found := v.in("TW101", ns.Inum)
	if !v.Traced || len(found) != 1 || v.ExitCode != 2 {
		t.Fatalf("traced %v, exit code %d:%s", v.Traced, v.ExitCode, v.words())
	}
	x := found[0]
	s := x.Scope
	if s.Comm != madeClient.Comm || s.PID != madeClient.PID || s.Laddr != "127.0.0.1" || s.Raddr != "127.0.0.7" || s.Rport != 3306 {
		t.Errorf("scope %+v, want %s[%d] -> 127.0.0.7:3306", s, madeClient.Comm, madeClient.PID)
	}
	if x.Forecast == nil || x.Forecast.Event != "ports_exhausted" || x.Forecast.InS <= 0 {
		t.Errorf("forecast %+v", x.Forecast)
	}
	if v.Lost != 0 {
		t.Errorf("%d lost", v.Lost)
	}
}

// TestDoctorTwice: two at a time see the same.
func TestDoctorTwice(t *testing.T) {
	t.Parallel()
	kerneltest.RequireRoot(t)
	ns := narrow(t, 600)
	onStage(t, ns, caller("checkout", 40, workload.HalfClose, one), database)
	awaitSockets(t, ns, 100, "state", "time-wait")
	both := make(chan verdict)
	for range 2 {
		go func() { both <- inspected(t, ns) }()
	}
	for range 2 {
		if v := <-both; len(v.of("TW101", ns)) != 1 || v.of("TW101", ns)[0].Scope.Comm != "checkout" || !v.Traced {
			t.Errorf("traced %v:%s", v.Traced, v.words())
		}
	}
}

// TestDoctorWithoutRightsTraced says what it can find, and what it could not see.
func TestDoctorWithoutRightsTraced(t *testing.T) {
	t.Parallel()
	ns := narrow(t, 100)
	connect(t, ns, 100)
	for _, r := range fewerRights() {
		t.Run(r.name, func(t *testing.T) { // while TIME_WAIT lasts, so none waits for other tests
			cmd := r.command(t, "doctor", "-o", "json", "--window", "200ms")
			var v verdict
			must(t, ns.NetNS().Do(func() error { // ended starts it from this very thread
				v = doctored(t, cmd)
				return nil
			}))
			found := v.of("TW101", ns)
			if v.Traced || v.ExitCode != 2 || len(found) != 1 || !v.has("TW900") {
				t.Errorf("traced %v, exit code %d:%s", v.Traced, v.ExitCode, v.words())
			}
			if first := v.Checks[slices.IndexFunc(v.Checks, func(x finding) bool { return x.Group == "trace" })]; first.Status != "skip" {
				t.Errorf("%+v", first)
			} else {
				for _, w := range r.words {
					if !strings.Contains(first.Title, w) {
						t.Errorf("the reason lacks %q: %s", w, first.Title)
					}
				}
			}
		})
	}
}

// TestPreflight: what check says, in the words and with the exit code of a diagnosis, with
// the rights there are.
func TestPreflight(t *testing.T) {
	t.Parallel()
	v := verdictOf(t, ran("doctor", "--preflight", "-o", "json"))
	check := ran("check", "-o", "csv")
	if can := check.code == exitOK; can != (v.ExitCode == 0) || can != (v.Verdict == "ok") {
		t.Errorf("check: exit code %d; the preflight has %d and says %s", check.code, v.ExitCode, v.Verdict)
	}
	if len(v.Checks) == 0 || v.Checks[0].ID != "TWD001" {
		t.Fatalf("%+v", v)
	}
	for _, x := range v.Checks {
		if x.Group != "trace" {
			t.Errorf("%s is of group %s", x.ID, x.Group)
		}
		name, reason, _ := strings.Cut(x.Title, ": ")
		if !strings.Contains(check.stdout, reason) || x.ID < "TWD008" && !strings.Contains(check.stdout, name) {
			t.Errorf("check says nothing of %q: %s", x.Title, check.stdout)
		}
	}
	refusedPreflight(t, fewerRights()[0])
}

// TestPreflightTraced: root can trace, and with fewer rights cannot.
func TestPreflightTraced(t *testing.T) {
	t.Parallel()
	kerneltest.RequireRoot(t)
	v := doctored(t, command("doctor", "--preflight", "-o", "json"))
	if v.Verdict != "ok" || len(v.Checks) < 5 || v.Checks[0].ID != "TWD001" || v.Checks[0].Status != "ok" {
		t.Errorf("%+v", v)
	}
	for _, r := range fewerRights()[1:] {
		t.Run(r.name, func(t *testing.T) {
			t.Parallel()
			refusedPreflight(t, r)
		})
	}
}

// refusedPreflight is one with fewer rights than a trace needs.
func refusedPreflight(t *testing.T, r rights) {
	t.Helper()
	v := doctored(t, r.command(t, "doctor", "--preflight", "-o", "json"))
	last := v.Checks[len(v.Checks)-1]
	if v.ExitCode != 2 || last.Status != "crit" {
		t.Errorf("exit code %d, %+v", v.ExitCode, last)
	}
	for _, x := range v.Checks {
		if x.Group != "trace" {
			t.Errorf("%s is of group %s", x.ID, x.Group)
		}
	}
}

// TestDoctorKilledTraced kills it while it watches; a signal that it may catch has it tell
// what it has seen so far.
func TestDoctorKilledTraced(t *testing.T) {
	t.Parallel()
	kerneltest.RequireRoot(t)
	for _, signal := range []os.Signal{os.Kill, os.Interrupt} {
		t.Run(signal.String(), func(t *testing.T) {
			t.Parallel()
			ns := narrow(t, 600)
			cmd := command("doctor", "--window", "10m", "--brief", "-N", ns.Path())
			var out strings.Builder
			cmd.Stdout, cmd.Stderr = &out, os.Stderr
			must(t, cmd.Start())
			defer expire(cmd)()
			var held map[kernelObject]bool
			kerneltest.Eventually(t, patience, func() (bool, string) {
				held = kernelObjects(t, cmd.Process.Pid)
				return attachedTo(held) > 10, fmt.Sprintf("%d objects", len(held))
			})
			onStage(t, ns, caller("checkout", 40, workload.HalfClose, one), database)
			awaitSockets(t, ns, 400, "state", "time-wait")
			held = kernelObjects(t, cmd.Process.Pid)
			must(t, cmd.Process.Signal(signal))
			_ = cmd.Wait() // the exit code says it
			nothingLeft(t, held)
			if signal == os.Interrupt && (cmd.ProcessState.ExitCode() != 2 || !strings.HasPrefix(out.String(), "CRITICAL TW101 ")) {
				t.Errorf("exit code %d, stdout %s", cmd.ProcessState.ExitCode(), out.String())
			}
		})
	}
}

// attachedTo is how many points of the kernel programs are attached to.
func attachedTo(held map[kernelObject]bool) (n int) {
	for o := range held {
		if o.kind == "link" {
			n++
		}
	}
	return n
}
