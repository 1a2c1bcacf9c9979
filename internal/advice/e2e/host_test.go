package e2e

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/twtrace/twtrace/internal/advice"
	"github.com/twtrace/twtrace/internal/event"
	"github.com/twtrace/twtrace/internal/kernel"
	"github.com/twtrace/twtrace/internal/kerneltest"
	"github.com/twtrace/twtrace/internal/workload"
)

// setting303 is the finding of one setting.
func setting303(t *testing.T, all []advice.Finding, what string) advice.Finding {
	t.Helper()
	for _, x := range all {
		if x.ID == "TW303" && strings.Contains(x.What, what) {
			return x
		}
	}
	t.Fatalf("no TW303 about %s among %v", what, ids(all))
	return advice.Finding{}
}

// TestLoweredFinTimeout lowers it, sees that TIME_WAIT still starts at 60 s, and
// puts it back as advised.
func TestLoweredFinTimeout(t *testing.T) {
	ns, n := private(t, "32768 60999")
	ns.Sysctl(t, "net.ipv4.tcp_fin_timeout", "5")
	churn(t, ns, listen(t, ns, address+":8080"), 20, false)
	f := factsWith(t, n, 20)
	left := 0
	for s, count := range f.TimeWait {
		if s >= 30 {
			left += int(count)
		}
	}
	if left != 20 {
		t.Errorf("%d of 20 have more than 30 s left with tcp_fin_timeout=5", left)
	}
	x := setting303(t, advice.Diagnose(f), "tcp_fin_timeout")
	if x.Severity != event.Info {
		t.Errorf("severity %v", x.Severity)
	}
	shell(t, x.Fix[0].Command())
	if l, err := n.Limits(); err != nil || l.FinTimeout != time.Minute {
		t.Errorf("after %s: %v (%v)", x.Fix[0].Command(), l.FinTimeout, err)
	}
}

// TestLoweredBuckets: a note while it does no harm; once it refuses, TW205 warns and this
// says why.
func TestLoweredBuckets(t *testing.T) {
	ns, n := private(t, "32768 60999")
	if s, err := n.Settings(); err != nil || s.DefaultTWBuckets == 0 {
		t.Skipf("this kernel does not show the default (%v)", err)
	}
	ns.Sysctl(t, "net.ipv4.tcp_max_tw_buckets", "50")
	l := listen(t, ns, address+":8080")
	churn(t, ns, l, 5, false)
	if x := setting303(t, advice.Diagnose(factsWith(t, n, 5)), "tcp_max_tw_buckets"); x.Severity != event.Info {
		t.Errorf("5 of 50: %v", x.Severity)
	}
	churn(t, ns, l, 60, false)
	x := setting303(t, advice.Diagnose(factsWith(t, n, 50)), "tcp_max_tw_buckets")
	if x.Severity != event.Info || !strings.Contains(x.When, "it does harm: 15 sockets were refused TIME_WAIT") {
		t.Errorf("15 refused: %v, %s", x.Severity, x.When)
	}
	shell(t, x.Fix[0].Command())
	for _, x := range advice.Diagnose(factsWith(t, n, 50)) {
		if x.ID == "TW303" {
			t.Errorf("after %s: %s", x.Fix[0].Command(), x.What)
		}
	}
}

// TestReuseWithoutTimestamps runs out of ports with a setting that cannot help.
func TestReuseWithoutTimestamps(t *testing.T) {
	ns, n := private(t, "40000 40099")
	ns.Sysctl(t, "net.ipv4.tcp_tw_reuse", "1")
	ns.Sysctl(t, "net.ipv4.tcp_timestamps", "0")
	l := listen(t, ns, address+":3306")
	churn(t, ns, l, 100, false)
	time.Sleep(1100 * time.Millisecond) // a reuse that works would do so by now
	if _, _, err := dial(ns, l); !errors.Is(err, unix.EADDRNOTAVAIL) {
		t.Errorf("connect: %v, want EADDRNOTAVAIL", err)
	}
	if x := setting303(t, advice.Diagnose(factsWith(t, n, 100)), "tcp_timestamps"); x.Severity != event.Warn || !strings.Contains(x.When, address+":3306") {
		t.Errorf("%v, %s", x.Severity, x.When)
	}
}

