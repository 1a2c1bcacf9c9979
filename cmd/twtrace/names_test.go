package main

import (
	"fmt"
	"os/exec"
	"strings"
	"testing"

	"github.com/twtrace/twtrace/internal/kerneltest"
)

// TestShortLived has processes come and go at 10,000 a minute, each with a connection:
// all are there, hardly any was too many to be looked up in time, and the memory of the
// trace does not grow with them.
func TestShortLived(t *testing.T) {
	t.Parallel()
	const processes = 1000
	kerneltest.RequireTool(t, "perl", "perl-base")
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
