package main

import (
	"testing"
	"time"

	"github.com/twtrace/twtrace/internal/kerneltest"
	"github.com/twtrace/twtrace/internal/workload"
)

// TestDoctorFull has all 28,232 ports of the default range in use, and the client go on:
// what is wrong, and who does it, is known when the window ends.
func TestDoctorFull(t *testing.T) {
	kerneltest.RequireRoot(t)
	ns := kerneltest.NetNS(t)
	ns.Sysctl(t, "net.ipv4.tcp_tw_reuse", "0")
	fill := caller("filler", 0, workload.HalfClose, one)
	fill.Connect.Fails = 1
	if _, err := (workload.Scenario{Server: database, Client: fill, Clients: 1}).Run(t.Context(), ns.Path()); err != nil {
		t.Fatal(err)
	}
	load := onStage(t, ns, caller("checkout", 50, workload.HalfClose, one), database)
	begin := time.Now()
	v := diagnose(t, ns, "--window", "3s")
	t.Logf("%.1f s with %d sockets", time.Since(begin).Seconds(), ns.Sockstat(t)["TCP tw"])
	found := v.of("TW101", ns)
	if v.ExitCode != 2 || len(found) != 1 || found[0].Scope.Raddr != "127.0.0.7" || found[0].Scope.Comm != "checkout" || found[0].Scope.PID != uint32(load.Clients[0].PID()) {
		t.Errorf("exit code %d:%s", v.ExitCode, v.words())
	}
}
