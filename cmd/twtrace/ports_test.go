package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/twtrace/twtrace/internal/kerneltest"
	"github.com/twtrace/twtrace/internal/workload"
)

// lag is how far a table may be behind the sockets: events are looked for every 50 ms,
// and a test machine may be busy.
const lag = time.Second

// TestPortsAgreeTraced: until the ports are gone, `twtrace ports` has as many in use as ss, and
// the connect() that fails is the one at 100 %.
func TestPortsAgreeTraced(t *testing.T) {
	t.Parallel()
	const usable = 400
	ns := kerneltest.NetNS(t)
	hold(t, ns)
	// Of a range of odd size connect() tries all ports but one, another one each time.
	ns.Sysctl(t, "net.ipv4.ip_local_port_range", "40000 40405")
	ns.Sysctl(t, "net.ipv4.ip_local_reserved_ports", "40001-40006")
	ns.Sysctl(t, "net.ipv4.tcp_tw_reuse", "0")
	ns.KeepTimeWait(t)
	name := filepath.Join(t.TempDir(), "ports")
	out, err := os.Create(name)
	must(t, err)
	defer out.Close()
	cmd := command("ports", "-N", ns.Path(), "-o", "json", "-i", "250ms", "--buffer", "32M")
	var errs talk
	cmd.Stdout, cmd.Stderr = out, &errs
	must(t, cmd.Start())
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })

	s := workload.Exhaust(workload.IPv4, 1)
	s.Client.Connect.Rate, s.Client.CountOnly, s.Server.CountOnly = 40, true, true
	type sample struct {
		at   time.Time
		used int
	}
	var seen []sample
	var result workload.Result
	done := make(chan error, 1)
	go func() {
		var err error
		result, err = s.Run(t.Context(), ns.Path())
		done <- err
	}()
	for running := true; running; {
		before := time.Now()
		n := len(ns.Sockets(t, "state", "all", "exclude", "listening", "exclude", "syn-sent", "dport", "=", ":7000"))
		// Counted between before and now: exact enough where it only grows.
		seen = append(seen, sample{before, n})
		select {
		case err := <-done:
			must(t, err)
			running = false
		case <-time.After(20 * time.Millisecond):
		}
	}
	if result.Opened() != usable {
		t.Errorf("%d connections before the first that failed, of %d ports", result.Opened(), usable)
	}
	tables := func() (all []gauge) {
		b, err := os.ReadFile(name)
		must(t, err)
		for lines := bufio.NewScanner(bytes.NewReader(b)); lines.Scan(); {
			var g gauge
			if json.Unmarshal(lines.Bytes(), &g) == nil && g.What == "ports" {
				all = append(all, g)
			}
		}
		return all
	}
	kerneltest.Eventually(t, patience, func() (bool, string) {
		all := tables()
		last := gauge{}
		if len(all) > 0 {
			last = all[len(all)-1]
		}
		return last.Used == usable, errs.String()
	})
	compared := 0
	for _, g := range tables() {
		low, high := 0, usable
		for _, s := range seen {
			if s.at.Before(g.Time.Add(-lag)) {
				low = max(low, s.used)
			} else if s.at.After(g.Time) {
				high = min(high, s.used)
			}
		}
		used := g.Used - g.SynSent // which is asked of the kernel, as ss does, and not followed
		if g.Usable != usable || used < low || used > high {
			t.Errorf("%v: %d of %d ports in use; ss had %d before, and %d after", g.Time, used, g.Usable, low, high)
		}
		compared++
	}
	if compared < 3 { // of some forty, on a machine that has time
		t.Errorf("%d tables were compared", compared)
	}
}