// TestListenersInsideTheRange: connect() skips such a port, as the page claims, and the fix works.
func TestListenersInsideTheRange(t *testing.T) {
	ns, n := private(t, "40000 40003")
	l := listen(t, ns, address+":3306")
	listen(t, ns, "127.0.0.1:40001")
	churn(t, ns, l, 3, false)
	if _, _, err := dial(ns, l); !errors.Is(err, unix.EADDRNOTAVAIL) {
		t.Errorf("the fourth connect of four ports, one of them listened on: %v, want EADDRNOTAVAIL", err)
	}
	x := setting303(t, advice.Diagnose(factsWith(t, n, 3)), "40001")
	if x.Severity != event.Info {
		t.Errorf("severity %v", x.Severity)
	}
	if x.Fix[0].Command() != "" {
		t.Errorf("it is not known who chose the port: %s", x.Fix[0].Command())
	}
	ns.Sysctl(t, "net.ipv4.ip_local_reserved_ports", "40001")
	for _, x := range advice.Diagnose(factsWith(t, n, 3)) {
		if x.ID == "TW303" {
			t.Errorf("it is reserved: %s", x.What)
		}
	}
}

// dialUnanswered starts connections that nobody may accept, and leaves them alone.
func dialUnanswered(t *testing.T, ns *kerneltest.NS, to netip.AddrPort, count int) {
	t.Helper()
	ns.Do(t, func() {
		for range count {
			fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { unix.Close(fd) })
			err = unix.Connect(fd, &unix.SockaddrInet4{Addr: to.Addr().As4(), Port: int(to.Port())})
			if err != nil && !errors.Is(err, unix.EINPROGRESS) {
				t.Fatal(err)
			}
		}
	})
}

// listenLong asks for a long queue. What Go asks for is what somaxconn was when the
// process listened for the first time.
func listenLong(t *testing.T, ns *kerneltest.NS, at netip.AddrPort) {
	t.Helper()
	ns.Do(t, func() {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { unix.Close(fd) })
		if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: at.Addr().As4(), Port: int(at.Port())}); err != nil {
			t.Fatal(err)
		}
		if err := unix.Listen(fd, 4096); err != nil {
			t.Fatal(err)
		}
	})
}

