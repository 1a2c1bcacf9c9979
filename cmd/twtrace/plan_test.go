package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/urfave/cli/v2"
	"golang.org/x/sys/unix"

	"github.com/twtrace/twtrace/internal/event"
	"github.com/twtrace/twtrace/internal/kernel"
	"github.com/twtrace/twtrace/internal/kerneltest"
	"github.com/twtrace/twtrace/internal/plan"
	"github.com/twtrace/twtrace/internal/workload"
)

// planNS is a namespace with so many ports, where none is taken over.
func planNS(t *testing.T, ports int) *kerneltest.NS {
	t.Helper()
	ns := kerneltest.NetNS(t)
	ns.KeepTimeWait(t)
	ns.Sysctl(t, "net.ipv4.ip_local_port_range", fmt.Sprintf("40000 %d", 40000+ports-1))
	ns.Sysctl(t, "net.ipv4.tcp_tw_reuse", "0")
	return ns
}

// parsed is the context of a command line, whose command is not run.
func parsed(t *testing.T, verb string, flags ...string) (got *cli.Context) {
	t.Helper()
	app := newApp(io.Discard, io.Discard)
	app.Command(verb).Action = func(c *cli.Context) error {
		got = c
		return nil
	}
	must(t, app.Run(append([]string{"twtrace", verb}, flags...)))
	return got
}

// planned is the rows that doctor --plan prints for a namespace, by what they are.
func planned(t *testing.T, ns *kerneltest.NS, args ...string) map[string]planRow {
	t.Helper()
	out, _, code := twtrace(t, append([]string{"doctor", "--plan", "-o", "json", "-N", ns.Path()}, args...)...)
	if code != 0 {
		t.Fatalf("exit %d: %s", code, out)
	}
	return planRows(t, out)
}

// planRows are the rows of a plan in JSON, by what they are.
func planRows(t *testing.T, text string) map[string]planRow {
	t.Helper()
	var plan struct{ Rows []planRow }
	if err := json.Unmarshal([]byte(text), &plan); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	rows := make(map[string]planRow)
	for _, r := range plan.Rows {
		rows[r.What] = r
	}
	return rows
}

type planRow struct {
	What        string
	Ports       float64
	Connections float64 `json:"connections_per_s"`
	Requests    float64 `json:"requests_per_s"`
	Held        float64
	FullIn      *float64 `json:"full_in_s"`
}

// TestPlan: the namespace's own settings, changed as asked for.
func TestPlan(t *testing.T) {
	t.Parallel()
	report, err := makePlan(parsed(t, "doctor", "--plan", "--rate", "12", "--requests", "5", "--sources", "3", "--port-range", "40000-41219"),
		kernel.NetNS{Inum: madeNetNS}, madeLimits(610))
	must(t, err)
	var text strings.Builder
	must(t, plan.WriteJSON(&text, report))
	rows := planRows(t, text.String())
	for what, want := range map[string][3]float64{ // connections, requests, full in
		"current setup":      {10, 10, 50.833},
		"5 requests each":    {10, 50, 0},
		"3 source addresses": {30, 30, 0},
		"ports 40000-41219":  {20, 20, 0},
		"all changes":        {60, 300, 0},
	} {
		got := rows[what]
		in := 0.0
		if got.FullIn != nil {
			in = *got.FullIn
		}
		for i, v := range []float64{got.Connections, got.Requests, in} {
			if v < want[i]-0.01 || v > want[i]+0.01 {
				t.Errorf("%s: %+v, want %v", what, got, want)
				break
			}
		}
	}
	if len(rows) != 5 {
		t.Errorf("%d rows: %v", len(rows), rows)
	}
}

