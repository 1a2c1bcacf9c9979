package e2e

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/twtrace/twtrace/internal/advice"
	"github.com/twtrace/twtrace/internal/doctor"
	"github.com/twtrace/twtrace/internal/event"
	"github.com/twtrace/twtrace/internal/kernel"
	"github.com/twtrace/twtrace/internal/kerneltest"
)

// address is one of the host's own that is not on loopback's network, so that
// tcp_tw_reuse=2 does not cover it although packets never leave the machine.
const address = "10.77.0.1"

// private makes a namespace with few ports, and that address.
func private(t *testing.T, ports string) (*kerneltest.NS, kernel.NetNS) {
	t.Helper()
	ns := kerneltest.NetNS(t)
	ns.KeepTimeWait(t)
	ns.AddAddr(t, "lo", address+"/32")
	ns.Sysctl(t, "net.ipv4.ip_local_port_range", ports)
	n, err := kernel.FindNetNS(ns.Path())
	if err != nil {
		t.Fatal(err)
	}
	return ns, n
}

func listen(t *testing.T, ns *kerneltest.NS, at string) net.Listener {
	t.Helper()
	var l net.Listener
	ns.Do(t, func() {
		var err error
		if l, err = net.Listen("tcp", at); err != nil {
			t.Fatal(err)
		}
	})
	t.Cleanup(func() { l.Close() })
	return l
}

// dial connects to l once, with a plain connect(): net.Dial would try thrice.
func dial(ns *kerneltest.NS, l net.Listener) (client, server net.Conn, err error) {
	to := l.Addr().(*net.TCPAddr).AddrPort()
	err = ns.NetNS().Do(func() error {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		if err := unix.Connect(fd, &unix.SockaddrInet4{Addr: to.Addr().As4(), Port: int(to.Port())}); err != nil {
			unix.Close(fd)
			return err
		}
		client = fdConn(fd)
		return nil
	})
	if err != nil {
		return nil, nil, err
	}
	server, err = l.Accept()
	return client, server, err
}

// fdConn is the little of net.Conn that the tests need of a plain descriptor.
type fdConn int

func (c fdConn) Close() error { return unix.Close(int(c)) }
func (c fdConn) Read(b []byte) (int, error) {
	n, err := unix.Read(int(c), b)
	if n == 0 && err == nil {
		err = io.EOF
	}
	return n, err
}
func (fdConn) Write([]byte) (int, error)        { return 0, errors.ErrUnsupported }
func (fdConn) LocalAddr() net.Addr              { return nil }
func (fdConn) RemoteAddr() net.Addr             { return nil }
func (fdConn) SetDeadline(time.Time) error      { return errors.ErrUnsupported }
func (fdConn) SetReadDeadline(time.Time) error  { return errors.ErrUnsupported }
func (fdConn) SetWriteDeadline(time.Time) error { return errors.ErrUnsupported }