// TestListenQueueOverflows: nobody accepts, and two fit. Then the queue is made longer
// as advised.
func TestListenQueueOverflows(t *testing.T) {
	ns, n := private(t, "32768 60999")
	ns.Sysctl(t, "net.core.somaxconn", "1")
	ns.Sysctl(t, "net.ipv4.tcp_syncookies", "0")
	idle := listen(t, ns, address+":8081")
	l := listen(t, ns, address+":8080")
	at := l.Addr().(*net.TCPAddr).AddrPort()
	before, err := advice.ReadFacts(context.Background(), n, 0)
	if err != nil {
		t.Fatal(err)
	}
	dialUnanswered(t, ns, at, 10)
	var f advice.Facts
	kerneltest.Eventually(t, 20*time.Second, func() (bool, string) {
		if f, err = advice.ReadFacts(context.Background(), n, 0); err != nil {
			t.Fatal(err)
		}
		return f.After.ListenOverflows > 0, "no overflow counted"
	})
	f.Window, f.Before, f.HostBefore = f.Time.Sub(before.Time), before.After, before.HostAfter
	var found []advice.Finding
	for _, x := range advice.Diagnose(f) {
		if x.ID == "TW211" {
			found = append(found, x)
		}
	}
	if len(found) != 1 || found[0].Severity != event.Warn || found[0].Scope.Lport != 8080 {
		t.Fatalf("found %+v, want one listener and not %s", found, idle.Addr())
	}
	shell(t, found[0].Now[0].Command())
	longer := netip.MustParseAddrPort(address + ":8082")
	listenLong(t, ns, longer)
	dialUnanswered(t, ns, longer, 10)
	kerneltest.Eventually(t, 20*time.Second, func() (bool, string) {
		after, err := advice.ReadFacts(context.Background(), n, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, q := range after.HostAfter.Queues {
			if q.Local.Port() == 8082 {
				return q.Waiting == 10 && q.Drops == 0, fmt.Sprintf("%+v", q)
			}
		}
		return false, "no listener"
	})
}

// TestLoadTestAgainstOneself fills the ports to 127/8 and to another address of the host.
func TestLoadTestAgainstOneself(t *testing.T) {
	ns, n := private(t, "40000 40099")
	churn(t, ns, listen(t, ns, address+":8080"), 60, false)
	churn(t, ns, listen(t, ns, "127.0.0.1:8080"), 60, false)
	all := advice.Diagnose(factsWith(t, n, 120))
	why := map[string]string{}
	for _, x := range all {
		for _, x := range append([]advice.Finding{x}, x.Under...) {
			if x.ID == "TW302" {
				why[x.Scope.Raddr] = x.Why
			}
		}
	}
	if len(why) != 1 || !strings.Contains(why[address], "other addresses") { // nobody is known to be a load generator
		t.Errorf("found %v: %v", ids(all), why)
	}
}

// TestConntrackFills has a namespace follow connections. Its limit is the host's, which a
// test must not touch: it is lowered in the facts.
func TestConntrackFills(t *testing.T) {
	ns, n := private(t, "32768 60999")
	if _, err := n.Conntrack(); errors.Is(err, fs.ErrNotExist) {
		t.Skip("this kernel has no conntrack")
	}
	rules := "add table inet t; add chain inet t o { type filter hook output priority 0; ct state invalid drop; }"
	kerneltest.RequireTool(t, "nft", "nftables")
	if out, err := exec.Command("nsenter", "--net="+ns.Path(), "nft", rules).CombinedOutput(); err != nil {
		t.Fatalf("nft: %v: %s", err, out)
	}
	l := listen(t, ns, address+":8080")
	churn(t, ns, l, 40, false)
	f := factsWith(t, n, 40)
	if c := f.HostAfter.Conntrack; c == nil || c.Count != 40 {
		t.Fatalf("%+v, want 40 entries", c)
	}
	f.HostAfter.Conntrack.Max = 45
	if err := f.HostAfter.CountTracked(n); err != nil {
		t.Fatal(err)
	}
	x := find(t, advice.Diagnose(f), "TW301")
	if x.Severity != event.Warn || !strings.Contains(x.Why, "100%) are in TIME_WAIT") || len(x.Now) != 2 {
		t.Fatalf("%v: %s; %+v", x.Severity, x.Why, x.Now)
	}
	shell(t, x.Now[1].Command())
	if c, err := n.Conntrack(); err != nil || c.TimeWait != 30*time.Second {
		t.Errorf("after %s: %+v (%v)", x.Now[1].Command(), c, err)
	}
	shell(t, x.Now[1].Undo())
	if c, err := n.Conntrack(); err != nil || c.TimeWait != f.HostAfter.Conntrack.TimeWait {
		t.Errorf("after the undo: %+v (%v)", c, err)
	}
}

// TestNoAnswerFromAfar: a public destination answers two connects of twelve, as a NAT
// without ports would let it.
func TestNoAnswerFromAfar(t *testing.T) {
	near, n := private(t, "32768 60999")
	far := kerneltest.NetNS(t)
	w, err := workload.NewWire(near.Path(), far.Path())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.Close() }) // it is cut while SYNs are on their way
	public := netip.MustParseAddrPort("198.51.100.7:443")
	far.AddAddr(t, "lo", public.Addr().String()+"/32")
	if out, err := exec.Command("nsenter", "--net="+near.Path(), "ip", "route", "add", public.Addr().String(), "dev", "wire0").CombinedOutput(); err != nil {
		t.Fatalf("ip route: %v: %s", err, out)
	}
	far.Sysctl(t, "net.core.somaxconn", "1")
	far.Sysctl(t, "net.ipv4.tcp_syncookies", "0")
	listen(t, far, public.String())
	dialUnanswered(t, near, public, 12)
	var f advice.Facts
	kerneltest.Eventually(t, 20*time.Second, func() (bool, string) {
		if f, err = advice.ReadFacts(context.Background(), n, 0); err != nil {
			t.Fatal(err)
		}
		if len(f.Destinations) != 1 {
			return false, fmt.Sprintf("%d destinations", len(f.Destinations))
		}
		d := f.Destinations[0]
		return d.Resent >= 8 && d.States.Of(event.Established) >= 1 && f.After.SYNRetrans >= 8,
			fmt.Sprintf("%d resent, %d counted, states %v", d.Resent, f.After.SYNRetrans, d.States)
	})
	x := find(t, advice.Diagnose(f), "TW305")
	if x.Severity != event.Warn || x.Scope.Raddr != public.Addr().String() {
		t.Errorf("%v: %s", x.Severity, x.What)
	}
}

// TestOwnAddresses are those of the namespace, and not of the host.
func TestOwnAddresses(t *testing.T) {
	_, n := private(t, "32768 60999")
	a, err := advice.ReadHostFacts(n)
	if err != nil {
		t.Fatal(err)
	}
	for addr, want := range map[string]bool{address: true, "127.0.0.1": true, "10.77.0.2": false} {
		if got := slices.Contains(a.Addrs, netip.MustParseAddr(addr)); got != want {
			t.Errorf("%s among %v: %v", addr, a.Addrs, got)
		}
	}
	if home, err := kernel.CurrentNetNS(); err != nil || home.Inum == n.Inum {
		t.Fatalf("the test is in its own namespace (%v)", err)
	}
}
