package main

import (
	"fmt"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/twtrace/twtrace/internal/kerneltest"
	"github.com/twtrace/twtrace/internal/workload"
)

// churn is 50,000 connections of 8 workers over 80 destinations.
var churn = workload.Churn{Connections: 50000, Workers: 8, ServerWorkers: 8,
	To: workload.Destinations(20, 4), CountOnly: true}

// someChurn is less of it in the VM, whose size shows nothing more to a trace that
// loses events or compares tables.
func someChurn() workload.Churn {
	c := churn
	if kerneltest.InVM() {
		c.Connections = 20000
	}
	return c
}

// alone is for tests of many connections: they run beside others on a host, where waits
// are shared that way. In the VM waits cost nothing, and what costs is that every trace
// sees the traffic of all.
func alone(t *testing.T) {
	if !kerneltest.InVM() {
		t.Parallel()
	}
}

// churnNS is a namespace that has room for all of them: a small machine allows
// 8,192.
func churnNS(t *testing.T) *kerneltest.NS {
	t.Helper()
	ns := kerneltest.NetNS(t)
	hold(t, ns)
	ns.Sysctl(t, "net.ipv4.tcp_max_tw_buckets", "1000000")
	return ns
}

// births is what the kernel counted: mini-sockets born, in either substate.
func births(t *testing.T, ns *kerneltest.NS) int {
	t.Helper()
	n := ns.Nstat(t)
	return int(n["TcpExtTW"] + n["TcpExtTWKilled"])
}

// allBegun waits until the kernel has counted n births and none is parked. The trace
// may not have seen all of it; what it has seen it prints until its end.
func allBegun(t *testing.T, ns *kerneltest.NS, n int) {
	t.Helper()
	kerneltest.Eventually(t, patience, func() (bool, string) {
		born, parked := births(t, ns), len(ns.Sockets(t, "state", "fin-wait-2"))
		return born >= n && parked == 0, fmt.Sprintf("%d of %d born, %d parked", born, n, parked)
	})
}

// TestSlowChurn checks that the account balances with the kernel's counters through
// churn at full speed, for begins and for ends.
func TestSlowChurn(t *testing.T) {
	t.Parallel()
	ns := churnNS(t)
	tr := startTrace(t, "-N", ns.Path(), "--buffer", "64M")
	result, err := churn.Scenario().Run(t.Context(), ns.Path())
	if err != nil {
		t.Fatal(err)
	}
	if result.Opened() != uint64(churn.Connections) {
		t.Fatalf("%d connections, want %d: %v", result.Opened(), churn.Connections, result.Failed())
	}
	kerneltest.Eventually(t, timeWaitLength+patience, func() (bool, string) {
		tw := ns.Sockstat(t)["TCP tw"]
		return tw == 0, fmt.Sprintf("%d mini-sockets alive", tw)
	})
	end := tr.stop()
	checkLost(t, end)
	hidden, unseen := 0, 0 // begins and ends, by the trace's own word
	for _, d := range end.Drift {
		if d.Netns == ns.Inum() {
			hidden, unseen = int(d.Births), int(d.Births-d.Alive)
			t.Logf("drift: %+v", d)
		}
	}
	total := births(t, ns)
	// Timers expire many at a time: one interrupt of PID 1 has hidden 8,624 of 50,000 ends.
	if limit := total / 500; !kerneltest.PID1Artefact() && (hidden != 0 || unseen != 0) || hidden < 0 || hidden > limit || unseen < 0 || unseen > total/3 {
		t.Errorf("the trace says that %d begins and %d ends of %d births are hidden", hidden, unseen, total)
	}
	enters := len(tr.of("time_wait_enter", ns.Inum()))
	exits := len(tr.of("time_wait_exit", ns.Inum()))
	never := 0 // parked and never promoted
	for _, r := range tr.of("close", ns.Inum()) {
		if r.Oldstate == "FIN_WAIT2" {
			never++
		}
	}
	t.Logf("%d births: %d begins, %d ends, %d parked and never promoted, %d hidden", total, enters, exits, never, hidden)
	if enters+never+hidden != total {
		t.Errorf("%d begins + %d never promoted + %d hidden, want the kernel's %d births", enters, never, hidden, total)
	}
	// The end of one whose begin was hidden is still seen.
	if exits < enters-unseen || exits > enters+hidden {
		t.Errorf("%d ends of %d begins, %d ends hidden", exits, enters, unseen)
	}
	checkOpens(t, len(tr.of("open", ns.Inum())), churn.Connections, int(end.Lost["recursion"]))
}

// checkOpens wants an open of both ends of each connection, but for transitions that
// were skipped and counted, or are hidden. The kernel has no counter for those.
func checkOpens(t *testing.T, opens, connections, skipped int) {
	t.Helper()
	want, hidden := 2*connections, 0
	if kerneltest.PID1Artefact() {
		hidden = want / 500
	}
	if opens > want || opens < want-skipped-hidden {
		t.Errorf("%d opens, want %d; %d transitions were skipped", opens, want, skipped)
	}
}

// TestStalledReaderTraced lets the ring overflow and checks that what is lost is said,
// and that the totals do not depend on it.
func TestStalledReaderTraced(t *testing.T) {
	t.Parallel()
	ns := churnNS(t)
	tr := startTrace(t, "--buffer", "64K", "-N", ns.Path())
	if err := tr.cmd.Process.Signal(unix.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	if _, err := someChurn().Scenario().Run(t.Context(), ns.Path()); err != nil {
		t.Fatal(err)
	}
	if err := tr.cmd.Process.Signal(unix.SIGCONT); err != nil {
		t.Fatal(err)
	}
	kerneltest.Eventually(t, patience, func() (bool, string) {
		return tr.count(func(r record) bool { return r.Event == "lost" && r.Stage == "ring" }) > 0, "no lost record"
	})
	end := tr.stop()
	lost := 0
	for _, r := range tr.all() {
		if r.Event == "lost" {
			lost += int(r.Count)
		}
	}
	if lost == 0 || uint64(lost) != end.Lost["ring"] {
		t.Errorf("the lost records say %d, the end record %d", lost, end.Lost["ring"])
	}
	seen := len(tr.of("time_wait_enter", ns.Inum()))
	if missing := births(t, ns) - seen; missing > lost {
		t.Errorf("%d begins are missing and only %d events are said to be lost", missing, lost)
	}
	for _, d := range end.Drift {
		if d.Netns == ns.Inum() && !kerneltest.PID1Artefact() {
			t.Errorf("the totals are off: %+v", d)
		}
	}
	t.Logf("%d lost, %d begins seen", lost, seen)
}
