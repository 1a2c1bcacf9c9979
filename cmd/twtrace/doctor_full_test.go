package main

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/twtrace/twtrace/internal/kerneltest"
	"github.com/twtrace/twtrace/internal/workload"
)

// fillRange has all ports of the range in TIME_WAIT, and leaves it as the range. It goes a
// thousand ports at a time: past half of a range each connect() searches through the half.
func fillRange(t *testing.T, ns *kerneltest.NS, low, high int) {
	t.Helper()
	fill := caller("filler", 0, workload.HalfClose, one)
	fill.Connect.Fails = 1
	for from := low; from <= high; from += 1000 {
		ns.Sysctl(t, "net.ipv4.ip_local_port_range", fmt.Sprintf("%d %d", from, min(from+999, high)))
		if _, err := (workload.Scenario{Server: database, Client: fill, Clients: 1}).Run(t.Context(), ns.Path()); err != nil {
			t.Fatal(err)
		}
	}
	ns.Sysctl(t, "net.ipv4.ip_local_port_range", fmt.Sprintf("%d %d", low, high))
}

// TestDoctorFullTraced has all 28,232 ports of the default range in use, and the client go on:
// what is wrong, and who does it, is known when the window ends.
func TestDoctorFullTraced(t *testing.T) {
	kerneltest.RequireRoot(t)
	ns := kerneltest.NetNS(t)
	ns.Sysctl(t, "net.ipv4.tcp_tw_reuse", "0")
	ns.KeepTimeWait(t)
	fillRange(t, ns, 32768, 60999)
	load := onStage(t, ns, caller("checkout", 50, workload.HalfClose, one), database)
	begin := time.Now()
	v := inspected(t, ns, "--window", "3s")
	t.Logf("%.1f s with %d sockets", time.Since(begin).Seconds(), ns.Sockstat(t)["TCP tw"])
	found := v.of("TW101", ns)
	if v.ExitCode != 2 || len(found) != 1 || found[0].Scope.Raddr != "127.0.0.7" || found[0].Scope.Comm != "checkout" || found[0].Scope.PID != uint32(load.Clients[0].PID()) {
		t.Errorf("exit code %d:%s", v.ExitCode, v.words())
	}
	// The first verdict comes at once, and not with the window: the shares hold on a slow
	// machine too.
	watch := &stopwatch{word: "CRIT TW101  ports to 127.0.0.7:3306", begun: time.Now()}
	watchTerminal(t, watch, 80, nil, "doctor", "--window", "10s", "-N", ns.Path())
	all := time.Since(watch.begun)
	t.Logf("the first verdict came after %.2f s, the last after %.1f s", watch.after.Seconds(), all.Seconds())
	if first, _, _ := strings.Cut(watch.all.String(), "\x1b[J"); watch.after == 0 || 5*watch.after > all || !strings.Contains(first, watch.word) {
		t.Errorf("the first verdict after %v of %v: %q", watch.after, all, first)
	}
	if !strings.Contains(watch.all.String(), "checkout[") {
		t.Errorf("the owner is not named: %q", watch.all.String())
	}
}
