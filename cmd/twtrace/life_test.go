package main

import (
	"context"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twtrace/twtrace/internal/event"
	"github.com/twtrace/twtrace/internal/kernel"
	"github.com/twtrace/twtrace/internal/kerneltest"
	"github.com/twtrace/twtrace/internal/workload"
)

// lifeCase is one way in which connections end, in namespaces of its own.
type lifeCase struct {
	name   string
	run    func(context.Context, []*kerneltest.NS) (workload.Result, error)
	owner  event.Role // whose TIME_WAIT it is; none: both ends'
	closer string
	reason string // "" if the scheduler decides

	ns     []*kerneltest.NS
	result workload.Result
}

// connections is a prime number: 23 in, 23 out.
const connections = 23

func scenario(s workload.Scenario) func(context.Context, []*kerneltest.NS) (workload.Result, error) {
	return func(ctx context.Context, ns []*kerneltest.NS) (workload.Result, error) {
		return s.Run(ctx, ns[0].Path())
	}
}

func lifeCases(t *testing.T) []*lifeCase {
	var out []*lifeCase
	for family, at := range map[string]netip.AddrPort{
		"IPv4": workload.IPv4, "IPv6": workload.IPv6, "mapped": workload.Mapped} {
		out = append(out,
			&lifeCase{name: "client closes " + family, owner: event.Client, closer: "local",
				run: scenario(workload.ClientCloses(at, connections))},
			&lifeCase{name: "server closes " + family, owner: event.Server, closer: "local",
				run: scenario(workload.ServerCloses(at, connections))},
			&lifeCase{name: "client half-closes " + family, owner: event.Client, closer: "local", reason: "active_close",
				run: scenario(workload.ActiveClose(at, connections))},
			&lifeCase{name: "server closes late " + family, owner: event.Client, closer: "local", reason: "late_fin",
				run: scenario(workload.LateFin(at, connections, 500*time.Millisecond))})
	}
	for family, at := range map[string]netip.AddrPort{"IPv4": workload.WireIPv4, "IPv6": workload.WireIPv6} {
		out = append(out, &lifeCase{name: "both close at once " + family, closer: "both", reason: "simultaneous_close",
			run: func(ctx context.Context, ns []*kerneltest.NS) (workload.Result, error) {
				w, err := workload.NewWire(ns[0].Path(), ns[1].Path())
				if err != nil {
					return workload.Result{}, err
				}
				// The last acknowledgments are under way when the processes are gone.
				t.Cleanup(func() { w.Close() })
				return workload.SimultaneousClose(ctx, w, at, connections)
			}})
	}
	return out
}

// begins is how many TIME_WAITs the case must have.
func (c *lifeCase) begins() int {
	if c.owner == event.RoleNone {
		return 2 * connections
	}
	return connections
}

// TestLife makes connections that end in every way there is, all at the same
// time, and compares every begin and end of TIME_WAIT with what the processes
// logged about themselves.
func TestLife(t *testing.T) {
	t.Parallel()
	t.Attr("row", "starts and ends, 14 ways to close")
	cases := lifeCases(t)
	var paths []string
	for _, c := range cases {
		c.ns = []*kerneltest.NS{kerneltest.NetNS(t), kerneltest.NetNS(t)}
		for _, ns := range c.ns {
			hold(t, ns)
			ns.KeepTimeWait(t)
			paths = append(paths, ns.Path())
		}
	}
	tr := startTrace(t, "-N", strings.Join(paths, ","))
	runAll(t, cases)
	kerneltest.Eventually(t, patience, func() (bool, string) {
		alive := 0
		for _, c := range cases {
			for _, ns := range c.ns {
				alive += int(ns.Sockstat(t)["TCP tw"])
			}
		}
		return alive == 0, fmt.Sprintf("%d in TIME_WAIT", alive)
	})
	end := tr.stop()
	checkLost(t, end)
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) { c.check(t, tr, end) })
	}
}

func runAll(t *testing.T, cases []*lifeCase) {
	t.Helper()
	var wg sync.WaitGroup
	for _, c := range cases {
		wg.Go(func() {
			var err error
			if c.result, err = c.run(t.Context(), c.ns); err != nil {
				t.Errorf("%s: %v", c.name, err)
			}
		})
	}
	wg.Wait()
	if t.Failed() {
		t.FailNow()
	}
}

func (c *lifeCase) check(t *testing.T, tr *trace, end record) {
	truth := make(map[uint64]workload.Record)
	for _, r := range c.result.Records() {
		if c.owner == event.RoleNone || r.Role == c.owner {
			truth[r.Cookie] = r
		}
	}
	if len(truth) != c.begins() {
		t.Fatalf("the workload logged %d connections, want %d", len(truth), c.begins())
	}
	enters := make(map[uint64]int)
	exits := make(map[uint64]int)
	for _, ns := range c.ns {
		for _, r := range tr.of("time_wait_enter", ns.Inum()) {
			enters[cookie(t, r)]++
			c.checkEnter(t, tr, r, truth[cookie(t, r)])
		}
		for _, r := range tr.of("time_wait_exit", ns.Inum()) {
			exits[cookie(t, r)]++
			checkExit(t, r, enters[cookie(t, r)] > 0)
		}
	}
	once(t, "time_wait_enter", truth, enters, hiddenBirths(end, c.ns))
	once(t, "time_wait_exit", truth, exits, hiddenExits(end, c.ns))
}

