package main

import (
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/twtrace/twtrace/internal/event"
	"github.com/twtrace/twtrace/internal/kerneltest"
	"github.com/twtrace/twtrace/internal/workload"
)

// TestOverflowTraced closes 100 connections where there is room for five mini-sockets, in
// TIME_WAIT or parked in FIN_WAIT2: what is refused is told, with its owner, and is
// what the kernel counts.
func TestOverflowTraced(t *testing.T) {
	t.Parallel()
	t.Attr("row", "`tcp_max_tw_buckets` = 5: refusals")
	const closes, room = 100, 5
	for _, c := range []struct {
		name     string
		scenario workload.Scenario
	}{
		{"TIME_WAIT", workload.ActiveClose(workload.IPv4, closes)},
		// The server's FIN comes when all the clients' have gone.
		{"FIN_WAIT2", workload.LateFin(workload.IPv4, closes, 2*time.Second)},
		{"IPv6", workload.ActiveClose(workload.IPv6, closes)},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			ns := kerneltest.NetNS(t)
			hold(t, ns)
			ns.Sysctl(t, "net.ipv4.tcp_max_tw_buckets", fmt.Sprint(room))
			tr := startTrace(t, "-N", ns.Path())
			result, err := c.scenario.Run(t.Context(), ns.Path())
			must(t, err)
			overflow := func() int { return int(ns.Nstat(t)["TcpExtTCPTimeWaitOverflow"]) }
			kerneltest.Eventually(t, patience, func() (bool, string) {
				no, yes := overflow(), births(t, ns)
				return no+yes >= closes, fmt.Sprintf("%d refused, %d born", no, yes)
			})
			allBegun(t, ns, room)
			end := tr.stop()
			refused, entered := tr.of("time_wait_refused", ns.Inum()), tr.of("time_wait_enter", ns.Inum())
			hidden, hiddenRefusals := hiddenIn(end, ns)
			if n := len(refused) + hiddenRefusals; n != overflow() {
				t.Errorf("%d refused and %d hidden, TCPTimeWaitOverflow grew by %d", len(refused), hiddenRefusals, overflow())
			}
			if n := len(entered) + hidden; n+overflow() != closes {
				t.Errorf("%d entered and %d hidden, with %d refused; want %d in all", len(entered), hidden, overflow(), closes)
			}
			// inet_twsk_alloc() looks at the limit first and counts later: one CPU may
			// take the last room while another has been promised it.
			if n := len(entered) + hidden; n < room || n >= room+runtime.NumCPU() {
				t.Errorf("%d entered, want %d, or one more for each further CPU", n, room)
			}
			checkRefused(t, refused, result)
		})
	}
}

// checkRefused wants each refusal once, with its owner, and nothing else told of the
// connection but that.
func checkRefused(t *testing.T, refused []record, result workload.Result) {
	t.Helper()
	truth := make(map[uint64]workload.Record)
	for _, r := range result.Records() {
		if r.Role == event.Client {
			truth[r.Cookie] = r
		}
	}
	seen := make(map[uint64]bool)
	for _, r := range refused {
		c := cookie(t, r)
		want, ok := truth[c]
		if !ok || seen[c] {
			t.Errorf("refusal of %x: the workload had it: %t, told before: %t", c, ok, seen[c])
		}
		seen[c] = true
		if r.PID != want.PID || r.Comm != want.Comm || r.Owner != "connect" || r.Reason != "buckets" ||
			r.Newstate != "CLOSE" || r.LifeNs <= 0 || r.Laddr != want.Local.Addr() || r.Lport != want.Local.Port() {
			t.Errorf("refusal of %x: %+v, want owner %s[%d] by connect, reason buckets", c, r, want.Comm, want.PID)
		}
	}
}
