package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/twtrace/twtrace/internal/kerneltest"
	"github.com/twtrace/twtrace/internal/workload"
)

// stage is what watches the scenarios: one trace of storms and failed calls and one
// `twtrace ports`, of all namespaces.
type stage struct {
	mu    sync.Mutex
	trace *trace
	ports string         // file with what `twtrace ports` prints
	heavy sync.Mutex     // held by the one load that runs at full speed
	full  sync.WaitGroup // scenarios in which ports run out, at a pace

	database string // files of a MariaDB server
}

// piece is one load in a namespace of its own, with a range of so many ports.
type piece struct {
	name  string
	ports int
	play  func(t *testing.T, a *act)
	// want are the storms: reason, the worst severity, owner, of all and no others.
	want []string
	// fails are the failed calls: call, errno, owner; what else fails is wrong.
	fails []string
	// full is of ports that run out: early flags and forecasts are looked at.
	full bool
}

// act is a scenario that is on stage.
type act struct {
	*stage
	ns    *kerneltest.NS
	dir   string
	began time.Time // of the load
}

func TestScenarios(t *testing.T) {
	if testing.Short() {
		t.Skip("takes two minutes")
	}
	// Not beside other tests: a forecast supposes that the load goes on as it did.
	s := &stage{ports: filepath.Join(t.TempDir(), "ports"), database: t.TempDir()}
	installMariaDB(t, s.database)
	s.trace = startTrace(t, "--syscalls", "on", "--buffer", "64M", "--storm-window", "4s", "--event", "fail,storm_start,storm_update,storm_end")
	out, err := os.Create(s.ports)
	must(t, err)
	defer out.Close()
	ports := command("ports", "-o", "json", "-i", "1s", "-n", "0", "--buffer", "64M")
	ports.Stdout, ports.Stderr = out, os.Stderr
	must(t, ports.Start())
	s.awaitPorts(t)
	t.Run("stage", func(t *testing.T) {
		for _, sc := range scenarios {
			t.Run(sc.name, func(t *testing.T) {
				if sc.full {
					s.full.Add(1) // before any of them goes on
				}
				t.Parallel()
				s.show(t, sc)
			})
		}
	})
	must(t, ports.Process.Signal(unix.SIGINT))
	must(t, ports.Wait())
	if end := s.trace.stop(); len(end.Lost) > 0 {
		t.Logf("lost: %v", end.Lost)
	}
}

// awaitPorts waits until `twtrace ports` sees what happens.
func (s *stage) awaitPorts(t *testing.T) {
	t.Helper()
	a := &act{stage: s, ns: kerneltest.NetNS(t)}
	hold(t, a.ns)
	kerneltest.Eventually(t, patience, func() (bool, string) {
		_, err := workload.ActiveClose(workload.IPv4, 10).Run(t.Context(), a.ns.Path())
		must(t, err)
		return len(a.gauges(t)) > 0, "no line of `twtrace ports`"
	})
}

func (s *stage) show(t *testing.T, sc piece) {
	if sc.full {
		defer s.full.Done()
	}
	a := &act{stage: s, ns: kerneltest.NetNS(t), dir: t.TempDir()}
	hold(t, a.ns)
	a.ns.Sysctl(t, "net.ipv4.ip_local_port_range", fmt.Sprintf("40000 %d", 40000+sc.ports-1))
	a.ns.Sysctl(t, "net.ipv4.tcp_tw_reuse", "0")
	a.began = time.Now()
	sc.play(t, a)
	records := a.records()
	if got := stormsOf(records); !slices.Equal(got, sc.want) {
		t.Errorf("storms %q, want %q", got, sc.want)
	}
	if got := failsOf(records); !slices.Equal(got, sc.fails) {
		t.Errorf("failed calls %q, want %q", got, sc.fails)
	}
	if sc.full {
		a.checkEarly(t, records)
	}
}

// records are those of the namespace so far.
func (a *act) records() []record {
	a.mu.Lock()
	defer a.mu.Unlock()
	var out []record
	for _, r := range a.trace.all() {
		if r.Netns == a.ns.Inum() {
			out = append(out, r)
		}
	}
	return out
}

