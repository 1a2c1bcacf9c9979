package main

import (
	"errors"
	"fmt"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/twtrace/twtrace/internal/kerneltest"
	"github.com/twtrace/twtrace/internal/workload"
)

// TestReuse makes 2,000 connections to one destination out of 50 ports, each of them
// reused as soon as the kernel allows it: what began, less what was reused, is what is
// left.
func TestReuse(t *testing.T) {
	alone(t)
	t.Attr("row", "2,000 connections over 50 ports: the balance")
	const many, ports = 2000, 50
	ns := kerneltest.NetNS(t)
	hold(t, ns)
	ns.KeepTimeWait(t)
	ns.Sysctl(t, "net.ipv4.tcp_tw_reuse", "1")
	ns.Sysctl(t, "net.ipv4.ip_local_port_range", fmt.Sprintf("42000 %d", 42000+ports-1))
	tr := startTrace(t, "-N", ns.Path())
	l, err := workload.Listen(ns.Path(), workload.IPv4)
	must(t, err)
	for range many {
		must(t, whole(t, ns, l))
	}
	must(t, l.Close())
	// One that a comparison finds before its begin is read is told as a snapshot.
	enters := func() int { return len(tr.of("time_wait_enter", ns.Inum())) + len(tr.of("snapshot", ns.Inum())) }
	allBegun(t, ns, many)
	left := int(ns.Sockstat(t)["TCP tw"])
	end := tr.stop()
	checkLost(t, end)
	reasons := make(map[string]int)
	for _, r := range tr.of("time_wait_exit", ns.Inum()) {
		reasons[r.Reason]++
	}
	recycled := int(ns.Nstat(t)["TcpExtTWRecycled"])
	t.Logf("%d begins, ends %v, TWRecycled %d, %d left", enters(), reasons, recycled, left)
	if births(t, ns) != many || recycled < many-2*ports {
		t.Errorf("the kernel counted %d births and %d reuses: the scenario is not what it says", births(t, ns), recycled)
	}
	if reasons["reused"] != recycled {
		t.Errorf("%d ends by reuse, TWRecycled says %d", reasons["reused"], recycled)
	}
	hidden := many - enters()
	if hidden != 0 && (!kerneltest.PID1Artefact() || hidden > many/500) {
		t.Errorf("%d begins, want %d", enters(), many)
	}
	ended := reasons["reused"] + reasons["expired"]
	if many-ended != left || len(reasons) > 2 {
		t.Errorf("%d births less ends %v, want what is left: %d", many, reasons, left)
	}
	for _, d := range end.Drift {
		if d.Netns == ns.Inum() && (hidden == 0 || d.Reused != 0 || int(d.Births) != hidden) {
			t.Errorf("drift: %+v", d)
		}
	}
}

// whole makes a connection and ends it, the client first, once a port is free.
func whole(t *testing.T, ns *kerneltest.NS, l *workload.Listener) error {
	t.Helper()
	var p *workload.Pair
	kerneltest.Eventually(t, patience, func() (bool, string) {
		var err error
		if p, err = l.Pair(ns.Path(), workload.Any); !errors.Is(err, unix.EADDRNOTAVAIL) {
			must(t, err)
		}
		return err == nil, fmt.Sprint(err)
	})
	return errors.Join(p.Client.CloseWrite(), p.Server.ReadEOF(), p.Server.Close(), p.Client.ReadEOF(), p.Client.Close())
}
