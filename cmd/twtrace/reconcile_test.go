package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/twtrace/twtrace/internal/conn"
	"github.com/twtrace/twtrace/internal/event"
	"github.com/twtrace/twtrace/internal/kernel"
	"github.com/twtrace/twtrace/internal/kerneltest"
	"github.com/twtrace/twtrace/internal/live"
	"github.com/twtrace/twtrace/internal/tracer"
	"github.com/twtrace/twtrace/internal/workload"
)

// repairedWithin is how long after a loss the next comparison starts at most.
const repairedWithin = 3 * time.Second

// TestStalledConsumerTraced has the consumer do nothing during churn, with the smallest
// ring: what is lost is counted, the totals are the kernel's all along, and one
// comparison later the table is that of ss.
func TestStalledConsumerTraced(t *testing.T) {
	t.Parallel()
	t.Attr("row", "stalled consumer: losses counted, the table repaired")
	ns := churnNS(t)
	ns.KeepTimeWait(t)
	ns.Sysctl(t, "net.ipv4.tcp_tw_reuse", "0")
	r := startReader(t, ns, tracer.Options{Buffer: 1})
	running, err := someChurn().Scenario().Start(t.Context(), ns.Path())
	must(t, err)
	r.do(func() {
		must(t, running.Go())
		for share := range 4 {
			kerneltest.Eventually(t, patience, func() (bool, string) {
				n := births(t, ns)
				return n >= (share+1)*someChurn().Connections/4, fmt.Sprintf("%d births", n)
			})
			checkTotals(t, r.trace, ns)
		}
		if _, err := running.Wait(); err != nil {
			t.Fatal(err)
		}
	})
	r.settled(ns, 2*repairedWithin)
	var lost uint64
	r.do(func() {
		lost = r.session.Table().Totals().Lost[event.StageRing]
		checkTotals(t, r.trace, ns)
	})
	snapshots := 0
	end := r.stop()
	for i := range r.records {
		if r.records[i].Kind == event.Snapshot {
			snapshots++
		}
	}
	t.Logf("%d lost, %d snapshots, drift %+v", lost, snapshots, end.Drift)
	if lost == 0 || snapshots == 0 || lost != end.Lost["ring"] {
		t.Errorf("%d events lost and %d sockets found again; the end has %d lost", lost, snapshots, end.Lost["ring"])
	}
	if len(end.Drift) != 0 && !kerneltest.PID1Artefact() {
		t.Errorf("drift: %+v", end.Drift)
	}
	checkUnique(t, r.records)
}

// checkTotals compares the totals of the trace with the kernel's counters, as they
// are now.
func checkTotals(t *testing.T, trace *live.Trace, ns *kerneltest.NS) {
	t.Helper()
	inside, err := kernel.FindNetNS(ns.Path())
	must(t, err)
	kerneltest.Eventually(t, patience, func() (bool, string) {
		drift, err := trace.Compare([]kernel.NetNS{inside})
		must(t, err)
		if len(drift) == 0 {
			return true, ""
		}
		d := drift[0]
		hidden := int64(births(t, ns) / 500)
		return kerneltest.PID1Artefact() && d.Births >= 0 && d.Births <= hidden && d.Alive <= hidden && d.Alive >= -hidden,
			fmt.Sprintf("drift %+v", drift)
	})
}

// checkUnique wants no socket to start TIME_WAIT twice, or to be found after its start. A
// start may be read after a comparison has found the socket.
func checkUnique(t *testing.T, records []event.Event) {
	t.Helper()
	started, found := make(map[uint64]bool), make(map[uint64]bool) // by cookie
	tuples := make(map[event.Tuple]bool)
	twice := 0
	for i := range records {
		e := &records[i]
		if e.Kind != event.Snapshot && e.Kind != event.TimeWaitEnter {
			continue
		}
		if started[e.Cookie] || tuples[e.Tuple()] {
			twice++
		}
		if e.Kind == event.Snapshot && e.Cookie != 0 && !found[e.Cookie] {
			found[e.Cookie] = true
			continue
		}
		if e.Cookie != 0 {
			started[e.Cookie] = true
		} else {
			tuples[e.Tuple()] = true
		}
	}
	if twice != 0 {
		t.Errorf("%d sockets start twice", twice)
	}
}

