package view

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/twtrace/twtrace/internal/advice"
	"github.com/twtrace/twtrace/internal/conn"
	"github.com/twtrace/twtrace/internal/event"
	"github.com/twtrace/twtrace/internal/pressure"
	"github.com/twtrace/twtrace/internal/rows"
)

const webSpace = 4026532247

// failing is a proxy without keep-alive whose ports are used up.
func failing() *State {
	s := base()
	s.Polled, s.TimeWait, s.Established = true, 2994, 4
	s.Rates = rows.Rates{In: 80, Out: 81, Open: 160, Close: 161, Fail: 79.4}
	s.Buckets = Buckets{NetNS: webSpace, Name: "ux-web", Used: 2994, Max: 131072, Only: true}
	to := addr("10.77.0.2:8080")
	s.Worst = &pressure.Gauge{Key: pressure.Key{NetNS: webSpace, Local: netip.MustParseAddr("10.77.0.1"), Remote: to},
		TimeWait: 2000, Limit: 2000, Limited: true, Outlook: pressure.Outlook{Used: 2000}, Severity: event.Crit}
	worker := func(pid uint32, tw uint64, open, fail float64) rows.Row {
		return rows.Row{Severity: event.Crit, NetNS: webSpace, Space: "ux-web", Owner: event.Proc{PID: pid, Comm: "nginx"}, PIDs: 1, Owners: 1, Peers: 1, Role: event.Client,
			Local: from("10.77.0.1"), Remote: to, TimeWait: tw, Rates: rows.Rates{In: open, Out: open, Open: open, Close: open, Fail: fail}, Polled: true,
			Life: lives(612 * time.Microsecond), Closer: closed(500, 0), Ports: 2000, Usable: 2000, Minute: rising(tw)}
	}
	s.Rows = []rows.Row{
		{NetNS: webSpace, Space: "ux-web", Owner: event.Proc{PID: 17452, Comm: "nginx"}, PIDs: 1, Owners: 1, Peers: 1, Clients: 1, Role: event.Server, Polled: true,
			Local: addr("10.78.0.1:80"), Listen: addr("0.0.0.0:80"), TimeWait: 9994, Rates: rows.Rates{Open: 80, Close: 80, In: 80, Out: 80}, Life: lives(time.Millisecond), Closer: closed(80, 0)},
		worker(17451, 1133, 38, 37.2), worker(17452, 867, 42, 42.2),
	}
	var timeWait, opened, failed []uint64
	for i := range 120 {
		timeWait, opened, failed = append(timeWait, uint64(min(i*80, 2994))), append(opened, 160), append(failed, uint64(max(0, min(i*9-700, 79+i%3))))
	}
	s.Past = pastOf(s, timeWait, opened, failed)
	s.Trouble = troubleOf(s)
	s.Findings = []advice.Finding{{ID: "TW101", Severity: event.Crit, Title: "ports held by TIME_WAIT", Short: "ports to 10.77.0.2:8080 are used up: connect() fails",
		What: "10.77.0.1 -> 10.77.0.2:8080 holds 2,000 of 2,000 ports (100%)", Who: "nginx, 2 processes, opened 100% of them in the last 10 s",
		When: "now: 78 connect() calls per second fail", Why: "2,000 of these ports are in TIME_WAIT, which stays for 60 s with the side that closes first: this one",
		Now: []advice.Remedy{{Kind: "now", Text: "reuse ports in TIME_WAIT. Works here: all recent connections use TCP timestamps",
			Settings: advice.Settings{Enter: "ip netns exec ux-web ", Set: []advice.Setting{{Name: "net.ipv4.tcp_tw_reuse", Value: "1", Before: "2"}}}},
			{Kind: "now", Text: "widen the port range: 62,510 more ports per destination",
				Settings: advice.Settings{Enter: "ip netns exec ux-web ", Set: []advice.Setting{{Name: "net.ipv4.ip_local_port_range", Value: "1024 65535", Before: "32768 34767"}}}}},
		Fix:   []advice.Remedy{{Kind: "fix", Text: "nginx upstream: keepalive 64; proxy_http_version 1.1; proxy_set_header Connection \"\""}},
		Scope: advice.Scope{NetNS: webSpace, Comm: "nginx", Laddr: "10.77.0.1", Raddr: "10.77.0.2", Rport: 8080}}}
	s.Filter, s.Traced = "netns 4026532247", "netns ux-web"
	s.Conclude()
	return s
}

