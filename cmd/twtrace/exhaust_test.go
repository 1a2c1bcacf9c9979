package main

import (
	"fmt"
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/twtrace/twtrace/internal/event"
	"github.com/twtrace/twtrace/internal/kerneltest"
	"github.com/twtrace/twtrace/internal/workload"
)

// TestExhaustTraced has processes run out of ports, and compares how often each was told so
// with what it counted at its own calls.
func TestExhaustTraced(t *testing.T) {
	t.Attr("row", "EADDRNOTAVAIL: as many as each process counted")
	alone(t)
	const ports = 100
	fails := 1009
	if kerneltest.InVM() {
		fails = 211
	}
	ns := churnNS(t)
	ns.Sysctl(t, "net.ipv4.ip_local_port_range", fmt.Sprintf("40000 %d", 40000+ports-1))
	ns.Sysctl(t, "net.ipv4.tcp_tw_reuse", "0")
	tr := startTrace(t, "-N", ns.Path(), "--event", "fail")
	server := start(t, ns, workload.Spec{Comm: "server", Workers: 2, CountOnly: true, Serve: &workload.Serve{
		At: []netip.AddrPort{workload.IPv4, exhaustIPv6}, End: workload.WaitEOF}})
	_, err := server.Ready()
	must(t, err)
	var clients []*workload.Process
	for _, way := range []workload.Way{workload.Plain, workload.NonBlocking, workload.Dialer} {
		for _, to := range []netip.AddrPort{workload.IPv4, exhaustIPv6} {
			p := start(t, ns, workload.Spec{Comm: "exhaust", ThreadComm: "pool", Workers: 2, CountOnly: true,
				Connect: &workload.Connect{To: []netip.AddrPort{to}, Way: way, End: workload.Close, Fails: fails}})
			clients = append(clients, p)
			_, err := p.Ready()
			must(t, err)
		}
	}
	for _, p := range clients {
		must(t, p.Go())
	}
	want := make(map[uint32]uint64)
	total := 0
	for _, p := range clients {
		log := finish(t, p)
		n := log.Failed[workload.Failure{Call: event.Connect, Errno: unix.EADDRNOTAVAIL}]
		if n < uint64(fails) || len(log.Failed) != 1 {
			t.Errorf("%d failed with %v, want nothing but EADDRNOTAVAIL", log.PID, log.Failed)
		}
		want[log.PID] = n
		total += int(n)
	}
	kerneltest.Eventually(t, patience, func() (bool, string) {
		n, skipped := len(tr.of("fail", ns.Inum())), tr.skipped()
		return n+skipped >= total, fmt.Sprintf("%d of %d records, %d transitions skipped", n, total, skipped)
	})
	end := tr.stop()
	checkLost(t, end)
	got := make(map[uint32]uint64)
	for _, r := range tr.of("fail", ns.Inum()) {
		if r.PID == 0 {
			continue // its SYN_SENT was skipped; it is one of the missing
		}
		if r.Call != "connect" || r.Errno != "EADDRNOTAVAIL" || r.Comm != "exhaust" || r.Owner != "connect" || r.StateNs <= 0 {
			t.Fatalf("record %+v", r)
		}
		got[r.PID]++
	}
	// A transition that was skipped is a record that is missing; checkLost judges how many may be.
	missing := 0
	for pid, n := range want {
		if got[pid] != n {
			t.Logf("process %d counted %d, the trace %d", pid, n, got[pid])
		}
		if got[pid] > n {
			t.Errorf("process %d failed %d times in the trace, and %d in its own count", pid, got[pid], n)
		}
		missing += int(n - min(n, got[pid]))
	}
	if skipped := int(end.Lost["recursion"]); missing > skipped {
		t.Errorf("%d calls are missing, and %d transitions were skipped", missing, skipped)
	}
	if len(got) != len(want) {
		t.Errorf("%d processes failed, want %d", len(got), len(want))
	}
	t.Logf("%d failed calls of %d processes", total, len(want))
}

var exhaustIPv6 = netip.AddrPortFrom(workload.IPv6.Addr(), 7001)
