package main

import (
	"fmt"
	"maps"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twtrace/twtrace/internal/event"
	"github.com/twtrace/twtrace/internal/kernel"
	"github.com/twtrace/twtrace/internal/kerneltest"
	"github.com/twtrace/twtrace/internal/netns"
	"github.com/twtrace/twtrace/internal/workload"
)

// fact is what a record says of the begin or the end of a connection.
type fact struct {
	event  string
	reason string
	// fentryOnly: only trampolines tell the reason. Elsewhere it must be absent, not
	// wrong; or may be, if some kernels let timers tell it.
	fentryOnly, orTimer bool
}

func enter(reason string) fact  { return fact{event: "time_wait_enter", reason: reason} }
func exit(reason string) fact   { return fact{event: "time_wait_exit", reason: reason} }
func closed(reason string) fact { return fact{event: "close", reason: reason} }

// byFentry is f where only trampolines tell the reason.
func byFentry(f fact) fact {
	f.fentryOnly = true
	return f
}

func (f fact) String() string { return strings.TrimSpace(f.event + " " + f.reason) }

// byFentryOrTimer is f where timers tell the reason on some kernels.
func byFentryOrTimer(f fact) fact {
	f.fentryOnly, f.orTimer = true, true
	return f
}

// like reports whether f, which was told, is what want is with a hook set.
func (f fact) like(want fact, set string) bool {
	blind := want.fentryOnly && set == "timer"
	return f.event == want.event &&
		(f.reason == want.reason && (!blind || want.orTimer) || f.reason == "" && blind)
}

// likeAll is like for all facts of a socket.
func likeAll(got, want []fact, set string) bool {
	return slices.EqualFunc(got, want, func(g, w fact) bool { return g.like(w, set) })
}

// reasonCase is one way in which connections begin and end TIME_WAIT, or go without.
type reasonCase struct {
	name   string
	exits  bool // the namespace ends with the case
	run    func(*reasonRun)
	client []fact // all that is told of the client's end after it was established, in order
	server []fact
	rearms int             // of each TIME_WAIT that ends, at least
	mibs   kernel.Counters // by how much the kernel's counters grow; only TW, TWRecycled and TWOverflow count
}

// reasonRun is a reasonCase in a namespace of its own.
type reasonRun struct {
	reasonCase
	t      *testing.T
	ns     *netns.NS
	far    string // namespace of the servers, "" for ns
	at     netip.AddrPort
	shared *sharedTrace
	pairs  []*workload.Pair
	atEnd  []func() error  // closes what must stay open until the trace is over
	last   kernel.Counters // the counters while the namespace was there
}

// sharedTrace is a trace that tests look at in parallel.
type sharedTrace struct {
	mu sync.Mutex
	*trace
	set string // hook set in use
}

func (s *sharedTrace) ofNetns(netns uint32) []record {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []record
	for _, r := range s.all() {
		if r.Netns == netns {
			out = append(out, r)
		}
	}
	return out
}

// hookSet is the one that a trace uses.
func hookSet(tr *trace) string {
	if slices.Contains(tr.all()[0].Hooks, "timer_start") {
		return "timer"
	}
	return "fentry"
}

// TestReason makes 23 connections for each reason there is and wants each end of
// each connection told once, with that reason and nothing else.
func TestReason(t *testing.T) {
	t.Parallel()
	t.Attr("row", "reasons")
	var runs []*reasonRun
	var paths []string
	for family, at := range map[string]netip.AddrPort{"IPv4": workload.IPv4, "IPv6": workload.IPv6} {
		for _, c := range reasonCases() {
			r := &reasonRun{reasonCase: c, at: at}
			r.name += " " + family
			r.ns = reasonNS(t, c.exits)
			runs = append(runs, r)
			paths = append(paths, r.ns.Path())
		}
	}
	// So many namespaces are no filter for the kernel's part: all of the host's traffic
	// goes through the ring.
	shared := &sharedTrace{trace: startTrace(t, "--buffer", "64M", "-N", strings.Join(paths, ","))}
	shared.set = hookSet(shared.trace)
	t.Cleanup(func() { checkReasons(t, shared, runs) })
	for _, r := range runs {
		t.Run(r.name, func(t *testing.T) {
			t.Parallel()
			r.t, r.shared = t, shared
			r.test()
		})
	}
}

