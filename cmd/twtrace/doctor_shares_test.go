package main

import (
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/twtrace/twtrace/internal/kerneltest"
	"github.com/twtrace/twtrace/internal/workload"
)

// together starts a server and clients of it, each a process of its own.
func together(t *testing.T, ns *kerneltest.NS, server workload.Spec, clients ...workload.Spec) {
	t.Helper()
	start := func(s workload.Spec) {
		p, err := workload.Start(t.Context(), ns.Path(), s)
		must(t, err)
		t.Cleanup(func() { _ = p.Stop() }) // it may have ended
		_, err = p.Ready()
		must(t, err)
		if s.Connect != nil {
			must(t, p.Go())
		}
	}
	start(server)
	for _, c := range clients {
		start(c)
	}
}

// TestDoctorShares: each program that opens connections has its own rate and share, two
// processes of one name stand together, and one that only fails is the victim.
func TestDoctorShares(t *testing.T) {
	t.Parallel()
	kerneltest.RequireRoot(t)
	t.Run("programs", func(t *testing.T) {
		t.Parallel()
		ns := narrow(t, 1000)
		worker := caller("worker", 20, workload.HalfClose, one)
		together(t, ns, database, caller("orders", 50, workload.HalfClose, one), worker, worker)
		found := inspected(t, ns).of("TW101", ns)
		if len(found) != 1 {
			t.Fatalf("%+v", found)
		}
		got, sum := map[string]contributor{}, 0.0
		for _, c := range found[0].Contributors {
			if c.Role == "opens" {
				got[c.Comm] = c
				sum += c.Share
			}
		}
		o, w := got["orders"], got["worker"]
		if len(got) != 2 || o.PID == 0 || o.Processes != 1 || w.PID != 0 || w.Processes != 2 || sum > 1 ||
			math.Abs(o.PerS-50) > 10 || math.Abs(w.PerS-40) > 10 || math.Abs(o.Share-o.PerS/(o.PerS+w.PerS)) > 0.01 {
			t.Errorf("%+v", found[0].Contributors)
		}
		if want := fmt.Sprintf("orders[%d] ", o.PID); !strings.Contains(found[0].Who, want) || !strings.Contains(found[0].Who, "worker (2 processes) ") {
			t.Error(found[0].Who)
		}
	})
	t.Run("a victim", func(t *testing.T) {
		t.Parallel()
		ns := narrow(t, 300)
		fill := caller("filler", 0, workload.HalfClose, one)
		fill.Connect.Fails = 1
		_, err := workload.Scenario{Server: database, Client: fill, Clients: 1}.Run(t.Context(), ns.Path())
		must(t, err)
		together(t, ns, database, caller("api", 2, workload.HalfClose, one))
		found := inspected(t, ns).of("TW101", ns)
		if len(found) != 1 || found[0].Status != "crit" || len(found[0].Contributors) != 1 || !strings.Contains(found[0].Who, "] is the victim: ") {
			t.Fatalf("%+v", found)
		}
		if c := found[0].Contributors[0]; c.Role != "fails" || c.Comm != "api" || !c.Victim || c.Share != 1 {
			t.Errorf("%+v", c)
		}
	})
}
