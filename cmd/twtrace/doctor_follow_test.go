package main

import (
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twtrace/twtrace/internal/kernel"
	"github.com/twtrace/twtrace/internal/kerneltest"
	"github.com/twtrace/twtrace/internal/workload"
)

// settings are the limits of namespaces, this one's first.
func settings(t *testing.T, others ...*kerneltest.NS) (all []kernel.Limits) {
	t.Helper()
	here, err := kernel.CurrentNetNS()
	must(t, err)
	limits, err := here.Limits()
	must(t, err)
	all = append(all, limits)
	for _, ns := range others {
		n, err := kernel.FindNetNS(ns.Path())
		must(t, err)
		limits, err := n.Limits()
		must(t, err)
		all = append(all, limits)
	}
	return all
}

// paste runs a command of a finding as a user would, in the shell of the host.
func paste(t *testing.T, command string) {
	t.Helper()
	if out, err := exec.Command("sh", "-c", command).CombinedOutput(); err != nil {
		t.Errorf("%s: %v: %s", command, err, out)
	}
}

// commands are the remedies for now that have one.
func (x finding) commands() (all []remedy) {
	for _, r := range x.Remedies {
		if r.Kind == "now" && r.Command != "" {
			all = append(all, r)
		}
	}
	return all
}

// followed runs each command that is advised in ns, runs check, and takes the command
// back. Neither may change anything elsewhere.
func followed(t *testing.T, ns *kerneltest.NS, x finding, check func(r remedy)) {
	t.Helper()
	other := narrow(t, 100)
	hold(t, other)
	before := settings(t, ns, other)
	for _, r := range x.commands() {
		t.Logf("%s", r.Command)
		paste(t, r.Command)
		after := settings(t, ns, other)
		if after[1] == before[1] {
			t.Errorf("%s changes nothing", r.Command)
		}
		if after[0] != before[0] || after[2] != before[2] {
			t.Errorf("%s changes another namespace: %+v, before %+v", r.Command, after, before)
		}
		check(r)
		paste(t, r.Undo)
		for i, limits := range settings(t, ns, other) {
			if limits != before[i] {
				t.Errorf("namespace %d after %s: %+v, before %+v", i, r.Undo, limits, before[i])
			}
		}
	}
}

// TestFollowAdviceTraced: each thing that helps now makes the finding go away, while the load goes on.
func TestFollowAdviceTraced(t *testing.T) {
	t.Parallel()
	kerneltest.RequireRoot(t)
	for _, tt := range []struct {
		id       string
		ports    int
		buckets  string // tcp_max_tw_buckets, if it is to be set
		load     workload.Spec
		timeWait int // of them so many before the look
		commands int // that help
	}{
		{"TW101", 300, "", caller("checkout", 20, workload.HalfClose, one), 200, 2},
		{"TW205", 20000, "100", caller("worker", 60, workload.HalfClose, one), 100, 1},
	} {
		t.Run(tt.id, func(t *testing.T) {
			t.Parallel()
			ns := narrow(t, tt.ports)
			if tt.buckets != "" {
				ns.Sysctl(t, "net.ipv4.tcp_max_tw_buckets", tt.buckets)
			}
			onStage(t, ns, tt.load, database)
			awaitSockets(t, ns, tt.timeWait, "state", "time-wait")
			found := inspected(t, ns).of(tt.id, ns)
			if len(found) != 1 || found[0].Status != "crit" || len(found[0].commands()) != tt.commands {
				t.Fatalf("%+v", found)
			}
			followed(t, ns, found[0], func(r remedy) {
				v := inspected(t, ns)
				for _, x := range v.of(tt.id, ns) {
					if x.Status == "warn" || x.Status == "crit" {
						t.Errorf("after %s:%s", r.Command, v.words())
					}
				}
			})
		})
	}
}

// TestScenarioFixPorts: a curl for every request is TW101, and one that reuses its connection, as
// advised, is not.
func TestScenarioFixPorts(t *testing.T) {
	t.Parallel()
	kerneltest.RequireRoot(t)
	for load, alarm := range map[string]bool{
		"while :; do curl -s -o /dev/null " + served + "; done": true,
		"curl -s -o /dev/null '" + served + "[1-100000000]'":    false,
	} {
		a := &act{stage: &stage{}, ns: narrow(t, 30), dir: t.TempDir()}
		nginx(t, a, true)
		a.start(t, "nice", "-n", "10", "sh", "-c", load)
		if alarm {
			awaitSockets(t, a.ns, 15, "state", "time-wait")
		} else {
			awaitSockets(t, a.ns, 1, "state", "established", "dport", "=", ":8081")
		}
		v := inspected(t, a.ns)
		found := v.of("TW101", a.ns)
		if alarm != (len(found) == 1 && v.ExitCode > 0) || !alarm && v.ExitCode != 0 {
			t.Errorf("%s: exit code %d%s", load, v.ExitCode, v.words())
		}
		for _, x := range found {
			if !slices.ContainsFunc(x.Remedies, func(r remedy) bool {
				return r.Kind == "fix" && strings.Contains(r.Text, "keep connections in the client")
			}) {
				t.Errorf("the fix is not named: %+v", x.Remedies)
			}
		}
	}
}

