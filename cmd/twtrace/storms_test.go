package main

import (
	"encoding/json"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twtrace/twtrace/internal/event"
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
	Rate        float64  `json:"taken_per_s"`
	ShortShare  float64  `json:"short_share"`
	LifeP50Ns   int64    `json:"life_p50_ns"`
	PortsUsed   int      `json:"used"`
	PortsUsable int      `json:"usable"`
	Projected   int      `json:"projected"`
	ExhaustsIn  *float64 `json:"exhausts_in_s"`
	Fails       uint64   `json:"refused_total"`
	Demand      float64  `json:"demand_per_s"`
	OutageS     float64  `json:"outage_s"`
	Resolved    bool     `json:"resolved"`
	Time        time.Time
}

// stormRecords are the storms among records of JSON, which are of a trace.
func stormRecords(t *testing.T, text string) (storms []stormRecord) {
	t.Helper()
	for line := range strings.Lines(text) {
		var r stormRecord
		must(t, json.Unmarshal([]byte(line), &r))
		if strings.HasPrefix(r.Event, "storm") {
			storms = append(storms, r)
		} else if r.Event != "start" && r.Event != "end" && r.Event != "lost" {
			t.Errorf("a record of %s", r.Event)
		}
	}
	return storms
}

// outOfPorts reports whether r is the start of a storm of a process that has so many ports.
func (r *stormRecord) outOfPorts(client event.Proc, to netip.AddrPort, usable int) bool {
	return r.Event == "storm_start" && r.Reason == "ports" && r.Severity == "crit" && r.PID == client.PID && r.Comm == client.Comm &&
		r.Raddr == to.Addr() && r.Rport == to.Port() && r.PortsUsable == usable && r.ExhaustsIn != nil && r.Rate >= 20 && r.ShortShare == 1 &&
		r.LifeP50Ns > 0 && r.Projected >= usable
}

// TestStorms: a client that runs out of ports makes one storm, which is printed on
// stdout, passed to the command, and reported by the exit code.
func TestStorms(t *testing.T) {
	t.Parallel()
	got := filepath.Join(t.TempDir(), "got")
	o := over(t, exhausting(), "storms", "-o", "json", "-c", "1", "--exec", "cat >> "+got)
	if o.code != exitStorm || o.stderr != "" {
		t.Errorf("exit code %d, want %d; stderr: %s", o.code, exitStorm, o.stderr)
	}
	storms := stormRecords(t, o.stdout)
	if len(storms) != 1 || !storms[0].outOfPorts(madeClient, madeServer, 300) || storms[0].Netns != madeNetNS {
		t.Fatalf("%+v, want %v out of ports", storms, madeClient)
	}
	lines := strings.SplitAfter(o.stdout, "\n")
	if handed, err := os.ReadFile(got); err != nil || len(lines) < 2 || string(handed) != lines[1] {
		t.Errorf("the command got %q, %v; want the storm of %q", handed, err, lines)
	}
}

// TestStormsTraced: the kernel's connections make the same storm.
func TestStormsTraced(t *testing.T) {
	t.Parallel()
	ns := kerneltest.NetNS(t)
	hold(t, ns)
	ns.Sysctl(t, "net.ipv4.ip_local_port_range", "40000 40299")
	ns.Sysctl(t, "net.ipv4.tcp_tw_reuse", "0")
	cmd := command("storms", "-o", "json", "-N", ns.Path(), "-c", "1")
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
	client := event.Proc{PID: result.Clients[0].PID, Comm: result.Clients[0].Comm}
	storms := stormRecords(t, out.String())
	if len(storms) != 1 || !storms[0].outOfPorts(client, workload.IPv4, 300) || storms[0].Netns != ns.Inum() {
		t.Fatalf("%+v, want %v out of ports", storms, client)
	}
}

// TestOutageTraced: a client runs out of ports until the range is wider; the storm is then
// resolved at once, and the live view says so.
func TestOutageTraced(t *testing.T) {
	t.Parallel()
	ns := kerneltest.NetNS(t)
	hold(t, ns)
	ns.Sysctl(t, "net.ipv4.ip_local_port_range", "40000 40119")
	ns.Sysctl(t, "net.ipv4.tcp_tw_reuse", "0")
	var out, errs, screen talk
	storms := command("storms", "-o", "json", "-N", ns.Path())
	storms.Stdout, storms.Stderr = &out, &errs
	top := command("top", "-b", "-i", "1s", "-N", ns.Path())
	top.Stdout, top.Stderr = &screen, &errs
	for _, cmd := range []*exec.Cmd{storms, top} {
		must(t, cmd.Start())
		defer func() {
			_ = cmd.Process.Signal(os.Interrupt)
			_ = cmd.Wait()
		}()
	}
	kerneltest.Eventually(t, patience, func() (bool, string) {
		return strings.Contains(out.String(), `"event":"start"`) && screen.String() != "", "no start record; stderr: " + errs.String()
	})
	s := workload.ClientCloses(workload.IPv4, 0)
	s.Client.Connect.Rate, s.Client.Connect.Count, s.Client.Connect.Fails = 60, 6000, 6000
	s.Client.CountOnly, s.Server.CountOnly = true, true
	for _, spec := range []workload.Spec{s.Server, s.Client} {
		p := start(t, ns, spec)
		_, err := p.Ready()
		must(t, err)
		if spec.Connect != nil {
			must(t, p.Go())
		}
	}
	last := func() (r stormRecord) {
		if all := stormRecords(t, complete(out.String())); len(all) > 0 {
			r = all[len(all)-1]
		}
		return r
	}
	kerneltest.Eventually(t, patience, func() (bool, string) {
		return last().Severity == "crit" && last().Fails > 0 && last().OutageS > 0 && strings.Contains(screen.String(), "# CRIT TW101"), out.String() + errs.String()
	})
	ns.Sysctl(t, "net.ipv4.ip_local_port_range", "40000 49999")
	cured := time.Now()
	kerneltest.Eventually(t, patience, func() (bool, string) { return last().Resolved, out.String() + errs.String() })
	r := last()
	if r.Severity != "warn" || r.Event != "storm_update" || r.OutageS <= 0 || r.Demand < 40 || r.Demand > 80 {
		t.Errorf("%+v", r)
	}
	// Two intervals, and the second in which the limits are read again.
	if took := r.Time.Sub(cured); took > 4*time.Second {
		t.Errorf("resolved %v after the cure", took)
	}
	kerneltest.Eventually(t, patience, func() (bool, string) {
		lines := strings.Split(screen.String(), "\n# ")
		return slices.ContainsFunc(lines, func(l string) bool { return strings.HasPrefix(l, "resolved ") && strings.Contains(l, "lasted") }), screen.String()
	})
}

// complete is text up to its last whole line.
func complete(text string) string { return text[:strings.LastIndexByte(text, '\n')+1] }

// TestNoStorm: where nothing happens the exit code is 0.
func TestNoStorm(t *testing.T) {
	t.Parallel()
	cmd, _ := pipedCommand(t, "storms", "-o", "json", "--duration", "2s")
	o := ended(t, cmd)
	if o.code != exitOK || o.stderr != "" || len(stormRecords(t, o.stdout)) != 0 {
		t.Errorf("exit code %d; %s; stderr: %s", o.code, o.stdout, o.stderr)
	}
	for _, args := range [][]string{{"--event", "open"}, {"--storm-rate", "-1"}, {"--storm-rate", "nan"}, {"--storm-window", "2h"}, {"--short-lived", "0s"}} {
		ran(append([]string{"storms"}, args...)...).failed(t, exitUsage, "storms --help")
	}
}
