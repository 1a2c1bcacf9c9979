package workload_test

import (
	"fmt"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/twtrace/twtrace/internal/event"
	"github.com/twtrace/twtrace/internal/kerneltest"
	"github.com/twtrace/twtrace/internal/workload"
)

var families = map[string]netip.AddrPort{
	"IPv4": workload.IPv4, "IPv6": workload.IPv6, "mapped": workload.Mapped,
}

func TestWhoHasTheTimeWait(t *testing.T) {
	for name, c := range map[string]struct {
		make   func(netip.AddrPort, int) workload.Scenario
		owner  event.Role
		closer event.Side // as the client sees it
	}{
		"ClientCloses": {workload.ClientCloses, event.Client, event.LocalSide},
		"ActiveClose":  {workload.ActiveClose, event.Client, event.LocalSide},
		"ServerCloses": {workload.ServerCloses, event.Server, event.RemoteSide},
		"CloseByExit":  {workload.CloseByExit, event.Client, event.LocalSide},
		"CloseByKill":  {workload.CloseByKill, event.Client, event.LocalSide},
		"Reset":        {workload.Reset, event.RoleNone, event.LocalSide},
	} {
		for family, at := range families {
			t.Run(name+"/"+family, func(t *testing.T) {
				ns := kerneltest.NetNS(t)
				ns.KeepTimeWait(t)
				r := run(t, c.make(at, many), ns)
				checkLog(t, r, many)
				var want []uint64
				switch c.owner {
				case event.Client:
					want = cookies(r.Clients...)
				case event.Server:
					want = cookies(r.Server)
				}
				checkSockets(t, ns, "time-wait", want)
				for _, rec := range r.Clients[0].Records {
					if rec.Closer != c.closer || rec.Remote.Addr() != at.Addr().Unmap() {
						t.Errorf("record %+v", rec)
					}
				}
				for f, n := range r.Server.Failed {
					if name != "Reset" || f.Errno != syscall.ECONNRESET || n != many {
						t.Errorf("the server failed: %v (%d times)", f, n)
					}
				}
			})
		}
	}
}

func TestActiveCloseIsNeverParked(t *testing.T) {
	ns := kerneltest.NetNS(t)
	ns.KeepTimeWait(t)
	// One that is parked for so short a time counts as TWKilled. The server
	// closes late enough for any that can be parked to be parked.
	ns.Sysctl(t, "net.ipv4.tcp_fin_timeout", "1")
	s := workload.ActiveClose(workload.IPv4, many)
	s.Client.Workers, s.Server.Serve.Delay = many, 500*time.Millisecond
	r := run(t, s, ns)
	checkSockets(t, ns, "time-wait", cookies(r.Clients...))
	if n := ns.Nstat(t)["TcpExtTWKilled"]; n != 0 {
		t.Errorf("%d were born in FIN_WAIT2", n)
	}
}

func TestLateFinIsParkedAndPromoted(t *testing.T) {
	ns := kerneltest.NetNS(t)
	ns.KeepTimeWait(t)
	s := workload.LateFin(workload.IPv4, many, time.Second)
	result := make(chan workload.Result, 1)
	go func() {
		r, err := s.Run(t.Context(), ns.Path())
		if err != nil {
			t.Error(err)
		}
		result <- r
	}()
	var parked []uint64
	kerneltest.Eventually(t, patience, func() (bool, string) {
		parked = nil
		for _, s := range ns.Sockets(t, "state", "fin-wait-2") {
			parked = append(parked, s.Cookie)
		}
		inUse := ns.Sockstat(t)["TCP tw"]
		return len(parked) == many && inUse == many, "too few in FIN_WAIT2 at once"
	})
	r := <-result
	checkLog(t, r, many)
	checkSockets(t, ns, "time-wait", parked)
}

func TestHalfClosedStaysInFinWait2(t *testing.T) {
	ns := kerneltest.NetNS(t)
	s := workload.HalfClosed(workload.IPv4, many)
	held := 0
	s.AtHeld = func() error {
		held++
		for _, state := range []string{"fin-wait-2", "close-wait"} {
			kerneltest.Eventually(t, patience, func() (bool, string) {
				n := len(ns.Sockets(t, "state", state))
				return n == many, state
			})
		}
		if n := ns.Sockstat(t)["TCP tw"]; n != 0 {
			t.Errorf("%d mini-sockets", n)
		}
		return nil
	}
	checkLog(t, run(t, s, ns), many)
	if held != 1 {
		t.Errorf("AtHeld was called %d times", held)
	}
}

