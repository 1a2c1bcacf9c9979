package main

import (
	"net/netip"
	"os/exec"
	"strings"
	"testing"

	"github.com/twtrace/twtrace/internal/kerneltest"
	"github.com/twtrace/twtrace/internal/workload"
)

// Where the clients connect to, who takes that in, and who has the port and gets none.
var (
	redirected = netip.MustParseAddrPort("10.9.9.9:80")
	proxyAt    = netip.MustParseAddrPort("127.0.0.1:9999")
	innocentAt = netip.MustParseAddrPort("0.0.0.0:80")
)

// redirect has TPROXY give to proxyAt what is sent to redirected.
func redirect(t *testing.T, ns *kerneltest.NS) {
	t.Helper()
	ns.AddAddr(t, "lo", "10.1.1.1/32")
	for _, args := range []string{
		"route add 10.9.9.9/32 dev lo src 10.1.1.1",
		"rule add fwmark 1 lookup 100",
		"route add local 0.0.0.0/0 dev lo table 100",
	} {
		cmd := exec.Command("nsenter", append([]string{"--net=" + ns.Path(), "ip"}, strings.Fields(args)...)...)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("ip %s: %v: %s", args, err, out)
		}
	}
	netfilter(t, ns, `table ip t {
		chain o { type route hook output priority -150; ip daddr 10.9.9.9 tcp dport 80 meta mark set 1; }
		chain p { type filter hook prerouting priority -150; ip daddr 10.9.9.9 tcp dport 80 meta mark 1 tproxy to 127.0.0.1:9999 accept; }
	}`)
}

// TestRedirected has a transparent proxy take connections in, where another process listens
// on the port that they are sent to: nothing is said of that one.
func TestRedirected(t *testing.T) {
	t.Parallel()
	t.Run("listeners from before", func(t *testing.T) { t.Parallel(); testRedirected(t, true) })
	t.Run("listeners since", func(t *testing.T) { t.Parallel(); testRedirected(t, false) })
}

func testRedirected(t *testing.T, before bool) {
	ns := churnNS(t)
	redirect(t, ns)
	c := &cast{t: t, ns: ns}
	proxy, innocent, client := c.hand("proxy"), c.hand("innocent"), c.hand("client")
	var l *workload.Listening
	listen := func() {
		var err error
		l, err = proxy.Listen(proxyAt, workload.Socketing{Proxy: true})
		must(t, err)
		_, err = innocent.Listen(innocentAt, workload.Socketing{})
		must(t, err)
	}
	if before {
		listen()
	}
	tr := startTrace(t, "-N", ns.Path())
	if !before {
		listen()
	}
	to := &workload.Listening{At: redirected}
	times(perCase, func(i int) {
		near := c.open(client, to, workload.Socketing{})
		far := c.accept(proxy, l, workload.Socketing{})
		switch i % 3 { // who closes, and the proxy is never known by that
		case 0:
			must(t, client.Abort(near))
			must(t, proxy.EOF(far))
			must(t, proxy.Close(workload.Plain, far))
		case 1:
			must(t, client.Close(workload.Plain, near))
			c.follow(proxy, far)
		default:
			must(t, proxy.Close(workload.Plain, far))
			c.follow(client, near)
		}
	})
	kerneltest.Eventually(t, patience, func() (bool, string) {
		n := len(lastRecords(tr, ns))
		return n >= len(c.held)-hiddenEnds(len(c.held)), ""
	})
	tr.stop()
	opened := 0
	for _, r := range tr.all() {
		if r.Netns != ns.Inum() || r.Role != "server" {
			continue
		}
		if r.Comm != "proxy" || r.PID != proxy.Who().PID {
			t.Errorf("%s of %v: owner %s[%d] by %q, want the proxy", r.Event, r.Raddr, r.Comm, r.PID, r.Owner)
		}
		if r.Event == "open" {
			opened++
			if want := "listen"; r.Owner != want {
				t.Errorf("the opening is known by %q, want %q", r.Owner, want)
			}
		}
	}
	if opened < perCase-hiddenEnds(perCase) {
		t.Errorf("%d of %d openings", opened, perCase)
	}
}
