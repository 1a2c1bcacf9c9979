package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"maps"
	"math"
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
	t     *testing.T // of all
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
	// want are the storms: reason, the worst severity, owner, destination, of all and
	// no others.
	want []string
	// fails are the failed calls: call, errno, owner; what else fails is wrong.
	fails []string
	// full is of ports that run out: early flags and forecasts are looked at.
	full bool
	// bound is of clients that bind first, which take ports from all destinations.
	bound bool
}

// act is a scenario that is on stage.
type act struct {
	*stage
	ns    *kerneltest.NS
	since time.Time // when there was no namespace of that number
	dir   string
	late  bool // the load was slower than it is to be
}

func TestScenarios(t *testing.T) {
	kerneltest.RequireRoot(t)
	// Not beside other tests: a forecast supposes that the load goes on as it did.
	s := &stage{t: t, ports: filepath.Join(t.TempDir(), "ports"), database: t.TempDir()}
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

// steadyTries is how often a load may be played until it goes on as it began.
const steadyTries = 3

func (s *stage) show(t *testing.T, sc piece) {
	if sc.full {
		defer s.full.Done()
	}
	for try := 1; ; try++ {
		// There to the end of all, so that no other namespace gets its number.
		a := &act{stage: s, since: time.Now(), ns: kerneltest.NetNS(s.t), dir: t.TempDir()}
		hold(t, a.ns)
		low := min(40000, 1<<16-sc.ports)
		a.ns.Sysctl(t, "net.ipv4.ip_local_port_range", fmt.Sprintf("%d %d", low, low+sc.ports-1))
		a.ns.Sysctl(t, "net.ipv4.tcp_tw_reuse", "0")
		sc.play(t, a)
		records := a.records()
		if try < steadyTries && (a.late || sc.full && !a.end(t, records).steady()) {
			t.Log("the machine was busy with something else, and the load did not go on as it began: once more")
			continue
		}
		a.check(t, sc, records)
		return
	}
}

// check compares what was told of the scenario with what is to be told.
func (a *act) check(t *testing.T, sc piece, records []record) {
	t.Helper()
	if got := stormsOf(records); !slices.Equal(got, sc.want) {
		t.Errorf("storms %q, want %q", got, sc.want)
	}
	starts := 0
	for _, r := range records {
		if begun(r) {
			starts++
		}
	}
	if starts != len(sc.want) {
		t.Errorf("%d storms begin, want each to begin once: %q", starts, sc.want)
	}
	if got := failsOf(records); !slices.Equal(got, sc.fails) {
		t.Errorf("failed calls %q, want %q", got, sc.fails)
	}
	a.checkWhere(t, sc.bound)
	if sc.full {
		a.end(t, records).checkEarly(t)
	}
}

// records are those of the namespace so far.
func (a *act) records() []record {
	a.mu.Lock()
	defer a.mu.Unlock()
	var out []record
	for _, r := range a.trace.all() {
		if r.Netns == a.ns.Inum() && r.Time.After(a.since) {
			out = append(out, r)
		}
	}
	return out
}

// until waits for as many records as f is true of.
func (a *act) until(t *testing.T, n int, f func(record) bool) {
	t.Helper()
	kerneltest.Eventually(t, patience, func() (bool, string) {
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
		if r.Raddr.IsValid() {
			k += fmt.Sprintf(" %v", netip.AddrPortFrom(r.Raddr, r.Rport))
		}
		if _, known := worst[k]; (known || begun(r)) && worst[k] != "crit" {
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
	What       string `json:"resource"`
	Netns      uint32
	Raddr      netip.Addr
	Rport      uint16
	Used       int
	Usable     int
	TimeWait   int      `json:"time_wait"`
	SynSent    int      `json:"syn_sent"`
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
		if json.Unmarshal(lines.Bytes(), &g) == nil && g.Netns == a.ns.Inum() && g.Time.After(a.since) && g.What != "buckets" {
			out = append(out, g)
		}
	}
	return out
}

// checkWhere wants ports that were bound first to be shown at the local address, and
// the others at their destination.
func (a *act) checkWhere(t *testing.T, bound bool) {
	t.Helper()
	for _, g := range a.gauges(t) {
		if local := g.What == "local_ports"; local != bound || local == g.Raddr.IsValid() {
			t.Errorf("%d ports in use, %s to %v", g.Used, g.What, g.Raddr)
			return
		}
	}
}

// end is how the ports of a scenario ran out.
type end struct {
	flag, first time.Time // the storm begins, the first call fails
	some, half  gauge     // the first line that has ports in use, and one that has half of them
}

func (a *act) end(t *testing.T, records []record) *end {
	t.Helper()
	e := &end{}
	for _, r := range records {
		switch {
		case failed(r) && e.first.IsZero():
			e.first = r.Time
		case begun(r) && r.Reason == "ports" && e.flag.IsZero():
			e.flag = r.Time
		}
	}
	for _, g := range a.gauges(t) {
		if g.Used > 0 && e.some.Used == 0 {
			e.some = g
		}
		if g.Usable > 0 && 2*g.Used >= g.Usable { // it is not known of a namespace just made
			e.half = g
			break
		}
	}
	if e.first.IsZero() || e.flag.IsZero() || e.half.Used == 0 {
		t.Fatalf("the first failure at %v, the flag at %v, half of the ports in use: %+v", e.first, e.flag, e.half)
	}
	return e
}

// steady reports whether ports were taken as fast from the half on as before: a
// forecast supposes that.
func (e *end) steady() bool {
	before := float64(e.half.Used-e.some.Used) / e.half.Time.Sub(e.some.Time).Seconds()
	after := float64(e.half.Usable-e.half.Used) / e.first.Sub(e.half.Time).Seconds()
	return after > 0.9*before && 0.9*after < before
}

// checkEarly wants the flag up when half of the time from the first port that is taken
// to the first refusal has passed, and the forecast at half use to be within 15 % of the truth.
func (e *end) checkEarly(t *testing.T) {
	t.Helper()
	took, up := e.first.Sub(e.some.Time), e.flag.Sub(e.some.Time)
	t.Logf("flag after %v, the first failure after %v", up.Round(time.Millisecond), took.Round(time.Millisecond))
	if up > took/2 {
		t.Errorf("the flag is up after %v, and the first failure came after %v", up, took)
	}
	truth, foreseen := e.first.Sub(e.half.Time).Seconds(), math.Inf(1)
	if in := e.half.ExhaustsIn; in != nil {
		foreseen = *in
	}
	words := fmt.Sprintf("at %d of %d ports the end was foreseen in %.1f s; it came after %.1f s", e.half.Used, e.half.Usable, foreseen, truth)
	if off := foreseen/truth - 1; off < -0.15 || off > 0.15 {
		t.Error(words)
	} else {
		t.Log(words)
	}
}