// TestCompareInChurn compares the table with the kernel's sockets over and over
// during churn at full speed, with sockets that end while they are looked at. With
// nothing lost there is nothing to repair.
func TestCompareInChurn(t *testing.T) {
	t.Parallel()
	t.Attr("row", "table and sock_diag compared during churn")
	ns := churnNS(t)
	ns.Sysctl(t, "net.ipv4.tcp_tw_reuse", "1")
	r := startReader(t, ns, tracer.Options{Buffer: 64 << 20})
	longer := someChurn() // ends when there were enough comparisons, however slow they are
	longer.Connections *= 20
	sc := longer.Scenario()
	sc.Server.Serve.At = workload.Destinations(1, 4)
	sc.Client.Connect.To = sc.Server.Serve.At
	running, err := sc.Start(t.Context(), ns.Path())
	must(t, err)
	must(t, running.Go())
	comparisons := 0
	for done := false; !done; {
		r.do(func() { r.trace.Reconcile() })
		kerneltest.Eventually(t, patience, func() (bool, string) {
			var pending bool
			r.do(func() { pending = r.trace.Reconciling() })
			return !pending, "a comparison is not done"
		})
		comparisons++
		done = comparisons >= 3 && births(t, ns) >= someChurn().Connections
	}
	if _, err := running.Stop(); err != nil {
		t.Fatal(err)
	}
	var totals conn.Totals
	r.do(func() { totals = r.session.Table().Totals() })
	end := r.stop()
	hidden := uint64(0)
	for _, d := range end.Drift {
		hidden += uint64(max(d.Births, 0))
	}
	t.Logf("%d comparisons, %d reused, %d dropped, %d found again, drift %+v", comparisons,
		totals.Exited(event.Reused), totals.Dropped, totals.Snapshots, end.Drift)
	if hidden > 0 && !kerneltest.PID1Artefact() {
		t.Errorf("drift %+v", end.Drift)
	}
	checkLosses(t, end.Lost)
	if totals.Dropped > hidden || totals.Snapshots > hidden {
		t.Errorf("%d dropped, %d found again with %d hidden", totals.Dropped, totals.Snapshots, hidden)
	}
	checkUnique(t, r.records)
}

// TestStalledScreenTraced stops the live view with SIGSTOP during churn. When it goes on
// it says what it lost, and has as many sockets as the kernel one comparison later.
func TestStalledScreenTraced(t *testing.T) {
	t.Parallel()
	ns := churnNS(t)
	ns.KeepTimeWait(t)
	ns.Sysctl(t, "net.ipv4.tcp_tw_reuse", "0")
	name := filepath.Join(t.TempDir(), "top")
	file, err := os.Create(name)
	must(t, err)
	defer file.Close()
	cmd := command("top", "-b", "-i", "500ms", "--buffer", "4K", "-N", ns.Path())
	cmd.Stdout, cmd.Stderr = file, file
	must(t, cmd.Start())
	out := func() string {
		b, err := os.ReadFile(name)
		must(t, err)
		return string(b)
	}
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	kerneltest.Eventually(t, patience, func() (bool, string) {
		return strings.Contains(out(), "# "), out()
	})
	must(t, cmd.Process.Signal(unix.SIGSTOP))
	if _, err := someChurn().Scenario().Run(t.Context(), ns.Path()); err != nil {
		t.Fatal(err)
	}
	must(t, cmd.Process.Signal(unix.SIGCONT))
	kerneltest.Eventually(t, 3*repairedWithin, func() (bool, string) {
		last := lastHead(out())
		tw, _ := strconv.ParseUint(last["time_wait"], 10, 64)
		parked, _ := strconv.ParseUint(last["parked"], 10, 64)
		alive := ns.Sockstat(t)["TCP tw"]
		return tw+parked == alive && last["lost_total"] != "0" && strings.Contains(out(), "# corrected: "),
			fmt.Sprintf("%v, the kernel has %d", last, alive)
	})
}

// lastHead is the last line of totals of a batch, as names and values.
func lastHead(out string) map[string]string {
	head := make(map[string]string)
	for line := range strings.Lines(out) {
		if !strings.Contains(line, " interval_s=") {
			continue
		}
		for _, f := range strings.Fields(line) {
			if name, value, ok := strings.Cut(f, "="); ok {
				head[name] = value
			}
		}
	}
	return head
}