// reasonNS is a network namespace. One that is to end has no process in it.
func reasonNS(t *testing.T, exits bool) *netns.NS {
	t.Helper()
	if !exits {
		ns := kerneltest.NetNS(t)
		hold(t, ns)
		return ns.NetNS()
	}
	kerneltest.RequireRoot(t)
	ns, err := netns.New()
	must(t, err)
	return ns
}

func (r *reasonRun) test() {
	before := r.counters()
	r.reasonCase.run(r)
	if !r.exits {
		r.last = r.counters()
	}
	begin := time.Now()
	wrong := r.wrong()
	for ; len(wrong) > 0 && time.Since(begin) < patience; wrong = r.wrong() {
		time.Sleep(kerneltest.Pause(begin))
	}
	for _, w := range wrong[:min(len(wrong), 5)] {
		r.t.Error(w)
	}
	if len(wrong) > 5 {
		r.t.Errorf("... and %d more", len(wrong)-5)
	}
	grown := func(f func(kernel.Counters) uint64) uint64 { return f(r.last) - f(before) }
	for name, f := range map[string]func(kernel.Counters) uint64{
		"births":              func(c kernel.Counters) uint64 { return c.TW + c.TWKilled },
		"TWRecycled":          func(c kernel.Counters) uint64 { return c.TWRecycled },
		"TCPTimeWaitOverflow": func(c kernel.Counters) uint64 { return c.TWOverflow },
	} {
		if got, want := grown(f), f(r.mibs); got != want {
			r.t.Errorf("the kernel counted %s %d times, the scenario wants %d: it is not what it says", name, got, want)
		}
	}
	r.t.Attr("matrix", r.tells())
}

// tells says for the kernel matrix how well the hook set in use tells the reasons.
func (r *reasonRun) tells() string {
	told, _ := r.facts()
	for c, want := range r.expected() {
		for i, f := range told[c] {
			if f.reason == "" && (i >= len(want) || want[i].reason != "") {
				return "absent"
			}
		}
	}
	return "exact"
}

// expected is what is to be told of each socket.
func (r *reasonRun) expected() map[uint64][]fact {
	out := make(map[uint64][]fact)
	for _, p := range r.pairs {
		out[p.Client.Cookie], out[p.Server.Cookie] = r.client, r.server
	}
	return out
}

// facts are what was told of each socket, less that it was established or never was. A
// range of one port is full soon, which is a storm of its own.
func (r *reasonRun) facts() (told map[uint64][]fact, rearms map[uint64]int) {
	told, rearms = make(map[uint64][]fact), make(map[uint64]int)
	for _, rec := range r.shared.ofNetns(r.ns.Inum()) {
		if rec.Event == "open" || rec.Event == "fail" || strings.HasPrefix(rec.Event, "storm_") {
			continue
		}
		c := cookie(r.t, rec)
		told[c] = append(told[c], fact{event: rec.Event, reason: rec.Reason})
		rearms[c] += rec.Rearms
	}
	return told, rearms
}

// wrong compares what was told with what happened. As many begins may be missing as
// the kernel does not let BPF see.
func (r *reasonRun) wrong() []string {
	var out []string
	told, rearms := r.facts()
	expected := r.expected()
	hidden := r.hidden(told)
	for c, want := range expected {
		got := told[c]
		switch {
		case likeAll(got, want, r.shared.set):
		case hidden > 0 && likeAll(got, withoutEnter(want), r.shared.set):
			hidden--
		default:
			out = append(out, fmt.Sprintf("%x: told %v, want %v by %s", c, got, want, r.shared.set))
		}
		// On a slow machine the peer sends its FIN again, now and then.
		if ends(got, "time_wait_exit") && rearms[c] < r.rearms {
			out = append(out, fmt.Sprintf("%x: %d rearms, want %d", c, rearms[c], r.rearms))
		}
	}
	for c, got := range told {
		// The inode number of a namespace that is gone is soon another's.
		if _, ok := expected[c]; !ok && !r.exits {
			out = append(out, fmt.Sprintf("%x, which is none of the scenario's: told %v", c, got))
		}
	}
	slices.Sort(out)
	return out
}

