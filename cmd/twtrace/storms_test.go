package main

import (
	"encoding/json"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/twtrace/twtrace/internal/kerneltest"
	"github.com/twtrace/twtrace/internal/workload"
)

// stormRecord is a storm record, as a reader of the contract would declare it.
type stormRecord struct {
	Event       string
	Reason      string
	Severity    string
	Netns       uint32
	PID         uint32
	Comm        string
	Laddr       netip.Addr
	Raddr       netip.Addr
	Rport       uint16
	Rate        float64
	ShortShare  float64  `json:"short_share"`
	LifeP50Ns   int64    `json:"life_p50_ns"`
	PortsUsed   int      `json:"ports_used"`
	PortsUsable int      `json:"ports_usable"`
	Projected   int      `json:"ports_projected"`
	ExhaustsIn  *float64 `json:"exhausts_in_s"`
	Fails       uint64
}

// TestStorms: a client that runs out of ports makes one storm, which is told on
// stdout, to the command, and by the exit code.
func TestStorms(t *testing.T) {
	t.Parallel()
	ns := kerneltest.NetNS(t)
	hold(t, ns)
	ns.Sysctl(t, "net.ipv4.ip_local_port_range", "40000 40299")
	ns.Sysctl(t, "net.ipv4.tcp_tw_reuse", "0")
	got := filepath.Join(t.TempDir(), "got")
	cmd := command("storms", "-o", "json", "-N", ns.Path(), "-c", "1", "--exec", "cat >> "+got)
	var out, errs talk
	cmd.Stdout, cmd.Stderr = &out, &errs
	must(t, cmd.Start())
	kerneltest.Eventually(t, patience, func() (bool, string) {
		return strings.Contains(out.String(), `"event":"start"`), "no start record; stderr: " + errs.String()
	})

	s := workload.Exhaust(workload.IPv4, 1)
	s.Client.Connect.Rate = 60
	s.Client.Connect.Fails = 200
	result, err := s.Run(t.Context(), ns.Path())
	must(t, err)
	_ = cmd.Wait()
	if code := cmd.ProcessState.ExitCode(); code != exitStorm {
		t.Errorf("exit code %d, want %d; stderr: %s", code, exitStorm, errs.String())
	}
	var storms []stormRecord
	for line := range strings.Lines(out.String()) {
		var r stormRecord
		must(t, json.Unmarshal([]byte(line), &r))
		if strings.HasPrefix(r.Event, "storm") {
			storms = append(storms, r)
		} else if r.Event != "start" && r.Event != "end" && r.Event != "lost" {
			t.Errorf("a record of %s", r.Event)
		}
		if handed, err := os.ReadFile(got); r.Event == "storm_start" && (err != nil || string(handed) != line) {
			t.Errorf("the command got %q, %v; want %q", handed, err, line)
		}
	}
	client := result.Clients[0]
	if len(storms) != 1 {
		t.Fatalf("%d storms: %+v", len(storms), storms)
	}
	r := storms[0]
	if r.Event != "storm_start" || r.Reason != "ports" || r.Severity != "crit" || r.Netns != ns.Inum() || r.PID != client.PID ||
		r.Comm != client.Comm || r.Raddr != workload.IPv4.Addr() || r.Rport != workload.IPv4.Port() || r.PortsUsable != 300 ||
		r.ExhaustsIn == nil || r.Rate < 20 || r.ShortShare != 1 || r.LifeP50Ns <= 0 || r.Projected < 300 {
		t.Errorf("%+v, want %s[%d] out of ports", r, client.Comm, client.PID)
	}
}

// TestNoStorm: where nothing happens the exit code is 0.
func TestNoStorm(t *testing.T) {
	t.Parallel()
	ns := kerneltest.NetNS(t)
	hold(t, ns)
	out, errs, code := twtrace(t, "storms", "-o", "json", "-N", ns.Path(), "--duration", "2s")
	if code != exitOK || strings.Contains(out, `"event":"storm_start"`) {
		t.Errorf("exit code %d; %s; stderr: %s", code, out, errs)
	}
	for _, args := range [][]string{{"--event", "open"}, {"--storm-rate", "-1"}, {"--storm-rate", "nan"}, {"--storm-window", "2h"}, {"--short-lived", "0s"}} {
		if _, errs, code := twtrace(t, append([]string{"storms"}, args...)...); code != exitUsage || !strings.Contains(errs, "storms --help") {
			t.Errorf("%q: exit code %d, %s", args, code, errs)
		}
	}
}
