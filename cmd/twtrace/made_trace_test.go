package main

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twtrace/twtrace/internal/conn/conntest"
	"github.com/twtrace/twtrace/internal/event"
	"github.com/twtrace/twtrace/internal/session/sessiontest"
)

// TestExhaust: each process whose connect() finds no port is in as many records as it
// counted, with the call and its error.
func TestExhaust(t *testing.T) {
	t.Parallel()
	w := &conntest.World{Ports: 100}
	want := make(map[uint32]netip.AddrPort)
	for i := range 3 {
		c := busyClient(float64(60 + 40*i))
		c.Process = event.Proc{PID: uint32(100 + i), Comm: "exhaust"}
		c.Remote = netip.AddrPortFrom(netip.MustParseAddr("127.0.0.7"), uint16(7000+i))
		w.Clients = append(w.Clients, c)
		want[c.Process.PID] = c.Remote
	}
	o := over(t, playedIn(w, 10*time.Second), "trace", "-o", "json", "--event", "fail")
	if o.code != exitOK || o.stderr != "" {
		t.Fatalf("exit code %d: %s", o.code, o.stderr)
	}
	got := make(map[uint32]int)
	for _, r := range recordsIn(t, o.stdout) {
		switch {
		case r.Event == "start" || r.Event == "end":
			continue
		case r.Event != "fail" || r.Call != "connect" || r.Errno != "EADDRNOTAVAIL" || r.Comm != "exhaust" || r.Owner != "connect" ||
			netip.AddrPortFrom(r.Raddr, r.Rport) != want[r.PID]:
			t.Fatalf("record %+v", r)
		}
		got[r.PID]++
	}
	for pid, to := range want {
		if n := w.Failed[to]; n == 0 || got[pid] != n {
			t.Errorf("process %d failed %d times in the trace, and %d in its own count", pid, got[pid], n)
		}
	}
}

// TestOverflow closes some 100 connections where there is room for five in TIME_WAIT: each
// refusal is told once, with its owner.
func TestOverflow(t *testing.T) {
	t.Parallel()
	const closes, room = 99, 5
	w := &conntest.World{Ports: 1000, Buckets: room, Clients: []*conntest.Client{until(5*time.Second, busyClient(20))}}
	src := playedIn(w, 6*time.Second)
	for i := range src.Events {
		if e := &src.Events[i]; e.Kind == event.TimeWaitRefused {
			e.Reason, e.New = event.Buckets, event.Closed
		}
	}
	o := over(t, src, "trace", "-o", "json")
	all := recordsIn(t, o.stdout)
	refused, entered, opened := only("time_wait_refused", all), only("time_wait_enter", all), only("open", all)
	if o.code != exitOK || len(refused) != w.Refused || len(entered) != room || len(refused)+room != len(opened) || len(opened) < closes {
		t.Errorf("exit code %d, %d refused and %d entered of %d; want %d and %d: %s", o.code, len(refused), len(entered), len(opened), w.Refused, room, o.stderr)
	}
	seen := make(map[string]bool)
	for _, r := range refused {
		if seen[r.Cookie] || r.PID != madeClient.PID || r.Comm != madeClient.Comm || r.Owner != "connect" || r.Reason != "buckets" ||
			r.Newstate != "CLOSE" || r.LifeNs <= 0 || r.Lport == 0 {
			t.Errorf("refusal %+v, told before: %v", r, seen[r.Cookie])
		}
		seen[r.Cookie] = true
	}
	if end := all[len(all)-1]; end.Event != "end" || end.Refused != uint64(w.Refused) {
		t.Errorf("the last record is %+v", end)
	}
}

// TestHidden: what the kernel counted and the trace did not see is in the last
// record, and a failure with --strict.
func TestHidden(t *testing.T) {
	t.Parallel()
	const n = 97
	for _, strict := range []bool{false, true} {
		src := played(1000, 2*time.Second, busyClient(20))
		src.Drifted = []event.Drift{{NetNS: madeNetNS, Births: n, Alive: n}}
		src.Last.Drift = src.Drifted
		args, code := []string{"trace", "-o", "json"}, exitOK
		if strict {
			args, code = append(args, "--strict"), exitLossy
		}
		o := over(t, src, args...)
		if o.code != code {
			t.Errorf("%q: exit code %d, want %d", args, o.code, code)
		}
		if words := fmt.Sprintf("in netns %d the kernel counts %d more TIME_WAIT starts, %d more TIME_WAIT sockets", madeNetNS, n, n); strings.Contains(o.stderr, words) != strict {
			t.Errorf("%q: stderr is %q; want %q in it: %v", args, o.stderr, words, strict)
		}
		all := recordsIn(t, o.stdout)
		if d := all[len(all)-1].Drift; len(d) != 1 || d[0].Netns != madeNetNS || d[0].Births != n || d[0].Alive != n {
			t.Errorf("%q: drift %+v", args, d)
		}
	}
}