func TestProcessAndThreadsHaveTheirNames(t *testing.T) {
	ns := kerneltest.NetNS(t)
	// A comm may be any bytes.
	const leader, worker = "le\xff ad\ner", "worker"
	spec := server("127.0.0.1:0")
	spec.Comm, spec.ThreadComm, spec.Workers = leader, worker, 3
	p, err := workload.Start(t.Context(), ns.Path(), spec)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.Ready(); err != nil {
		t.Fatal(err)
	}
	dir := fmt.Sprintf("/proc/%d", p.PID())
	if got := comm(t, dir); got != leader {
		t.Errorf("the process is named %q", got)
	}
	kerneltest.Eventually(t, patience, func() (bool, string) {
		tasks, err := os.ReadDir(dir + "/task")
		if err != nil {
			t.Fatal(err)
		}
		names := make(map[string]int)
		for _, task := range tasks {
			names[comm(t, dir+"/task/"+task.Name())]++
		}
		return names[worker] >= 3, fmt.Sprintf("names of the threads: %v", names)
	})
	if err := p.Stop(); err != nil {
		t.Error(err)
	}
	if l, err := p.Wait(); err != nil || l.Comm != leader {
		t.Errorf("%+v, %v", l, err)
	}
	if err := p.Stop(); err != nil {
		t.Errorf("stop a process that has ended: %v", err)
	}
}

func TestStopEndsWorkWithoutLimit(t *testing.T) {
	ns := kerneltest.NetNS(t)
	r, err := workload.ActiveClose(workload.IPv4, 0).Start(t.Context(), ns.Path())
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Go(); err != nil {
		t.Fatal(err)
	}
	kerneltest.Eventually(t, patience, func() (bool, string) {
		n := ns.Sockstat(t)["TCP tw"]
		return n > many, fmt.Sprintf("%d mini-sockets", n)
	})
	result, err := r.Stop()
	if err != nil {
		t.Fatal(err)
	}
	checkLog(t, result, int(result.Opened()))
}

func comm(t *testing.T, dir string) string {
	t.Helper()
	b, err := os.ReadFile(dir + "/comm")
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSuffix(string(b), "\n")
}

func TestExhaust(t *testing.T) {
	const fails = 7
	exhausted := workload.Failure{Call: event.Connect, Errno: syscall.EADDRNOTAVAIL}
	for name, c := range map[string]struct {
		source string
		late   bool
		want   workload.Failure
		opened uint64 // 0 if it depends on the kernel
	}{
		"connect":   {want: exhausted, opened: 100},
		"late port": {source: "127.0.0.1:0", late: true, want: exhausted, opened: 100},
		"bind":      {source: "127.0.0.1:0", want: workload.Failure{Call: event.Bind, Errno: syscall.EADDRINUSE}},
	} {
		t.Run(name, func(t *testing.T) {
			ns := kerneltest.NetNS(t)
			ns.KeepTimeWait(t)
			ns.Sysctl(t, "net.ipv4.ip_local_port_range", "20000 20099")
			ns.Sysctl(t, "net.ipv4.tcp_tw_reuse", "0")
			s := workload.Exhaust(workload.IPv4, fails)
			if c.source != "" {
				s.Client.Connect.Source = netip.MustParseAddrPort(c.source)
				s.Client.Connect.LatePort = c.late
			}
			r := run(t, s, ns)
			if got := r.Failed(); len(got) != 1 || got[c.want] != fails {
				t.Errorf("failures: %v, want %d of %v", got, fails, c.want)
			}
			if n := r.Opened(); n == 0 || n > 100 || c.opened != 0 && n != c.opened {
				t.Errorf("%d connections, want %d", n, c.opened)
			}
			failed := 0
			for _, rec := range r.Clients[0].Records {
				if rec.Errno != 0 {
					failed++
				}
			}
			if failed != fails {
				t.Errorf("%d failures in the log", failed)
			}
			checkSockets(t, ns, "time-wait", cookies(r.Clients...))
		})
	}
}

func TestFixedSourcePortReusesItsTimeWait(t *testing.T) {
	ns := kerneltest.NetNS(t)
	ns.KeepTimeWait(t)
	s := workload.ActiveClose(workload.IPv4, many)
	s.Client.Connect.Source = netip.MustParseAddrPort("127.0.0.1:30000")
	r := run(t, s, ns)
	if len(r.Failed()) != 0 || r.Opened() != many {
		t.Errorf("%d opened, failures %v", r.Opened(), r.Failed())
	}
	if n := ns.Nstat(t)["TcpExtTWRecycled"]; n != many-1 {
		t.Errorf("TWRecycled %d, want %d", n, many-1)
	}
}

func TestAcceptRunsOutOfDescriptors(t *testing.T) {
	ns := kerneltest.NetNS(t)
	s := workload.CloseByExit(workload.IPv4, many)
	s.Server.Files = 20 // some of which the Go runtime has
	s.Client.Connect.Greet, s.Server.Serve.Greet = false, false
	r := run(t, s, ns)
	if r.Server.Opened != many {
		t.Errorf("the server accepted %d in the end", r.Server.Opened)
	}
	want := workload.Failure{Call: event.Accept, Errno: syscall.EMFILE}
	if got := r.Server.Failed; len(got) != 1 || got[want] == 0 {
		t.Errorf("failures: %v", got)
	}
}