// churn makes count connections to l; the client closes first, or the server.
func churn(t *testing.T, ns *kerneltest.NS, l net.Listener, count int, serverFirst bool) {
	t.Helper()
	for i := range count {
		first, second, err := dial(ns, l)
		if err != nil {
			t.Fatalf("connection %d of %d: %v", i+1, count, err)
		}
		if serverFirst {
			first, second = second, first
		}
		if err := first.Close(); err != nil {
			t.Fatal(err)
		}
		if _, err := second.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
			t.Fatalf("read after the peer's close: %v", err)
		}
		if err := second.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// factsWith reads facts until want sockets are in TIME_WAIT: the last FIN may be on its way.
func factsWith(t *testing.T, n kernel.NetNS, want int) advice.Facts {
	t.Helper()
	var f advice.Facts
	kerneltest.Eventually(t, 20*time.Second, func() (bool, string) {
		var err error
		if f, err = advice.ReadFacts(context.Background(), n, 0); err != nil {
			t.Fatal(err)
		}
		got := 0
		for _, c := range f.TimeWait {
			got += int(c)
		}
		return got == want, fmt.Sprintf("%d in TIME_WAIT, want %d", got, want)
	})
	return f
}

// shell runs a command as a user would paste it.
func shell(t *testing.T, command string) {
	t.Helper()
	if out, err := exec.Command("sh", "-c", command).CombinedOutput(); err != nil {
		t.Errorf("%s: %v: %s", command, err, out)
	}
}

// TestPortsRunOut fills a range of 100 ports for real, and follows the advice.
func TestPortsRunOut(t *testing.T) {
	ns, n := private(t, "40000 40099")
	l := listen(t, ns, address+":3306")
	other := listen(t, ns, "127.0.0.1:5432")

	churn(t, ns, l, 60, false)
	f := factsWith(t, n, 60)
	if got := find(t, advice.Diagnose(f), "TW101"); got.Severity != event.Crit || !strings.HasPrefix(got.When, "full in about") {
		t.Errorf("60 of 100 ports taken in a moment: %v, %s", got.Severity, got.When)
	}

	churn(t, ns, l, 40, false)
	if _, _, err := dial(ns, l); !errors.Is(err, unix.EADDRNOTAVAIL) {
		t.Fatalf("connect with all ports in TIME_WAIT: %v, want EADDRNOTAVAIL", err)
	}
	f = factsWith(t, n, 100)
	all := advice.Diagnose(f)
	x := find(t, all, "TW101")
	if x.Severity != event.Crit || !strings.HasPrefix(x.When, "full now") || x.Forecast == nil || x.Forecast.InS != 0 {
		t.Errorf("all ports taken: %v, %s, %+v", x.Severity, x.When, x.Forecast)
	}
	if want := address + " -> " + address + ":3306 holds 100 of 100 ports (100%)"; x.What != want {
		t.Errorf("what: %s, want %s", x.What, want)
	}
	if want := (advice.Scope{NetNS: ns.Inum(), Laddr: address, Raddr: address, Rport: 3306}); x.Scope != want {
		t.Errorf("scope %+v, want %+v", x.Scope, want)
	}
	for _, x := range all {
		if x.Severity >= event.Warn && (x.Why == "" || x.Who == "" || x.When == "" || len(x.Now) == 0 || len(x.Evidence) == 0) {
			t.Errorf("%s is %v and does not say what to do, or why: %+v", x.ID, x.Severity, x)
		}
	}
	if code := (doctor.Report{Findings: all}).ExitCode(); code != 2 {
		t.Errorf("exit code %d", code)
	}
	// "Other destinations still work": the claim of the finding.
	churn(t, ns, other, 3, false)
	follow(t, ns, n, l, x.Now)
}

// follow runs each command, sees that connect() works again, and undoes it.
func follow(t *testing.T, ns *kerneltest.NS, n kernel.NetNS, l net.Listener, remedies []advice.Remedy) {
	t.Helper()
	before, err := n.Limits()
	if err != nil {
		t.Fatal(err)
	}
	followed := 0
	for _, r := range remedies {
		if r.Command() == "" {
			continue
		}
		followed++
		shell(t, r.Command())
		kerneltest.Eventually(t, 20*time.Second, func() (bool, string) { // the reuse delay is up to a second
			client, server, err := dial(ns, l)
			if err != nil {
				return false, fmt.Sprintf("after %s: %v", r.Command(), err)
			}
			server.Close() // first, so that its TIME_WAIT takes no port
			client.Close()
			return true, ""
		})
		shell(t, r.Undo())
		if after, err := n.Limits(); err != nil || after != before {
			t.Errorf("after %s limits are %+v (%v), before %+v", r.Undo(), after, err, before)
		}
	}
	if followed != 2 {
		t.Errorf("%d commands among %+v, want the reuse and the range", followed, remedies)
	}
}

// TestLoopbackIsReused: the same number of sockets does no harm on 127/8.
func TestLoopbackIsReused(t *testing.T) {
	ns, n := private(t, "40000 40099")
	l := listen(t, ns, "127.0.0.1:3306")
	churn(t, ns, l, 96, false)
	x := find(t, advice.Diagnose(factsWith(t, n, 96)), "TW101")
	if x.Severity != event.Info || len(x.Now) != 0 {
		t.Errorf("on loopback: %v, %+v", x.Severity, x.Now)
	}
	// Twice the range, which only reuse allows: the claim of the finding.
	for made := 0; made < 200; {
		kerneltest.Eventually(t, 20*time.Second, func() (bool, string) {
			client, server, err := dial(ns, l)
			if err != nil {
				return false, err.Error()
			}
			client.Close()
			server.Close()
			made++
			return true, ""
		})
	}
}

// manyTimeWait is how many make TW204 speak.
const manyTimeWait = 1000

// TestServerSide: TIME_WAIT of a server takes no port, and is counted apart.
func TestServerSide(t *testing.T) {
	ns, n := private(t, "32768 60999")
	l := listen(t, ns, address+":8080")
	churn(t, ns, l, manyTimeWait, true)
	f := factsWith(t, n, manyTimeWait)
	if len(f.Destinations) != 0 {
		t.Errorf("a server's sockets were taken for outgoing ones: %+v", f.Destinations)
	}
	at := slices.IndexFunc(f.Listeners, func(l advice.Listener) bool { return l.Local == netip.MustParseAddrPort(address+":8080") })
	if at < 0 || f.Listeners[at].States.Of(event.TimeWait) != manyTimeWait {
		t.Fatalf("listeners %+v, want %d in TIME_WAIT on one", f.Listeners, manyTimeWait)
	}
	all := advice.Diagnose(f)
	if want := []string{"TW204 info", "TW900 info", "TW000 ok"}; !slices.Equal(ids(all), want) {
		t.Errorf("found %v, want %v", ids(all), want)
	}
}

// TestBucketsOverflow lowers the limit, has TIME_WAIT refused, and raises it as advised.
func TestBucketsOverflow(t *testing.T) {
	ns, n := private(t, "32768 60999")
	ns.Sysctl(t, "net.ipv4.tcp_max_tw_buckets", "50")
	l := listen(t, ns, address+":8080")
	churn(t, ns, l, 45, false)
	if x := find(t, advice.Diagnose(factsWith(t, n, 45)), "TW205"); x.Severity != event.Crit && x.Severity != event.Warn {
		t.Errorf("45 of 50: %v", x.Severity)
	}
	churn(t, ns, l, 20, false)
	f := factsWith(t, n, 50)
	if f.After.TWOverflow != 15 {
		t.Errorf("%d refused, want 15", f.After.TWOverflow)
	}
	x := find(t, advice.Diagnose(f), "TW205")
	if x.Severity != event.Crit || !strings.Contains(x.What, "50 of 50") || !strings.Contains(x.Why, "15 refused") {
		t.Errorf("%v: %s; %s", x.Severity, x.What, x.Why)
	}
	shell(t, x.Now[0].Command())
	churn(t, ns, l, 10, false)
	if f := factsWith(t, n, 60); f.After.TWOverflow != 15 {
		t.Errorf("%d refused after the limit was raised, 15 before", f.After.TWOverflow)
	}
	shell(t, x.Now[0].Undo())
	if limits, err := n.Limits(); err != nil || limits.MaxTWBuckets != 50 {
		t.Errorf("after the undo the limit is %d (%v)", limits.MaxTWBuckets, err)
	}
}

// TestLiveConnections holds ports with connections that stay open.
func TestLiveConnections(t *testing.T) {
	ns, n := private(t, "40000 40099")
	l := listen(t, ns, address+":3306")
	for range 96 {
		client, server, err := dial(ns, l)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { client.Close(); server.Close() })
	}
	all := advice.Diagnose(factsWith(t, n, 0))
	if want := []string{"TW106 warn", "TW900 info"}; !slices.Equal(ids(all), want) {
		t.Fatalf("found %v, want %v", ids(all), want)
	}
	if !strings.Contains(all[0].Why, "ESTABLISHED") {
		t.Errorf("why: %s", all[0].Why)
	}
}

