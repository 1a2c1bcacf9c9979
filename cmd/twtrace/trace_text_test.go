package main

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twtrace/twtrace/internal/event"
	"github.com/twtrace/twtrace/internal/filter"
)

// fixtureText runs a command over the recording in testdata, which has an outage.
func fixtureText(t *testing.T, args ...string) []string {
	t.Helper()
	o := ran(append(args, "-r", "testdata/report.ndjson.zst")...)
	if o.code != exitOK || o.stderr != "" {
		t.Fatalf("%q: exit code %d: %s", args, o.code, o.stderr)
	}
	return strings.Split(strings.TrimSuffix(o.stdout, "\n"), "\n")
}

// TestPartSummary: --summary prints its table for a part of a recording as for all of it.
func TestPartSummary(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{{}, {"--to", "5s"}, {"-c", "300"}} {
		lines := fixtureText(t, append([]string{"trace", "--summary"}, args...)...)
		if len(lines) != 4 || !strings.HasPrefix(lines[0], "GROUP ") || !strings.HasPrefix(lines[1], "checkout ") {
			t.Errorf("%q prints\n%s", args, strings.Join(lines, "\n"))
		}
	}
}

// TestQuietText: one heading, the rows, and a last line that counts them.
func TestQuietText(t *testing.T) {
	t.Parallel()
	const rows, shown = "--event", "time_wait_enter"
	lines := fixtureText(t, "trace", "--utc", rows, shown)
	last := slices.IndexFunc(lines, func(l string) bool { return strings.HasPrefix(l, "# ") })
	if !strings.HasPrefix(lines[0], "TIME(UTC) ") || last != 301 || !strings.Contains(lines[last], ": 300 entered TIME_WAIT; no event lost") ||
		strings.Contains(strings.Join(lines, "\n"), "births") {
		t.Errorf("%d rows, between\n%s\nand\n%s", last-1, lines[0], strings.Join(lines[last:], "\n"))
	}
	if lines := fixtureText(t, "trace", rows, shown, "--no-header"); !strings.Contains(lines[0], " tw_enter ") {
		t.Errorf("with --no-header the first line is %s", lines[0])
	}
	if lines := fixtureText(t, "trace", rows, shown, "--header"); !strings.HasPrefix(lines[0], "# twtrace ") {
		t.Errorf("with --header the first line is %s", lines[0])
	}
	if lines := fixtureText(t, "trace", rows, shown, "--to", "2s"); !strings.HasPrefix(lines[len(lines)-1], "# end") {
		t.Errorf("a part ends in %s", lines[len(lines)-1])
	}
	states := fixtureText(t, "trace", rows, shown, "--fields", "TIME,Comm,LIFE,oldstate,NEWSTATE")
	if f := strings.Fields(states[1]); len(f) != 5 || f[4] != "TIME_WAIT" {
		t.Errorf("picked by headings: %s", states[1])
	}
}

// TestSnapshotsOnRequest: what was in TIME_WAIT before is in text if it is asked for, and
// always in the other formats.
func TestSnapshotsOnRequest(t *testing.T) {
	t.Parallel()
	for args, want := range map[string]int{"": 0, "--snapshot": 7, "--event snapshot": 7, "-o json": 7, "-o csv": 7} {
		src := played(1000, time.Second, busyClient(20))
		for i := range 7 {
			src.Found = append(src.Found, event.Event{Time: src.From.UnixNano(), Kind: event.Snapshot, NetNS: madeNetNS, Cookie: uint64(9000 + i), New: event.TimeWait})
		}
		o := over(t, src, append([]string{"trace"}, strings.Fields(args)...)...)
		n := 0
		for _, l := range strings.Split(o.stdout, "\n") {
			if strings.Contains(l, "snapshot") && !strings.HasPrefix(l, "#") {
				n++
			}
		}
		if o.code != exitOK || n != want {
			t.Errorf("trace %s: %d snapshots, want %d: %s", args, n, want, o.stderr)
		}
	}
}

// TestNoProcess: a pid that nobody has is said to be that, and no error.
func TestNoProcess(t *testing.T) {
	t.Parallel()
	for list, want := range map[string]string{
		"1": "", "!4194303": "",
		"4194303":           "no process 4194303 exists; only sockets that it left in TIME_WAIT can be shown",
		"1,4194302,4194303": "no processes 4194302, 4194303 exist; only sockets that they left in TIME_WAIT can be shown",
	} {
		f := &filter.Filter{}
		var err error
		if f.PIDs, err = filter.ParsePIDs(list); err != nil {
			t.Fatal(err)
		}
		if got := noProcess(f); got != want {
			t.Errorf("-p %s: %q, want %q", list, got, want)
		}
	}
}
