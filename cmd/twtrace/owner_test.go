package main

import (
	"fmt"
	"net/netip"
	"testing"

	"github.com/twtrace/twtrace/internal/kerneltest"
	"github.com/twtrace/twtrace/internal/workload"
)

func start(t *testing.T, ns *kerneltest.NS, spec workload.Spec) *workload.Process {
	t.Helper()
	p, err := workload.Start(t.Context(), ns.Path(), spec)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func finish(t *testing.T, p *workload.Process) workload.Log {
	t.Helper()
	log, err := p.Wait()
	if err != nil {
		t.Fatal(err)
	}
	return log
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// TestOwners runs eight clients and four servers at once beside a noisy
// neighbour. Two of the servers close first, to the others the clients do.
func TestOwners(t *testing.T) {
	alone(t)
	t.Attr("row", "owners, 8 clients and 4 servers at once")
	const each = 499
	ns := churnNS(t)
	tr := startTrace(t, "-N", ns.Path())
	noise := start(t, ns, workload.Spec{Comm: "noise", Workers: 2, Noise: &workload.Noise{Forks: 50}})
	var servers, clients []*workload.Process
	for i := range 4 {
		spec := workload.Spec{Comm: fmt.Sprintf("server-%d", i), ThreadComm: "accept", Workers: 2, Serve: &workload.Serve{
			At: []netip.AddrPort{ownersServer(i)}, End: workload.WaitEOF}}
		if i < 2 {
			spec.Serve.End = workload.Close
		}
		p := start(t, ns, spec)
		servers = append(servers, p)
		_, err := p.Ready()
		must(t, err)
	}
	for i := range 8 {
		spec := workload.Spec{Comm: fmt.Sprintf("client-%d", i), ThreadComm: "pool", Workers: 2, Connect: &workload.Connect{
			To: []netip.AddrPort{ownersServer(i % 4)}, End: workload.Close, Count: each}}
		if i%4 < 2 {
			spec.Connect.End = workload.WaitEOF
		}
		p := start(t, ns, spec)
		clients = append(clients, p)
		_, err := p.Ready()
		must(t, err)
	}
	must(t, noise.Go())
	for _, p := range clients {
		must(t, p.Go())
	}
	truth := make(map[uint64]workload.Record)
	for i, p := range clients {
		for _, r := range finish(t, p).Records {
			if i%4 >= 2 {
				truth[r.Cookie] = r
			}
		}
	}
	for i, p := range servers {
		must(t, p.Drain(2*each))
		for _, r := range finish(t, p).Records {
			if i < 2 {
				truth[r.Cookie] = r
			}
		}
	}
	must(t, noise.Stop())
	finish(t, noise)
	if want := 8 * each; len(truth) != want {
		t.Fatalf("%d connections logged, want %d", len(truth), want)
	}
	allBegun(t, ns, len(truth))
	end := tr.stop()
	checkLost(t, end)
	checkOwners(t, tr, ns, truth, end)
}

func ownersServer(i int) netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 3, byte(i + 1)}), 7100)
}

// checkOwners wants 0 wrong owners. One that is right and known from less than it
// could be takes a skipped transition, and a begin that is missing takes one that the trace
// says the kernel has hidden.
func checkOwners(t *testing.T, tr *trace, ns *kerneltest.NS, truth map[uint64]workload.Record, end record) {
	t.Helper()
	skipped, hidden := int(end.Lost["recursion"]), 0
	for _, d := range end.Drift {
		if d.Netns == ns.Inum() && kerneltest.PID1Artefact() {
			hidden += int(d.Births)
		}
	}
	seen, wrong, weak := 0, 0, 0
	for _, r := range tr.of("time_wait_enter", ns.Inum()) {
		want, ok := truth[cookie(t, r)]
		if !ok {
			t.Errorf("begin of %s, which nobody logged", r.Cookie)
			continue
		}
		seen++
		how := tr.ownerBy(want.Role)
		switch {
		case r.PID == 0: // nobody is not a wrong one
			weak++
		case r.PID != want.PID || r.Comm != want.Comm || r.CloserPID != 0 && r.CloserPID != want.PID:
			wrong++
		case r.Owner != how || r.Role != want.Role.String() || r.CloserPID == 0 || r.CloserComm != want.Comm:
			weak++
		default:
			continue
		}
		if wrong+weak < 5 {
			t.Logf("owner %s[%d] by %s, closer %s[%d], role %s; want %s[%d] by %s", r.Comm, r.PID, r.Owner,
				r.CloserComm, r.CloserPID, r.Role, want.Comm, want.PID, how)
		}
	}
	t.Logf("%d begins, %d wrong, %d known from less, %d transitions skipped", seen, wrong, weak, skipped)
	if wrong > 0 || weak > skipped {
		t.Errorf("%d wrong owners, %d known from less with %d transitions skipped", wrong, weak, skipped)
	}
	if missing := len(truth) - seen; missing > hidden {
		t.Errorf("%d of %d begins missing, and the trace has %d as hidden", missing, len(truth), hidden)
	}
}
