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
	Remedies []remedy
}

type remedy struct{ Kind, Text, Command, Undo, Risk string }

// doctored runs doctor to its end, and checks what it writes against the schema.
func doctored(t *testing.T, cmd *exec.Cmd) verdict {
	t.Helper()
	o := ended(t, cmd)
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

// diagnose looks at one namespace.
func diagnose(t *testing.T, ns *kerneltest.NS, args ...string) verdict {
	t.Helper()
	kerneltest.RequireRoot(t)
	return doctored(t, command(append([]string{"doctor", "-o", "json", "--window", "3s", "-N", ns.Path()}, args...)...))
}

// of are the findings of a rule in a namespace.
func (v verdict) of(id string, ns *kerneltest.NS) (found []finding) {
	for _, x := range v.Checks {
		if x.ID == id && x.Scope.Netns == ns.Inum() {
			found = append(found, x)
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
	kerneltest.RequireRoot(t)
	healthy, full, most := narrow(t, 100), narrow(t, 100), narrow(t, 100)
	connect(t, full, 100)
	holdPorts(t, most, 85)
	for _, tt := range []struct {
		ns     *kerneltest.NS
		failOn string
		code   int
	}{
		{healthy, "warn", 0}, {healthy, "crit", 0}, {healthy, "info", 1}, // TW900 is a note
		{most, "info", 1}, {most, "warn", 1}, {most, "crit", 0},
		{full, "info", 2}, {full, "warn", 2}, {full, "crit", 2},
	} {
		v := diagnose(t, tt.ns, "--no-bpf", "--window", "100ms", "--fail-on", tt.failOn)
		if v.ExitCode != tt.code {
			t.Errorf("--fail-on %s: exit code %d, want %d:%s", tt.failOn, v.ExitCode, tt.code, v.words())
		}
		if want := map[*kerneltest.NS]string{healthy: "ok", most: "warn", full: "crit"}[tt.ns]; v.Verdict != want {
			t.Errorf("--fail-on %s: verdict %s, want %s: it is not the exit code's", tt.failOn, v.Verdict, want)
		}
	}
	for _, args := range [][]string{{"--fail-on", "bad"}, {"--brief", "-o", "json"}, {"--window", "0s"}, {"--from", "1s"}, {"-N", "bogus"}} {
		o := ended(t, command(append([]string{"doctor"}, args...)...))
		o.failed(t, 3)
		o.silent(t)
	}
}

// TestDoctorFormats: a pipe gets no escapes, and every format the same verdict.
func TestDoctorFormats(t *testing.T) {
	t.Parallel()
	kerneltest.RequireRoot(t)
	ns := narrow(t, 100)
	connect(t, ns, 100)
	for format, want := range map[string][]string{
		"":        {"\nhost\n  CRIT  TW101 ports held by TIME_WAIT\n", "holds 100 of 100 ports", "undo: nsenter", "explain TW101", "Exit status 2.\n"},
		"--brief": {"CRIT TW101  ports to 127.0.0.1:", "are used up", "Exit status 2.\n"},
		"-o=md":   {"# twtrace doctor: crit\n", "| CRIT | TW101 |", "\n## CRIT TW101: ", "  ```\n  nsenter", "| evidence |", "Exit status 2.\n"},
	} {
		args := []string{"doctor", "--no-bpf", "--window", "100ms", "-N", ns.Path()}
		if format != "" {
			args = append(args, format)
		}
		cmd := command(args...)
		cmd.Env = append(cmd.Env, "CLICOLOR_FORCE=")
		o := ended(t, cmd)
		if o.code != 2 || o.stderr != "" || strings.ContainsRune(o.stdout, '\x1b') {
			t.Errorf("%s: exit code %d, stderr %q, stdout %q", format, o.code, o.stderr, o.stdout)
		}
		for _, w := range want {
			if !strings.Contains(o.stdout, w) {
				t.Errorf("%s: no %q in\n%s", format, w, o.stdout)
			}
		}
		if format == "--brief" && strings.Count(o.stdout, "\n") != 2 {
			t.Errorf("brief: %s", o.stdout)
		}
	}
}

// TestDoctorOwner: while it goes on, the destination, who does it, and when it fails.
func TestDoctorOwner(t *testing.T) {
	t.Parallel()
	ns := narrow(t, 2000)
	load := onStage(t, ns, caller("check out", 40, workload.HalfClose, one), database)
	awaitSockets(t, ns, 100, "state", "time-wait")
	v := diagnose(t, ns)
	found := v.of("TW101", ns)
	if !v.Traced || len(found) != 1 || v.ExitCode != 2 {
		t.Fatalf("traced %v, exit code %d:%s", v.Traced, v.ExitCode, v.words())
	}
	x := found[0]
	s := x.Scope
	if s.Comm != "check out" || s.PID != uint32(load.Clients[0].PID()) || s.Laddr != "127.0.0.1" || s.Raddr != "127.0.0.7" || s.Rport != 3306 {
		t.Errorf("scope %+v, want check out[%d] -> 127.0.0.7:3306", s, load.Clients[0].PID())
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
		go func() { both <- diagnose(t, ns) }()
	}
	for range 2 {
		if v := <-both; len(v.of("TW101", ns)) != 1 || v.of("TW101", ns)[0].Scope.Comm != "checkout" || !v.Traced {
			t.Errorf("traced %v:%s", v.Traced, v.words())
		}
	}
}

// TestDoctorWithoutRights says what it can find, and what it could not see.
func TestDoctorWithoutRights(t *testing.T) {
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

// TestPreflight says what check says.
func TestPreflight(t *testing.T) {
	t.Parallel()
	kerneltest.RequireRoot(t)
	v := doctored(t, command("doctor", "--preflight", "-o", "json"))
	if v.Verdict != "ok" || len(v.Checks) < 5 || v.Checks[0].ID != "TWD001" || v.Checks[0].Status != "ok" {
		t.Errorf("%+v", v)
	}
	for _, x := range v.Checks {
		if x.Group != "trace" {
			t.Errorf("%s is of group %s", x.ID, x.Group)
		}
	}
	for _, r := range fewerRights() {
		t.Run(r.name, func(t *testing.T) {
			t.Parallel()
			v := doctored(t, r.command(t, "doctor", "--preflight", "-o", "json"))
			last := v.Checks[len(v.Checks)-1]
			if v.ExitCode != 2 || last.Status != "crit" {
				t.Errorf("exit code %d, %+v", v.ExitCode, last)
			}
		})
	}
}

// TestDoctorKilled kills it while it watches; a signal that it may catch has it tell
// what it has seen so far.
func TestDoctorKilled(t *testing.T) {
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
			if signal == os.Interrupt && (cmd.ProcessState.ExitCode() != 2 || !strings.HasPrefix(out.String(), "CRIT TW101  ")) {
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
