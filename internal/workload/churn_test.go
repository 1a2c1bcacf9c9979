package workload_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/twtrace/twtrace/internal/kerneltest"
	"github.com/twtrace/twtrace/internal/workload"
)

func TestChurn(t *testing.T) {
	for name, serverCloses := range map[string]bool{"client closes": false, "server closes": true} {
		t.Run(name, func(t *testing.T) {
			ns := kerneltest.NetNS(t)
			n := 25000
			if kerneltest.InVM() { // software emulation
				n = 2500
			}
			before := births(t, ns)
			run(t, workload.ActiveClose(workload.IPv4, many), ns)
			if births(t, ns)-before != many {
				t.Skip("this kernel, as all before 5.18, counts mini-sockets when they expire")
			}
			before += many
			c := workload.Churn{
				Connections: n, Processes: 2, Workers: 4, ServerWorkers: 2,
				To: workload.Destinations(8, 2), ServerCloses: serverCloses,
			}
			r := run(t, c.Scenario(), ns)
			if len(r.Failed()) != 0 || len(r.Server.Failed) != 0 {
				t.Errorf("failures: %v and %v", r.Failed(), r.Server.Failed)
			}
			seen := make(map[uint64]bool)
			for _, c := range cookies(append(r.Clients, r.Server)...) {
				seen[c] = true
			}
			if len(seen) != 4*n || r.Opened() != uint64(2*n) || r.Server.Opened != uint64(2*n) {
				t.Errorf("%d ends, %d and %d connections, want %d", len(seen), r.Opened(), r.Server.Opened, 2*n)
			}
			kerneltest.Eventually(t, patience, func() (bool, string) {
				got := births(t, ns) - before
				return got == uint64(2*n), fmt.Sprintf("%d mini-sockets were made", got)
			})
			t.Logf("%d connections in %v, %.0f per second", 2*n, r.Clients[0].Elapsed.Round(time.Millisecond),
				float64(2*n)/r.Clients[0].Elapsed.Seconds())
		})
	}
}

// births returns how many mini-sockets the namespace has made or was refused.
func births(t *testing.T, ns *kerneltest.NS) uint64 {
	t.Helper()
	n := ns.Nstat(t)
	return n["TcpExtTW"] + n["TcpExtTWKilled"] + n["TcpExtTCPTimeWaitOverflow"]
}

func TestCountOnlyKeepsNoRecords(t *testing.T) {
	ns := kerneltest.NetNS(t)
	r := run(t, workload.Churn{Connections: many, Workers: 2, CountOnly: true}.Scenario(), ns)
	if len(r.Records()) != 0 || r.Opened() != many || r.Server.Opened != many {
		t.Errorf("%d records, %d and %d connections", len(r.Records()), r.Opened(), r.Server.Opened)
	}
}

func TestRateIsNotExceeded(t *testing.T) {
	ns := kerneltest.NetNS(t)
	const rate = 100
	r := run(t, workload.Churn{Connections: many, Workers: 3, Rate: rate}.Scenario(), ns)
	if least := (many - 1) * time.Second / rate; r.Clients[0].Elapsed < least {
		t.Errorf("%d connections took %v, want at least %v", many, r.Clients[0].Elapsed, least)
	}
}

func BenchmarkChurn(b *testing.B) {
	ns := kerneltest.NetNS(b)
	for _, workers := range []int{1, 8} {
		b.Run(fmt.Sprintf("%d workers", workers), func(b *testing.B) {
			c := workload.Churn{
				Connections: b.N, Workers: workers, ServerWorkers: 2,
				To: workload.Destinations(16, 4), CountOnly: true,
			}
			r, err := c.Scenario().Run(b.Context(), ns.Path())
			if err != nil {
				b.Fatal(err)
			}
			b.ReportMetric(float64(r.Opened())/r.Clients[0].Elapsed.Seconds(), "connections/s")
		})
	}
}