func withoutEnter(facts []fact) []fact {
	return slices.DeleteFunc(slices.Clone(facts), func(f fact) bool { return f.event == "time_wait_enter" })
}

func ends(facts []fact, event string) bool {
	return slices.ContainsFunc(facts, func(f fact) bool { return f.event == event })
}

// hidden is how many begins the kernel counted and the trace did not see, where that
// is known to happen.
func (r *reasonRun) hidden(told map[uint64][]fact) int {
	if !kerneltest.PID1Artefact() {
		return 0
	}
	n := int(r.last.TW + r.last.TWKilled)
	for _, facts := range told {
		if ends(facts, "time_wait_enter") {
			n--
		}
	}
	return n
}

// checkReasons ends the trace and looks once more: nothing may have come since.
func checkReasons(t *testing.T, shared *sharedTrace, runs []*reasonRun) {
	living := livingNetNS(t)
	end := shared.stop()
	maps.Copy(living, livingNetNS(t))
	checkLost(t, end)
	for _, r := range runs {
		if r.t == nil || r.t.Failed() {
			continue // left out by -run, or said already
		}
		for _, w := range r.wrong() {
			t.Errorf("%s, at the end: %s", r.name, w)
		}
		for _, d := range end.Drift {
			if r.exits && living[d.Netns] {
				continue // the number of one that is gone is another's now
			}
			if d.Netns == r.ns.Inum() && (!kerneltest.PID1Artefact() || d.Births < 0) {
				t.Errorf("%s: drift %+v", r.name, d)
			}
		}
	}
	t.Logf("%s: ends by reason %v", shared.set, end.Ends)
	for _, r := range runs {
		for _, end := range r.atEnd {
			must(t, end())
		}
	}
}

// counters are the kernel's own of the namespace.
func (r *reasonRun) counters() kernel.Counters {
	r.t.Helper()
	ns, err := kernel.FindNetNS(r.ns.Path())
	must(r.t, err)
	c, err := ns.Counters()
	must(r.t, err)
	return c
}

func (r *reasonRun) sysctl(name, value string) {
	r.t.Helper()
	must(r.t, r.ns.Sysctl(name, value))
}

// ss runs ss in the namespace.
func (r *reasonRun) ss(args ...string) {
	r.t.Helper()
	must(r.t, r.ns.Do(func() error {
		if out, err := exec.Command("ss", args...).CombinedOutput(); err != nil {
			return fmt.Errorf("ss %s: %w: %s", strings.Join(args, " "), err, out)
		}
		return nil
	}))
}

// minis waits until there are n mini-sockets.
func (r *reasonRun) minis(n int) {
	r.t.Helper()
	kerneltest.Eventually(r.t, patience, func() (bool, string) {
		have := r.counters().TimeWait
		return have == uint64(n), fmt.Sprintf("%d mini-sockets, want %d", have, n)
	})
}

// births waits until the kernel has counted n births.
func (r *reasonRun) births(n int) {
	r.t.Helper()
	kerneltest.Eventually(r.t, patience, func() (bool, string) {
		c := r.counters()
		return c.TW+c.TWKilled == uint64(n), fmt.Sprintf("%d births, want %d", c.TW+c.TWKilled, n)
	})
}

// inSegs is how many segments the namespace has received.
func (r *reasonRun) inSegs() uint64 {
	r.t.Helper()
	var snmp []byte
	must(r.t, r.ns.Do(func() (err error) {
		snmp, err = os.ReadFile("/proc/thread-self/net/snmp")
		return err
	}))
	var names []string
	for line := range strings.Lines(string(snmp)) {
		fields := strings.Fields(line)
		i := slices.Index(names, "InSegs")
		if fields[0] == "Tcp:" && i > 0 {
			n, err := strconv.ParseUint(fields[i], 10, 64)
			must(r.t, err)
			return n
		}
		if fields[0] == "Tcp:" {
			names = fields
		}
	}
	r.t.Fatalf("no InSegs in %s", snmp)
	return 0
}

// inState waits until the socket is in a state.
func (r *reasonRun) inState(s *workload.Socket, want event.State) {
	r.t.Helper()
	kerneltest.Eventually(r.t, patience, func() (bool, string) {
		have, err := s.State()
		must(r.t, err)
		return have == want, fmt.Sprintf("%v, want %v", have, want)
	})
}