// TestStalledReader: what is lost is said as it is lost, and what the lost records say adds
// up to what the last record says.
func TestStalledReader(t *testing.T) {
	t.Parallel()
	for _, strict := range []bool{false, true} {
		src := played(1000, 2*time.Second, busyClient(20))
		lost := func(n uint64) event.Event {
			return event.Event{Time: src.From.UnixNano(), Kind: event.Lost, Stage: event.StageRing, Count: n}
		}
		src.Found, src.AtEnd = []event.Event{lost(40), lost(2)}, []event.Event{lost(11)}
		src.Last.Lost["ring"] = 53
		args, code := []string{"trace", "-o", "json"}, exitOK
		if strict {
			args, code = append(args, "--strict"), exitLossy
		}
		o := over(t, src, args...)
		all := recordsIn(t, o.stdout)
		sum := uint64(0)
		for _, r := range only("lost", all) {
			if sum += r.Count; r.Stage != "ring" {
				t.Errorf("lost at %q", r.Stage)
			}
		}
		if end := all[len(all)-1]; sum != 53 || end.Lost["ring"] != sum || end.Event != "end" {
			t.Errorf("the lost records say %d, the end record %d", sum, end.Lost["ring"])
		}
		if seen := len(only("time_wait_enter", all)); seen != int(src.Last.Begins) {
			t.Errorf("%d begins beside the losses, want %d", seen, src.Last.Begins)
		}
		if o.code != code || strings.Contains(o.stderr, "events were lost: 53 (ring)") != strict {
			t.Errorf("%q: exit code %d, want %d; stderr: %s", args, o.code, code, o.stderr)
		}
	}
}

// path is a connection that goes through states, one a second.
func path(cookie uint64, role event.Role, states ...event.State) (all []event.Event) {
	at := conntest.Start.UnixNano()
	for i, to := range states[1:] {
		e := event.Event{Time: at + int64(i+1)*int64(time.Second), Kind: event.StateChange, Cookie: cookie, NetNS: madeNetNS, Role: role,
			Old: states[i], New: to, InState: int64(time.Second),
			Local: netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), uint16(40000+cookie)), Remote: madeServer}
		switch {
		case to == event.Established:
			e.Kind = event.Open
		case to == event.TimeWait:
			e.Kind = event.TimeWaitEnter
		case states[i] == event.TimeWait:
			e.Kind = event.TimeWaitExit
		case to == event.Closed:
			e.Kind = event.Close
		}
		all = append(all, e)
	}
	return all
}

// TestStates follows connections through every state: each transition is a record that
// starts where the one before ended, and the times in the states add up to the time that
// passed. The hooks are asked for all of them only if the user is.
func TestStates(t *testing.T) {
	t.Parallel()
	paths := [][]event.Event{
		path(1, event.Client, event.Closed, event.SynSent, event.Established, event.FinWait1, event.FinWait2, event.TimeWait, event.Closed),
		path(2, event.Server, event.SynRecv, event.Established, event.CloseWait, event.LastAck, event.Closed),
		path(3, event.Client, event.Closed, event.SynSent, event.Established, event.FinWait1, event.Closing, event.TimeWait, event.Closed),
		path(4, event.Client, event.Closed, event.SynSent, event.Closed),
		path(5, event.Server, event.SynRecv, event.Established, event.Closed),
	}
	src := &sessiontest.Source{From: conntest.Start, Last: &event.EndInfo{}}
	steps := 0
	for _, p := range paths {
		src.Events = append(src.Events, p...)
		steps += len(p)
	}
	slices.SortStableFunc(src.Events, func(a, b event.Event) int { return int(a.Time - b.Time) })
	o, asked := overAsked(t, src, "trace", "-o", "json", "--states", "all")
	if o.code != exitOK || !asked.Tracer.AllStates {
		t.Fatalf("exit code %d, all states %v: %s", o.code, asked.Tracer.AllStates, o.stderr)
	}
	byCookie := make(map[string][]record)
	for _, r := range recordsIn(t, o.stdout) {
		if r.Cookie != "" {
			byCookie[r.Cookie] = append(byCookie[r.Cookie], r)
			steps--
		}
	}
	if len(byCookie) != len(paths) || steps != 0 {
		t.Errorf("%d connections, want %d; %d steps are missing", len(byCookie), len(paths), steps)
	}
	for cookie, p := range byCookie {
		if gap(p) {
			t.Errorf("%s lacks a step: %q", cookie, words(p))
		}
		checkPath(t, cookie, p)
	}
	src = played(1000, time.Second, busyClient(20))
	if o, asked := overAsked(t, src, "trace", "-o", "json"); o.code != exitOK || asked.Tracer.AllStates {
		t.Errorf("exit code %d; all states, and nobody asked: %v", o.code, asked.Tracer.AllStates)
	}
}