// TestPlanHoldsTraced has two namespaces at rates beside the planned one: below it nothing
// fails though every port is used anew, and at 1.2 times of it all ports are gone before
// the first one comes back.
func TestPlanHoldsTraced(t *testing.T) {
	t.Parallel()
	const ports = 610
	for _, tt := range []struct {
		name  string
		share float64
		holds bool
	}{{"0.95 of it", 0.95, true}, {"1.2 of it", 1.2, false}} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			ns := planNS(t, ports)
			rate := tt.share * planned(t, ns)["current setup"].Connections
			s := workload.ClientCloses(workload.IPv4, 0)
			s.Client.Connect.Rate, s.Client.CountOnly, s.Server.CountOnly = rate, true, true
			s.Client.Connect.Count, s.Client.Connect.Fails = int(rate*75), 1
			server := start(t, ns, s.Server)
			_, err := server.Ready()
			must(t, err)
			client := start(t, ns, s.Client)
			_, err = client.Ready()
			must(t, err)
			must(t, client.Go())
			log := finish(t, client)
			none := log.Failed[workload.Failure{Call: event.Connect, Errno: unix.EADDRNOTAVAIL}]
			if tt.holds && (len(log.Failed) > 0 || log.Opened != uint64(rate*75) || log.Opened <= ports) {
				t.Errorf("%d of %d connections, more than the %d ports, in %v; failed: %v", log.Opened, int(rate*75), ports, log.Elapsed, log.Failed)
			}
			if !tt.holds && (none != 1 || log.Opened != ports) {
				t.Errorf("%d connections on %d ports before the first failure, in %v; failed: %v", log.Opened, ports, log.Elapsed, log.Failed)
			}
		})
	}
}

// TestPlanTowards uses the current rate to a destination.
func TestPlanTowards(t *testing.T) {
	t.Parallel()
	to := ownTimeWait(t, 50)
	o := ran("doctor", "--plan", "-o", "json", "--towards", to.String())
	if o.code != 0 {
		t.Fatalf("exit %d: %s", o.code, o.stderr)
	}
	row := planRows(t, o.stdout)["current setup"]
	if row.Held < 1 || row.Held > 5*61 { // at most 50 in ten seconds
		t.Errorf("%+v, of 50 connections just made", row)
	}
	ran("doctor", "--plan", "--towards", "127.0.0.1:9").failed(t, 3, "no connection to 127.0.0.1:9")
}

// TestPlanDemandTraced: where the ports are used up, the rate to plan for is the one that
// the client wants, and not what it gets; without a trace it is not known.
func TestPlanDemandTraced(t *testing.T) {
	t.Parallel()
	const ports, wanted = 150, 60
	ns := planNS(t, ports)
	s := workload.ClientCloses(workload.IPv4, 0)
	s.Client.Connect.Rate, s.Client.CountOnly, s.Server.CountOnly = wanted, true, true
	s.Client.Connect.Count, s.Client.Connect.Fails = 100*wanted, 100*wanted
	server := start(t, ns, s.Server)
	_, err := server.Ready()
	must(t, err)
	client := start(t, ns, s.Client)
	_, err = client.Ready()
	must(t, err)
	must(t, client.Go())
	kerneltest.Eventually(t, patience, func() (bool, string) {
		out, _, _ := twtrace(t, "doctor", "--plan", "--no-bpf", "-N", ns.Path(), "--towards", workload.IPv4.String())
		return strings.Contains(out, "the rate is throttled by the full range; give --rate") && !strings.Contains(out, "FULL_IN  "), out
	})
	out, stderr, code := twtrace(t, "doctor", "--plan", "-o", "json", "-N", ns.Path(), "--towards", workload.IPv4.String())
	var r struct {
		Rate float64 `json:"requests_per_s"`
		Rows []struct {
			FullIn *float64 `json:"full_in_s"`
		}
	}
	if err := json.Unmarshal([]byte(out), &r); err != nil || code != 0 {
		t.Fatalf("exit %d, %v: %s", code, err, stderr)
	}
	if r.Rate < wanted*8/10 || r.Rate > wanted*12/10 || r.Rows[0].FullIn == nil {
		t.Errorf("planned for %.1f/s, want %d/s, which does not fit: %s", r.Rate, wanted, out)
	}
}

// TestSysctlFileTraced: what doctor suggests for a namespace is a file that sysctl takes there.
func TestSysctlFileTraced(t *testing.T) {
	t.Parallel()
	ns := kerneltest.NetNS(t)
	ns.Sysctl(t, "net.ipv4.tcp_fin_timeout", "5")
	out, _, code := twtrace(t, "doctor", "--sysctl", "--no-bpf", "--window", "1ms", "-N", ns.Path())
	if code != 0 || !strings.Contains(out, "\nnet.ipv4.tcp_fin_timeout = 60\n") {
		t.Fatalf("exit %d:\n%s", code, out)
	}
	file := filepath.Join(t.TempDir(), "twtrace.conf")
	must(t, os.WriteFile(file, []byte(out), 0o600))
	set, err := exec.Command("nsenter", "--net="+ns.Path(), "sysctl", "-p", file).CombinedOutput()
	if err != nil || string(set) != "net.ipv4.tcp_fin_timeout = 60\n" {
		t.Errorf("sysctl -p: %v: %s", err, set)
	}
}
