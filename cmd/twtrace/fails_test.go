package main

import (
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/twtrace/twtrace/internal/event"
	"github.com/twtrace/twtrace/internal/kerneltest"
	"github.com/twtrace/twtrace/internal/workload"
)

// failure is what a call that failed and its record must agree on.
type failure struct {
	pid   uint32
	comm  string
	owner string
	call  string
	errno string
	to    netip.AddrPort // remote end of connect(), local end of the others
}

// failing makes calls fail, and notes what the processes were told.
type failing struct {
	*cast
	calls bool // with --syscalls on
	mu    sync.Mutex
	want  map[failure]int
}

// fails wants err to be that of a call. hidden is that no record is made of it without
// --syscalls on.
func (f *failing) fails(err error, call event.Call, errno unix.Errno, to netip.AddrPort, hidden bool) {
	f.t.Helper()
	var e *workload.CallError
	if !errors.As(err, &e) || e.Call != call || e.Errno != errno {
		f.t.Errorf("%v to %v: %v, want %v", call, to, err, errno)
		return
	}
	if hidden && !f.calls {
		return
	}
	w := failure{pid: e.By.PID, comm: e.By.Comm, owner: "call", call: call.String(), errno: unix.ErrnoName(errno)}
	switch call {
	case event.Connect:
		w.owner = "connect"
	case event.Accept:
		w.owner = "accept"
	}
	if call != event.Socket {
		w.to = netip.AddrPortFrom(to.Addr().Unmap(), to.Port())
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.want[w]++
}

func (f *failing) connect(h *workload.Hand, to netip.AddrPort, s workload.Socketing, errno unix.Errno, hidden bool) {
	f.t.Helper()
	_, err := h.Connect(to, s)
	f.fails(err, event.Connect, errno, to, hidden)
}

var connectWays = []workload.Way{workload.Plain, workload.NonBlocking, workload.Uring, workload.UringWorker, workload.UringPoll}

// TestFails has every kind of call fail in every way, and compares the records with
// what the processes were told.
func TestFails(t *testing.T) {
	t.Attr("row", "calls that fail: connect, bind, accept, socket")
	t.Parallel()
	for _, calls := range []string{"auto", "on"} {
		t.Run("syscalls "+calls, func(t *testing.T) {
			t.Parallel()
			testFails(t, calls)
		})
	}
}

func testFails(t *testing.T, calls string) {
	ns := churnNS(t)
	ns.Sysctl(t, "net.ipv4.ip_local_port_range", "40000 40009")
	ns.Sysctl(t, "net.ipv4.tcp_syn_retries", "1")
	f := &failing{cast: &cast{t: t, ns: ns, port: 7100}, calls: calls == "on", want: make(map[failure]int)}
	tr := startTrace(t, "-N", ns.Path(), "--syscalls", calls)
	f.refused()
	f.noPort()
	f.noBind()
	f.noDescriptor()
	f.noRoute()
	f.reset()
	f.noAnswer()
	want := 0
	for _, n := range f.want {
		want += n
	}
	kerneltest.Eventually(t, patience, func() (bool, string) {
		n := len(tr.of("fail", ns.Inum()))
		return n >= want, fmt.Sprintf("%d of %d records", n, want)
	})
	checkLost(t, tr.stop())
	got := make(map[failure]int)
	for _, r := range tr.of("fail", ns.Inum()) {
		w := failure{pid: r.PID, comm: r.Comm, owner: r.Owner, call: r.Call, errno: r.Errno}
		if r.Call == "connect" {
			w.to = netip.AddrPortFrom(r.Raddr, r.Rport)
		} else if r.Laddr.IsValid() {
			w.to = netip.AddrPortFrom(r.Laddr, r.Lport)
		}
		got[w]++
		if f.want[w] == 0 {
			t.Errorf("nobody was told of %+v", r)
		}
	}
	for w, n := range f.want {
		if got[w] != n {
			t.Errorf("%d records, want %d of %+v", got[w], n, w)
		}
	}
	t.Logf("%d calls failed, %d kinds", want, len(f.want))
}

// refused connects to where nobody listens.
func (f *failing) refused() {
	h := f.hand("refused")
	for i, at := range []netip.AddrPort{workload.IPv4, workload.IPv6, workload.Mapped} {
		for _, way := range connectWays {
			for range 3 {
				f.connect(h, netip.AddrPortFrom(at.Addr(), uint16(7001+i)), workload.Socketing{Way: way}, unix.ECONNREFUSED, false)
			}
		}
	}
}

// noPort connects when all ports to a destination are taken.
func (f *failing) noPort() {
	server, h := f.hand("server"), f.hand("exhausted")
	for _, at := range []netip.AddrPort{workload.IPv4, workload.IPv6, workload.Mapped} {
		l := f.listen(server, at, workload.Socketing{})
		for range 10 {
			f.open(h, l, workload.Socketing{})
		}
		for _, way := range connectWays {
			for range 3 {
				f.connect(h, l.At, workload.Socketing{Way: way}, unix.EADDRNOTAVAIL, false)
			}
		}
	}
}

// noBind binds to what is taken: a port that is asked for, and any port.
func (f *failing) noBind() {
	h := f.hand("binder")
	l := f.listen(h, workload.IPv4, workload.Socketing{})
	remote := netip.MustParseAddrPort("192.0.2.1:80")
	for _, from := range []netip.AddrPort{l.At, netip.AddrPortFrom(l.At.Addr(), 0)} {
		for range 3 {
			_, err := h.Connect(l.At, workload.Socketing{From: from})
			f.fails(err, event.Bind, unix.EADDRINUSE, from, true)
		}
	}
	_, err := h.Connect(l.At, workload.Socketing{From: remote})
	f.fails(err, event.Bind, unix.EADDRNOTAVAIL, remote, true)
}

// noDescriptor makes and accepts sockets in a process that can have no more.
func (f *failing) noDescriptor() {
	server, client := f.hand("full-server"), f.hand("full-client")
	l := f.listen(server, workload.IPv6, workload.Socketing{})
	for _, way := range connectWays { // so that the rings are there
		f.open(client, l, workload.Socketing{})
		f.accept(server, l, workload.Socketing{Way: way})
	}
	f.open(client, l, workload.Socketing{})
	f.must(server.Limit())
	for _, way := range connectWays {
		_, err := server.Accept(l, workload.Socketing{Way: way})
		f.fails(err, event.Accept, unix.EMFILE, l.At, true)
	}
	f.must(client.Limit())
	for range 3 {
		_, err := client.Connect(l.At, workload.Socketing{})
		f.fails(err, event.Socket, unix.EMFILE, l.At, true)
	}
}

// noRoute connects to where no route leads: no SYN is sent.
func (f *failing) noRoute() {
	h := f.hand("lost")
	for _, to := range []string{"192.0.2.1:80", "[2001:db8::1]:80"} {
		f.connect(h, netip.MustParseAddrPort(to), workload.Socketing{}, unix.ENETUNREACH, true)
		f.connect(h, netip.MustParseAddrPort(to), workload.Socketing{Way: workload.NonBlocking}, unix.ENETUNREACH, true)
	}
}

// reset has a connection reset before connect() says that there is one.
func (f *failing) reset() {
	server, client := f.hand("resetter"), f.hand("reset")
	l := f.listen(server, workload.IPv4, workload.Socketing{})
	done := make(chan error)
	go func() {
		far, err := server.Accept(l, workload.Socketing{})
		if err == nil {
			err = server.Abort(far)
		}
		done <- err
	}()
	f.connect(client, l.At, workload.Socketing{Way: workload.Again}, unix.ECONNRESET, true)
	f.must(<-done)
}

// noAnswer connects to a listener that drops SYNs, since its queue is full.
func (f *failing) noAnswer() {
	f.port++
	l, err := workload.Listen(f.ns.Path(), netip.AddrPortFrom(workload.IPv4.Addr(), f.port))
	f.must(err)
	defer l.Close()
	f.must(l.Room(0))
	at := netip.AddrPortFrom(workload.IPv4.Addr(), f.port)
	_, err = f.hand("first").Connect(at, workload.Socketing{})
	f.must(err)
	var wg sync.WaitGroup
	for _, way := range connectWays {
		h := f.hand("unanswered")
		wg.Go(func() { f.connect(h, at, workload.Socketing{Way: way}, unix.ETIMEDOUT, false) })
	}
	wg.Wait()
}