// until waits for as many records as f is true of.
func (a *act) until(t *testing.T, n int, f func(record) bool) {
	t.Helper()
	kerneltest.Eventually(t, 2*time.Minute, func() (bool, string) {
		seen := 0
		for _, r := range a.records() {
			if f(r) {
				seen++
			}
		}
		return seen >= n, fmt.Sprintf("%d of %d records", seen, n)
	})
}

func failed(r record) bool { return r.Event == "fail" }

func begun(r record) bool { return r.Event == "storm_start" }

// stormsOf are the storms in records, each once, sorted.
func stormsOf(records []record) []string {
	worst := make(map[string]string)
	for _, r := range records {
		if !strings.HasPrefix(r.Event, "storm") {
			continue
		}
		k := r.Reason + " %s " + r.Comm
		if worst[k] != "crit" {
			worst[k] = r.Severity
		}
	}
	var out []string
	for k, severity := range worst {
		out = append(out, fmt.Sprintf(k, severity))
	}
	slices.Sort(out)
	return out
}

// failsOf are the failed calls in records, each kind once, sorted.
func failsOf(records []record) []string {
	seen := make(map[string]bool)
	for _, r := range records {
		if failed(r) {
			seen[r.Call+" "+r.Errno+" "+r.Comm] = true
		}
	}
	return slices.Sorted(maps.Keys(seen))
}

// gauge is a line of `twtrace ports`.
type gauge struct {
	Time       time.Time
	What       string
	Netns      uint32
	Raddr      netip.Addr
	Rport      uint16
	Used       int
	Usable     int
	TimeWait   int      `json:"time_wait"`
	ExhaustsIn *float64 `json:"exhausts_in_s"`
}

// gauges are the lines of the namespace so far that are about ports.
func (a *act) gauges(t *testing.T) []gauge {
	t.Helper()
	f, err := os.Open(a.ports)
	must(t, err)
	defer f.Close()
	var out []gauge
	for lines := bufio.NewScanner(f); lines.Scan(); {
		var g gauge
		if json.Unmarshal(lines.Bytes(), &g) == nil && g.Netns == a.ns.Inum() && g.What != "buckets" {
			out = append(out, g)
		}
	}
	return out
}

// checkEarly wants the flag up when half of the time to the first refusal has passed,
// and the forecast at half use to be within 15 % of the truth.
func (a *act) checkEarly(t *testing.T, records []record) {
	t.Helper()
	var first, flag time.Time
	for _, r := range records {
		switch {
		case failed(r) && first.IsZero():
			first = r.Time
		case begun(r) && r.Reason == "ports" && flag.IsZero():
			flag = r.Time
		}
	}
	if first.IsZero() || flag.IsZero() {
		t.Errorf("the first failure at %v, the flag at %v", first, flag)
		return
	}
	took, up := first.Sub(a.began), flag.Sub(a.began)
	t.Logf("flag after %v, the first failure after %v", up.Round(time.Millisecond), took.Round(time.Millisecond))
	if up > took/2 {
		t.Errorf("the flag is up after %v, and the first failure came after %v", up, took)
	}
	for _, g := range a.gauges(t) {
		if 2*g.Used < g.Usable {
			continue
		}
		truth := first.Sub(g.Time).Seconds()
		if g.ExhaustsIn == nil {
			t.Errorf("at %d of %d ports no end was foreseen; it came after %.1f s", g.Used, g.Usable, truth)
		} else if off := *g.ExhaustsIn/truth - 1; off < -0.15 || off > 0.15 {
			t.Errorf("at %d of %d ports the end was foreseen in %.1f s; it came after %.1f s", g.Used, g.Usable, *g.ExhaustsIn, truth)
		} else {
			t.Logf("at %d of %d ports the end was foreseen in %.1f s; it came after %.1f s", g.Used, g.Usable, *g.ExhaustsIn, truth)
		}
		return
	}
	t.Error("no gauge shows half of the ports in use")
}