// hiddenExits is the same of the ends. Timers expire many at a time, so one interrupt of
// PID 1 can hide all ends of a namespace.
func hiddenExits(end record, namespaces []*kerneltest.NS) int {
	n := 0
	for _, d := range end.Drift {
		for _, ns := range namespaces {
			if kerneltest.PID1Artefact() && d.Netns == ns.Inum() {
				n += int(d.Births - d.Alive)
			}
		}
	}
	return n
}

// hiddenBirths is what the trace itself says that it has not seen, and may not
// have seen: only on a kernel that hides events is it allowed to be above 0.
func hiddenBirths(end record, namespaces []*kerneltest.NS) int {
	n := 0
	for _, ns := range namespaces {
		births, _ := hiddenIn(end, ns)
		n += births
	}
	return n
}

// seenOf is how many of n events are seen at least: all of them, but on a kernel that hides
// some.
func seenOf(n int) int {
	if kerneltest.PID1Artefact() {
		return max(n-1-n/500, 0)
	}
	return n
}

// hiddenIn is that for one namespace, and for refusals too.
func hiddenIn(end record, ns *kerneltest.NS) (births, refusals int) {
	if !kerneltest.PID1Artefact() {
		return 0, 0
	}
	for _, d := range end.Drift {
		if d.Netns == ns.Inum() {
			births += int(max(d.Births, 0))
			refusals += int(max(d.Refused, 0))
		}
	}
	return births, refusals
}

// once checks that each connection of truth, and no other, was seen once.
func once(t *testing.T, what string, truth map[uint64]workload.Record, seen map[uint64]int, hidden int) {
	t.Helper()
	missing := 0
	for cookie, n := range seen {
		if _, ok := truth[cookie]; !ok {
			t.Errorf("%s of cookie %x, which the workload did not have", what, cookie)
		} else if n != 1 {
			t.Errorf("%d times %s of cookie %x", n, what, cookie)
		}
	}
	for cookie := range truth {
		if seen[cookie] == 0 {
			missing++
		}
	}
	if missing > hidden {
		t.Errorf("%s: %d of %d missing, and the trace knows of %d", what, missing, len(truth), hidden)
	}
}

func cookie(t testing.TB, r record) uint64 {
	t.Helper()
	n, err := strconv.ParseUint(r.Cookie, 16, 64)
	if err != nil {
		t.Fatalf("cookie of %+v: %v", r, err)
	}
	return n
}

func (c *lifeCase) checkEnter(t *testing.T, tr *trace, r record, want workload.Record) {
	t.Helper()
	got := fmt.Sprintf("%v:%d>%v:%d %s pid=%d comm=%s closer=%s", r.Laddr, r.Lport, r.Raddr, r.Rport,
		r.Role, r.PID, r.Comm, r.Closer)
	exp := fmt.Sprintf("%v:%d>%v:%d %v pid=%d comm=%s closer=%s", want.Local.Addr(), want.Local.Port(),
		want.Remote.Addr(), want.Remote.Port(), want.Role, want.PID, want.Comm, c.closer)
	if got != exp {
		t.Errorf("begin: got  %s\n            want %s", got, exp)
	}
	switch {
	case c.reason != "" && r.Reason != c.reason:
		t.Errorf("begin of %x: reason %q, want %q", want.Cookie, r.Reason, c.reason)
	case r.Reason == "simultaneous_close" && r.Oldstate != "CLOSING",
		r.Reason != "simultaneous_close" && r.Oldstate != "FIN_WAIT2":
		t.Errorf("begin of %x: %s out of %s", want.Cookie, r.Reason, r.Oldstate)
	}
	if r.Newstate != "TIME_WAIT" || r.LifeNs <= 0 || r.StateNs <= 0 {
		t.Errorf("begin of %x: newstate %s, life %d, state_ns %d", want.Cookie, r.Newstate, r.LifeNs, r.StateNs)
	}
	if how := tr.ownerBy(want.Role); r.Owner != how {
		t.Errorf("begin of %x: owner is known by %q, want %q", want.Cookie, r.Owner, how)
	}
}

// checkExit checks the length of TIME_WAIT: 60 s, which the timer wheel rounds
// up to its granularity. It is not known of one whose begin was not seen.
func checkExit(t *testing.T, r record, begun bool) {
	t.Helper()
	if r.Reason == "" && kerneltest.PID1Artefact() { // timers expire many at a time, and so are hidden
		t.Logf("the end of %s was found by a comparison", r.Cookie)
		return
	}
	if r.Reason != "expired" || r.Oldstate != "TIME_WAIT" || r.Newstate != "CLOSE" {
		t.Errorf("end of %s: %s, from %s to %s", r.Cookie, r.Reason, r.Oldstate, r.Newstate)
	}
	if !begun {
		if r.StateNs != 0 {
			t.Errorf("end of %s: TIME_WAIT of %v, whose begin was not seen", r.Cookie, time.Duration(r.StateNs))
		}
		return
	}
	host, err := kernel.ThisHost()
	if err != nil {
		t.Fatal(err)
	}
	low, high := 59900*time.Millisecond, 62500*time.Millisecond
	if host.HZ != 250 {
		high = 66 * time.Second
	}
	if d := time.Duration(r.StateNs); d < low || d > high {
		t.Errorf("end of %s: TIME_WAIT of %v, want %v to %v", r.Cookie, d, low, high)
	}
}