// TestBothFamilies: a dual-stack listener's IPv4 connections are its own, and
// IPv6 destinations are counted like others.
func TestBothFamilies(t *testing.T) {
	ns, n := private(t, "40000 40099")
	dual := listen(t, ns, "[::]:8080")
	mapped := &fixedAddr{dual, address + ":8080"}
	churn(t, ns, mapped, 3, true)
	churn(t, ns, mapped, 2, false)
	f := factsWith(t, n, 5)
	if len(f.Destinations) != 1 || f.Destinations[0].States.Of(event.TimeWait) != 2 || f.Destinations[0].Remote.String() != address+":8080" {
		t.Errorf("destinations %+v, want one with 2 in TIME_WAIT", f.Destinations)
	}
	if len(f.Listeners) != 1 || f.Listeners[0].States.Of(event.TimeWait) != 3 {
		t.Errorf("listeners %+v, want one with 3 in TIME_WAIT", f.Listeners)
	}
}

// fixedAddr is a listener that is reached at another address than it says.
type fixedAddr struct {
	net.Listener
	at string
}

func (l *fixedAddr) Addr() net.Addr { return net.TCPAddrFromAddrPort(netip.MustParseAddrPort(l.at)) }

// TestWindow: the counters are read twice, and a cancelled context ends it.
func TestWindow(t *testing.T) {
	ns, n := private(t, "32768 60999")
	l := listen(t, ns, address+":8080")
	churn(t, ns, l, 5, false)
	factsWith(t, n, 5)
	f, err := advice.ReadFacts(context.Background(), n, time.Millisecond)
	if err != nil || f.Window < time.Millisecond || f.Before.ActiveOpens != 5 || f.After.ActiveOpens != 5 {
		t.Errorf("window %v, opens %d and %d (%v)", f.Window, f.Before.ActiveOpens, f.After.ActiveOpens, err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := advice.ReadFacts(ctx, n, time.Hour); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}
