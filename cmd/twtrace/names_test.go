package main

import (
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"testing"

	"github.com/twtrace/twtrace/internal/event"
	"github.com/twtrace/twtrace/internal/kerneltest"
	"github.com/twtrace/twtrace/internal/process"
	"github.com/twtrace/twtrace/internal/tracer"
)

// source yields events numbered by their cookie, each of a process of its own that is
// not there any more, in bursts, and then an end.
func source(events, burst int) func(*event.Event) error {
	n, idle := 0, false
	return func(e *event.Event) error {
		switch {
		case n == events:
			return io.EOF
		case !idle && n%burst == 0:
			idle = true
			return tracer.ErrIdle
		}
		n++
		idle = false
		*e = event.Event{Kind: event.Open, Cookie: uint64(n), Opener: event.Proc{PID: 4194303, Comm: "gone", Who: &event.Who{Start: uint64(n)}}}
		return nil
	}
}

// TestNamerKeepsOrder: every event comes out once, in order, and before the idle
// moment or the end that it came before.
func TestNamerKeepsOrder(t *testing.T) {
	t.Parallel()
	const events, burst = 20000, 3000 // more than may be looked up in a second
	n := newNamer(source(events, burst), process.Options{})
	defer n.stop()
	var e event.Event
	for got := uint64(0); ; {
		switch err := n.next(&e); {
		case err == nil:
			if got++; e.Cookie != got || e.Opener.Comm != "gone" || e.Opener.PID != 4194303 {
				t.Fatalf("event %d is %+v", got, e)
			}
		case errors.Is(err, tracer.ErrIdle):
			if got%burst != 0 {
				t.Fatalf("idle after %d events", got)
			}
		case errors.Is(err, io.EOF):
			if got != events {
				t.Fatalf("%d events of %d", got, events)
			}
			names := n.unnamed()
			if sum := names["gone"] + names["throttled"]; sum < events || names["gone"] == 0 {
				t.Errorf("%v of %d processes", names, events)
			}
			return
		default:
			t.Fatal(err)
		}
	}
}

// TestNamerWaitsForNobody: with a resolver that answers nothing, events go on.
func TestNamerWaitsForNobody(t *testing.T) {
	t.Parallel()
	n := newNamer(source(100, 10), process.Options{})
	n.stop()
	var e event.Event
	for got := 0; ; {
		switch err := n.next(&e); {
		case err == nil:
			got++
		case errors.Is(err, io.EOF):
			if names := n.unnamed(); got != 100 || names["throttled"] != 100 {
				t.Errorf("%d events; %v", got, names)
			}
			return
		case !errors.Is(err, tracer.ErrIdle):
			t.Fatal(err)
		}
	}
}

// TestShortLived has processes come and go at 10,000 a minute, each with a connection:
// all are there, hardly any was too many to be looked up in time, and the memory of the
// trace does not grow with them.
func TestShortLived(t *testing.T) {
	t.Parallel()
	const processes = 1000
	ns := kerneltest.NetNS(t)
	hold(t, ns)
	url := httpServer(t, ns)
	port := url[strings.LastIndexByte(url, ':')+1 : len(url)-1]
	tr := startTrace(t, "-N", ns.Path(), "--role", "client")
	burst := func(n int) map[uint32]bool {
		cmd := exec.Command("perl", "-MSocket", "-e", fmt.Sprintf(
			`for (1..%d) {
				my $pid = fork;
				if (!$pid) {
					socket my $s, PF_INET, SOCK_STREAM, 0;
					connect $s, sockaddr_in(%s, INADDR_LOOPBACK) or die $!;
					exit;
				}
				print "$pid\n";
				select undef, undef, undef, 0.006;
				wait;
			}`, n, port))
		var out strings.Builder
		cmd.Stdout = &out
		ns.Start(t, cmd)
		must(t, cmd.Wait())
		return pidsIn(t, out.String())
	}
	seen := make(map[uint32]bool)
	all := func(want int) {
		t.Helper()
		kerneltest.Eventually(t, patience, func() (bool, string) {
			for _, r := range tr.of("open", ns.Inum()) {
				seen[r.PID] = true
			}
			skipped := tr.skipped()
			return len(seen)+skipped >= seenOf(want), fmt.Sprintf("%d of %d processes, %d transitions skipped", len(seen), want, skipped)
		})
	}
	truth := burst(100)
	all(len(truth))
	before := usageOf(t, tr.cmd.Process.Pid).memory
	for pid := range burst(processes) {
		truth[pid] = true
	}
	all(len(truth))
	grown := usageOf(t, tr.cmd.Process.Pid).memory - before
	t.Logf("memory grew by %d KiB for %d processes", grown>>10, processes)
	if grown > processes<<14 {
		t.Errorf("memory grew by %d bytes for %d processes", grown, processes)
	}
	end := tr.stop()
	checkLost(t, end)
	for _, r := range tr.all() {
		if r.Netns == ns.Inum() && (!truth[r.PID] || r.Comm != "perl" || r.PComm != "perl" || r.PPID == 0) {
			t.Fatalf("a wrong owner: %+v", r)
		}
	}
	if n := end.Unnamed["throttled"]; n > processes/10 {
		t.Errorf("%d processes were too many to be looked up", n)
	}
}
