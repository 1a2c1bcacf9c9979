package workload_test

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/twtrace/twtrace/internal/event"
	"github.com/twtrace/twtrace/internal/kerneltest"
	"github.com/twtrace/twtrace/internal/workload"
)

// many is how many connections a test makes: a prime number, so that no other
// count is a multiple of it by chance.
const many = 23

// patience is for what should happen at once, on a busy machine too.
const patience = 30 * time.Second

func TestMain(m *testing.M) {
	workload.Main()
	if os.Getenv(envParent) != "" {
		beParent()
	}
	m.Run()
}

func run(t *testing.T, s workload.Scenario, ns *kerneltest.NS) workload.Result {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	defer cancel()
	r, err := s.Run(ctx, ns.Path())
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// checkSockets waits until ss shows exactly the sockets with these cookies in a
// state. Cookies may come in any order.
func checkSockets(t *testing.T, ns *kerneltest.NS, state string, want []uint64) {
	t.Helper()
	slices.Sort(want)
	kerneltest.Eventually(t, patience, func() (bool, string) {
		var got []uint64
		for _, s := range ns.Sockets(t, "state", state) {
			got = append(got, s.Cookie)
		}
		slices.Sort(got)
		return slices.Equal(got, want), fmt.Sprintf("%s: %x, want %x", state, got, want)
	})
}

// checkLog checks that n connections are logged at both ends, by the processes
// that made them, and that the ends agree.
func checkLog(t *testing.T, r workload.Result, n int) {
	t.Helper()
	type end struct{ local, remote netip.AddrPort }
	servers := make(map[end]workload.Record)
	for _, rec := range r.Server.Records {
		servers[end{rec.Local, rec.Remote}] = rec
		if rec.PID != r.Server.PID || rec.Comm != workload.ServerComm || rec.Role != event.Server {
			t.Errorf("server's record %+v", rec)
		}
	}
	clients := 0
	for _, l := range r.Clients {
		clients += len(l.Records)
		for _, c := range l.Records {
			if c.PID != l.PID || c.Comm != workload.ClientComm || c.Role != event.Client {
				t.Errorf("client's record %+v", c)
			}
			s, ok := servers[end{c.Remote, c.Local}]
			if !ok {
				t.Errorf("no server's record matches %+v", c)
			}
			if c.Cookie == 0 || s.Cookie == 0 || c.Cookie == s.Cookie {
				t.Errorf("cookies %x and %x", c.Cookie, s.Cookie)
			}
			if c.Opened == 0 || c.Closed != 0 && c.Closed < c.Opened {
				t.Errorf("opened %d, closed %d", c.Opened, c.Closed)
			}
		}
	}
	if len(servers) != n || clients != n || r.Opened() != uint64(n) || r.Server.Opened != uint64(n) {
		t.Errorf("%d connections on the server, %d on the clients; opened %d and %d, want %d of each",
			len(servers), clients, r.Server.Opened, r.Opened(), n)
	}
}

func cookies(logs ...workload.Log) []uint64 {
	var all []uint64
	for _, l := range logs {
		all = append(all, l.Cookies()...)
	}
	return all
}
