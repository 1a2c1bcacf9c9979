package main

import (
	"fmt"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"github.com/twtrace/twtrace/internal/kerneltest"
)

// TestSlowSwarm has one shell loop start 3,000 processes that open a connection each. In
// the trace every one has its pid and its parent, and in the table they are one row
// with their number and their parent.
func TestSlowSwarm(t *testing.T) {
	t.Parallel()
	const processes = 3000
	ns := kerneltest.NetNS(t)
	hold(t, ns)
	curl := httpServer(t, ns)
	tr := startTrace(t, "-N", ns.Path(), "--role", "client")
	var tables talk
	top := command("top", "-b", "-i", "500ms", "-N", ns.Path())
	top.Stdout = &tables
	ns.Start(t, top)
	kerneltest.Eventually(t, patience, func() (bool, string) {
		return strings.Contains(tables.String(), "SEV"), "no table"
	})

	// Four at a time, for it is the shell that the machine waits for.
	loop := exec.Command("sh", "-c", fmt.Sprintf(
		"for i in $(seq %d); do for j in 1 2 3 4; do %s & echo $!; done; wait; done", processes/4, curl))
	var out strings.Builder
	loop.Stdout = &out
	ns.Start(t, loop)
	must(t, loop.Wait())
	pids := pidsIn(t, out.String())
	parent := uint32(loop.Process.Pid)

	seen := make(map[uint32]int)
	kerneltest.Eventually(t, patience, func() (bool, string) {
		clear(seen)
		for _, r := range tr.of("open", ns.Inum()) {
			seen[r.PID]++
		}
		skipped := tr.skipped()
		return len(seen)+skipped >= seenOf(len(pids)), fmt.Sprintf("%d of %d processes, %d transitions skipped", len(seen), len(pids), skipped)
	})
	for _, r := range tr.all() {
		several := r.PID == 0 && strings.HasPrefix(r.Event, "storm_") // no pid is that of them all
		if r.Netns == ns.Inum() && (!pids[r.PID] && !several || r.Comm != "curl" || r.PPID != parent || r.PComm != "sh") {
			t.Fatalf("a wrong owner: %+v", r)
		}
	}
	row := ""
	kerneltest.Eventually(t, patience, func() (bool, string) {
		row = lastRow(tables.String(), "curl")
		f := strings.Fields(row)
		if len(f) < 27 {
			return false, "the last row is " + row
		}
		n, err := strconv.Atoi(f[23]) // it may have missed others than the trace
		return err == nil && n >= seenOf(len(pids))-fewSkipped && n <= len(pids), "the last row is " + row
	})
	f := strings.Fields(row)
	if f[2] != "-" || f[25] != fmt.Sprint(parent) || f[26] != "sh" {
		t.Errorf("the row of the swarm: %s; want no pid, %d processes, parent sh[%d]", row, len(seen), parent)
	}
	for _, table := range strings.Split(tables.String(), "\n\n") {
		if n := strings.Count(table, " curl "); n > 8 {
			t.Errorf("%d rows of curl in one table:\n%s", n, table)
		}
	}
	checkLost(t, tr.stop())
}

// lastRow is the row of a comm in the last whole table.
func lastRow(tables, comm string) string {
	all := strings.Split(tables, "\n\n")
	if len(all) < 2 {
		return ""
	}
	row := ""
	for _, line := range strings.Split(all[len(all)-2], "\n") {
		if f := strings.Fields(line); len(f) > 1 && f[1] == comm {
			row = line
		}
	}
	return row
}