// leak is a server that never closes, whose rows show no port in use.
func leak() *State {
	s := base()
	s.Polled, s.Established, s.CloseWait, s.TimeWait = true, 12, 611, 3
	server := func(comm string, pid uint32, local string, est, closing uint64) rows.Row {
		return rows.Row{NetNS: webSpace, Space: "ux-app", Owner: event.Proc{PID: pid, Comm: comm}, PIDs: 1, Owners: 1, Peers: 1, Clients: 2, Role: event.Server, Polled: true,
			Local: addr(local), Established: est, CloseWait: closing, Rates: rows.Rates{Open: 11}}
	}
	s.Rows = []rows.Row{server("report-api", 8820, "10.77.0.2:8082", 10, 0), server("billing-api", 8818, "10.77.0.2:8081", 2, 611)}
	s.Rows[0].TimeWait = 3
	s.Trouble = troubleOf(s)
	s.Findings = []advice.Finding{{ID: "TW207", Severity: event.Warn, Title: "sockets leak in CLOSE_WAIT", Short: "billing-api[8818] keeps 611 connections in CLOSE_WAIT",
		What: "611 connections on 10.77.0.2:8081 stay in CLOSE_WAIT; they grow: 107 more in 10s", Who: "billing-api[8818]",
		Why:   "the peer has closed them, and the process never does",
		Fix:   []advice.Remedy{{Kind: "fix", Text: "close the socket where read() returns 0"}},
		Scope: advice.Scope{NetNS: webSpace, Comm: "billing-api", PID: 8818, Laddr: "10.77.0.2", Lport: 8081}}}
	s.Conclude()
	return s
}

// parkedOut is a client whose ports are held by parked sockets.
func parkedOut() *State {
	s := failing()
	s.Rates.Fail, s.Findings, s.Finding, s.Severity = 0, nil, "", event.SeverityNone
	for i := range s.Rows[1:] {
		r := &s.Rows[1+i]
		r.Parked, r.TimeWait, r.Fail, r.Severity = 600, 0, 0, event.Warn
	}
	s.Worst.Severity, s.Worst.Parked, s.Worst.TimeWait, s.Worst.Used = event.Warn, 1200, 0, 1200
	s.Trouble = troubleOf(s)
	return s
}

// spaces are several network namespaces, one of them without a name.
func spaces() *State {
	s := failing()
	other := s.Rows[1]
	other.NetNS, other.Space, other.Severity, other.Owner = 4026531840, "", event.SeverityNone, event.Proc{PID: 12, Comm: "curl"}
	s.Rows = append(s.Rows, other)
	s.Filter, s.Traced = "", ""
	s.Trouble = troubleOf(s)
	return s
}

// wildcard is one listener at any address, reached at 200.
func wildcard() *State {
	s := base()
	s.Polled = true
	for i := range 200 {
		r := rows.Row{NetNS: webSpace, Owner: event.Proc{PID: 4711, Comm: "gateway"}, PIDs: 1, Owners: 1, Peers: 1, Clients: 3 + i%4, Role: event.Server, Polled: true,
			Local: addr(fmt.Sprintf("10.0.%d.%d:9000", i/100, 1+i%100)), Listen: addr("0.0.0.0:9000"), TimeWait: 1, Established: 2, Rates: rows.Rates{Open: 1, Close: 1}}
		r.ID = r.KeyBy(rows.ByFlow)
		s.Rows = append(s.Rows, r)
	}
	return s
}

// idle is a namespace in which nothing happens.
func idle() *State {
	s := quiet()
	s.Polled, s.Established = true, 0
	s.Buckets = Buckets{NetNS: webSpace, Name: "ux-cli", Max: 131072, Only: true}
	s.Filter, s.Traced = "netns 4026532247", "netns ux-cli"
	return s
}

// listeningOnly is idle, but for listeners.
func listeningOnly() *State {
	s := idle()
	tab := conn.New(conn.Options{})
	for i, local := range []string{"0.0.0.0:22", "127.0.0.1:5432", "[::]:80"} {
		e := event.Event{Time: 1, Kind: event.Listen, Cookie: uint64(i + 1), NetNS: webSpace, Local: addr(local), Process: event.Proc{PID: uint32(100 + i), Comm: []string{"sshd", "postgres", "nginx"}[i]}}
		tab.Apply(&e)
	}
	var snap conn.Snapshot
	tab.Snapshot(1, &snap)
	s.listed = new(listening).rows(&snap, nil, func(uint32) string { return "ux-cli" })
	return s
}

