package main

import (
	"cmp"
	"slices"
	"testing"
	"time"

	"github.com/twtrace/twtrace/internal/workload"
)

// next are the transitions that the TCP state machine of RFC 9293 allows, as
// Linux words them. A mini-socket that takes over is its own step.
var next = map[string][]string{
	"CLOSE":       {"SYN_SENT"},
	"SYN_SENT":    {"ESTABLISHED", "CLOSE"},
	"SYN_RECV":    {"ESTABLISHED"},
	"ESTABLISHED": {"FIN_WAIT1", "CLOSE_WAIT", "CLOSE"},
	"FIN_WAIT1":   {"FIN_WAIT2", "CLOSING", "CLOSE"},
	"FIN_WAIT2":   {"TIME_WAIT", "CLOSE"},
	"CLOSING":     {"TIME_WAIT", "CLOSE"},
	"CLOSE_WAIT":  {"LAST_ACK", "CLOSE"},
	"LAST_ACK":    {"CLOSE"},
	"TIME_WAIT":   {"CLOSE"},
}

// TestStatesTraced follows connections through every state: each transition starts
// where the one before ended, and the times in the states add up to the time
// that passed.
func TestStatesTraced(t *testing.T) {
	t.Parallel()
	t.Attr("row", "`--states all`: every transition")
	ns := churnNS(t)
	tr := startTrace(t, "-N", ns.Path(), "--states", "all")
	for _, s := range []workload.Scenario{
		workload.ActiveClose(workload.IPv4, connections),
		workload.ClientCloses(workload.IPv4, connections),
		workload.ServerCloses(workload.IPv4, connections),
		workload.LateFin(workload.IPv4, connections, 500*time.Millisecond),
		workload.Reset(workload.IPv4, connections),
	} {
		if _, err := s.Run(t.Context(), ns.Path()); err != nil {
			t.Fatal(err)
		}
	}
	tr.stop()
	byCookie := make(map[string][]record)
	for _, r := range tr.all() {
		if r.Netns == ns.Inum() && r.Oldstate != "LISTEN" && r.Newstate != "LISTEN" {
			byCookie[r.Cookie] = append(byCookie[r.Cookie], r)
		}
	}
	if want := 5 * 2 * connections; len(byCookie) < want {
		t.Fatalf("%d sockets, want %d", len(byCookie), want)
	}
	steps, gaps := 0, 0
	for cookie, path := range byCookie {
		slices.SortStableFunc(path, func(a, b record) int { return a.Time.Compare(b.Time) })
		steps += len(path)
		if gap(path) {
			gaps++
			t.Logf("%s lacks a step: %q", cookie, words(path))
			continue
		}
		checkPath(t, cookie, path)
	}
	if steps-gaps < seenOf(steps) {
		t.Errorf("%d of %d sockets lack a step", gaps, len(byCookie))
	}
}

// gap reports whether a step is missing between two others.
func gap(path []record) bool {
	for i := range path[1:] {
		if path[i].Newstate != path[i+1].Oldstate {
			return true
		}
	}
	return false
}

// checkPath is of a path without a gap.
func checkPath(t *testing.T, cookie string, path []record) {
	t.Helper()
	var inStates int64
	for i, r := range path {
		if !slices.Contains(next[r.Oldstate], r.Newstate) {
			t.Errorf("%s: %s from %s to %s", cookie, r.Event, r.Oldstate, r.Newstate)
		}
		if i == 0 {
			continue
		}
		inStates += r.StateNs
	}
	passed := path[len(path)-1].Time.Sub(path[0].Time).Nanoseconds()
	if cmp.Compare(inStates, passed) != 0 {
		t.Errorf("%s: %d ns in all states, %d ns passed: %+v", cookie, inStates, passed, words(path))
	}
}

func words(path []record) []string {
	var out []string
	for _, r := range path {
		out = append(out, r.Event+" "+r.Oldstate+">"+r.Newstate+" "+time.Duration(r.StateNs).String())
	}
	return out
}