// TestFollowBindingTraced: clients that bind before they connect need a wider range, or have
// connect() choose the port.
func TestFollowBindingTraced(t *testing.T) {
	t.Parallel()
	kerneltest.RequireRoot(t)
	binder := bindsFirst(caller("binder", 30, workload.HalfClose, many))
	a := &act{ns: narrow(t, 200)}
	goesOn(leaking(binder), servers)(t, a)
	awaitSockets(t, a.ns, 180, "state", "time-wait")
	v := inspected(t, a.ns)
	found := v.of("TW102", a.ns)
	if len(found) != 1 || found[0].Status != "crit" || len(found[0].commands()) != 1 {
		t.Fatalf("%+v", found)
	}
	followed(t, a.ns, found[0], func(r remedy) {
		if v := inspected(t, a.ns); len(v.of("TW102", a.ns)) > 0 {
			t.Errorf("after %s:%s", r.Command, v.words())
		}
	})
	fixed := &act{ns: narrow(t, 200)}
	binder.Connect.LatePort = true
	goesOn(leaking(binder), servers)(t, fixed)
	awaitSockets(t, fixed.ns, 210, "state", "time-wait")
	if v := inspected(t, fixed.ns); v.ExitCode != 0 || len(v.of("TW102", fixed.ns)) > 0 {
		t.Errorf("with IP_BIND_ADDRESS_NO_PORT: exit code %d%s", v.ExitCode, v.words())
	}
}

// TestScenarioFixPool: a client of MariaDB that connects for every query lacks a pool, and with
// one it does not.
func TestScenarioFixPool(t *testing.T) {
	t.Parallel()
	kerneltest.RequireRoot(t)
	databases := t.TempDir()
	installMariaDB(t, databases)
	for _, pooled := range []bool{false, true} {
		a := &act{stage: &stage{database: databases}, ns: kerneltest.NetNS(t), dir: t.TempDir()}
		mariadb(t, a)
		queries(t, a, pooled)
		v := inspected(t, a.ns)
		found := v.of("TW201", a.ns)
		if (len(found) == 1) == pooled || len(found) == 1 && found[0].Scope.Comm != "mariadb-slap" {
			t.Errorf("pooled %v:%s", pooled, v.words())
		}
	}
}

// queries has a client of MariaDB go on, which keeps its connections if pooled.
func queries(t *testing.T, a *act, pooled bool) {
	t.Helper()
	args := []string{"-n", "10", "mariadb-slap", "--no-defaults", "-h", "127.0.0.1", "--create-schema=information_schema",
		"--concurrency=4", "--number-of-queries=10000000", "--query=select 1"}
	state := "established"
	if !pooled {
		args, state = append(args, "--detach=1"), "time-wait"
	}
	a.start(t, "nice", args...)
	awaitSockets(t, a.ns, 4, "state", state)
}

// TestForecastTraced: when the verdict says that connect() fails, it does, within 15 %.
func TestForecastTraced(t *testing.T) {
	kerneltest.RequireRoot(t)
	ns := narrow(t, 600)
	c := caller("checkout", 25, workload.HalfClose, one)
	c.Connect.Fails = 1
	r := onStage(t, ns, c, database)
	awaitSockets(t, ns, 200, "state", "time-wait")
	v := inspected(t, ns)
	found := v.of("TW101", ns)
	if len(found) != 1 || found[0].Forecast == nil {
		t.Fatalf("no forecast:%s", v.words())
	}
	_, err := r.Wait()
	must(t, err)
	truth := time.Since(v.Time).Seconds()
	if off := found[0].Forecast.InS/truth - 1; off < -0.15 || off > 0.15 {
		t.Errorf("the end was foreseen in %.1f s, and came after %.1f s", found[0].Forecast.InS, truth)
	} else {
		t.Logf("the end was foreseen in %.1f s, and came after %.1f s", found[0].Forecast.InS, truth)
	}
}