// unpolled is a moment of a recording: nobody knows what is in CLOSE_WAIT.
func unpolled() *State {
	s := storm()
	s.Polled, s.Mode = false, "REPLAY 22:14:07 x4"
	for i := range s.Rows {
		s.Rows[i].Polled = false
	}
	return s
}

// TestTroubleStays: the columns of a trouble stay for a minute after it.
func TestTroubleStays(t *testing.T) {
	var b troubled
	s := failing()
	if got := b.see(s); !got.Fails || got.CloseWait {
		t.Fatalf("%+v", got)
	}
	s.Rates.Fail, s.Worst = 0, nil
	for after, want := range map[time.Duration]bool{59 * time.Second: true, 60 * time.Second: false} {
		later := *s
		later.Time = s.Time.Add(after)
		if got := b.see(&later); got.Fails != want {
			t.Errorf("after %v: %+v", after, got)
		}
	}
}

// TestHeaderStays: no number of the header moves, whatever the others are.
func TestHeaderStays(t *testing.T) {
	for _, width := range []int{60, 80, 100, 132, 200} {
		want := ""
		for i, n := range []uint64{0, 7, 95, 2170, 28412, 999999, 12345678} {
			s := storm()
			s.TimeWait, s.CloseWait, s.Parked, s.Established = n, n, n, n
			v := float64(n)
			s.Rates = rows.Rates{In: v, Out: 0, Open: v, Close: v, Fail: v}
			s.Uptime = time.Duration(n) * time.Second
			line := []byte(flow(s, width, Caps{}))
			for j, b := range line { // what are not words are numbers
				if b != ' ' && (b < 'a' || b > 'z') && (b < 'A' || b > 'Z') {
					line[j] = ' '
				}
			}
			places := fmt.Sprint(indexes(string(line), "open", "fail", "CLOSE_WAIT", "close", "parked"))
			if i == 0 {
				want = places
			} else if places != want {
				t.Errorf("at %d with %d: words at %s, before at %s", width, n, places, want)
			}
		}
	}
}

func indexes(line string, words ...string) (out []int) {
	for _, w := range words {
		at := -1
		for i := range len(line) - len(w) + 1 {
			if line[i:i+len(w)] == w {
				at = i
				break
			}
		}
		out = append(out, at)
	}
	return out
}

// TestSeconds: a duration has one form.
func TestSeconds(t *testing.T) {
	for d, want := range map[time.Duration]string{0: "0s", 59 * time.Second: "59s", 65 * time.Second: "1m05s", 99 * time.Second: "1m39s",
		time.Hour + 5*time.Minute: "1h05m", 75 * time.Hour: "3d03h"} {
		if got := seconds(d); got != want {
			t.Errorf("%v is %s, want %s", d, got, want)
		}
	}
}

// TestSpan: a chart says how far back it reaches, and reaches as far as there are values.
func TestSpan(t *testing.T) {
	s := base()
	values := make([]uint64, 98)
	for i := range values {
		values[i] = uint64(i)
	}
	s.Past = pastOf(s, values, values, values)
	if got := s.span(); got != "last 1m38s" {
		t.Error(got)
	}
	for _, width := range []int{42, 55, 65, 200} {
		per := perColumn(len(values), width)
		if bars := bins(values, 0, per); len(bars) > width-graphLabel || bars[0] >= uint64(per) {
			t.Errorf("at %d cells: %d bars from %d", width, len(bars), bars[0])
		}
	}
	// The same intervals share a column when a new one comes.
	before, after := bins(values[:90], 8, 4), bins(values[1:91], 9, 4)
	if before[3] != after[3] || before[0] != after[0] {
		t.Errorf("%v\n%v", before, after)
	}
}

// TestRoundUp: the scale wastes no more than a third of the height.
func TestRoundUp(t *testing.T) {
	for v := uint64(11); v < 1_000_000; v += 1 + v/50 {
		if top := roundUp([]uint64{v}); top < v || float64(v) < 0.66*float64(top) {
			t.Errorf("%d is drawn to %d", v, top)
		}
	}
	for v, want := range map[uint64]uint64{0: 10, 10: 10, 2170: 2500, 28412: 30000} {
		if got := roundUp([]uint64{v}); got != want {
			t.Errorf("%d is drawn to %d, want %d", v, got, want)
		}
	}
}
