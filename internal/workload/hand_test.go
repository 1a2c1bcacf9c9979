package workload_test

import (
	"errors"
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/twtrace/twtrace/internal/event"
	"github.com/twtrace/twtrace/internal/kerneltest"
	"github.com/twtrace/twtrace/internal/workload"
)

func startHand(t *testing.T, ns *kerneltest.NS, comm string) *workload.Hand {
	t.Helper()
	h, err := workload.StartHand(t.Context(), ns.Path(), comm)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { h.Kill() })
	return h
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// TestHandWays makes and closes connections in every way, and looks for them with ss.
func TestHandWays(t *testing.T) {
	ns := kerneltest.NetNS(t)
	ns.KeepTimeWait(t)
	server, client := startHand(t, ns, "server"), startHand(t, ns, "client")
	l, err := server.Listen(workload.IPv4, workload.Socketing{MPTCP: true})
	must(t, err)
	var cookies []uint64
	for _, way := range []workload.Way{workload.Plain, workload.NonBlocking, workload.Uring,
		workload.UringWorker, workload.UringPoll, workload.Multishot} {
		how := workload.Socketing{Way: way, Thread: "other"}
		near := workload.Socketing{Way: way}
		if way == workload.Multishot {
			near.Way = workload.Plain
		}
		c, err := client.Connect(l.At, near)
		must(t, err)
		s, err := server.Accept(l, how)
		must(t, err)
		if c.Local != s.Remote || c.Remote != s.Local || c.Comm != "client" || s.Comm != "server" || s.PID == c.PID {
			t.Errorf("%s: %+v and %+v", way, c.Record, s.Record)
		}
		must(t, client.Shutdown(c))
		must(t, server.EOF(s))
		must(t, server.Close(workload.Plain, s))
		must(t, client.EOF(c))
		cookies = append(cookies, c.Cookie)
	}
	checkSockets(t, ns, "time-wait", cookies)
}

// TestHandsOn passes a connection on in every way, and wants to know who closed it.
func TestHandsOn(t *testing.T) {
	ns := kerneltest.NetNS(t)
	server, first, second := startHand(t, ns, "server"), startHand(t, ns, "first"), startHand(t, ns, "second")
	l, err := server.Listen(workload.IPv6, workload.Socketing{})
	must(t, err)
	var open []*workload.Held
	for range 4 {
		c, err := first.Connect(l.At, workload.Socketing{})
		must(t, err)
		_, err = server.Accept(l, workload.Socketing{})
		must(t, err)
		open = append(open, c)
	}
	must(t, first.Fork(open[0]))
	must(t, first.Give(second, open[1]))
	must(t, second.Close(workload.Plain, open[1]))
	must(t, first.Exec("third"))
	must(t, first.Close(workload.Plain, open[2]))
	must(t, first.Kill(open[3]))
	pid := open[0].PID
	for i, want := range []event.Proc{{Comm: "first"}, second.Who(), {PID: pid, Comm: "third"}, {PID: pid, Comm: "third"}} {
		got := open[i].Closer
		if i == 0 && got.PID != 0 && got.PID != pid {
			want.PID = got.PID // the child's
		}
		if got != want {
			t.Errorf("connection %d is closed by %v, want %v", i, got, want)
		}
	}
	checkSockets(t, ns, "established", nil) // no copy of a descriptor is left
}

// TestHandFails wants the errors of calls.
func TestHandFails(t *testing.T) {
	ns := kerneltest.NetNS(t)
	h := startHand(t, ns, "hand")
	fails := func(err error, call event.Call, errno unix.Errno) {
		t.Helper()
		var e *workload.CallError
		if !errors.As(err, &e) || e.Call != call || !errors.Is(err, errno) {
			t.Errorf("%v, want %v of %v", err, errno, call)
		}
	}
	_, err := h.Connect(workload.IPv4, workload.Socketing{})
	fails(err, event.Connect, unix.ECONNREFUSED)
	_, err = h.Connect(workload.IPv4, workload.Socketing{From: netip.MustParseAddrPort("192.0.2.1:1")})
	fails(err, event.Bind, unix.EADDRNOTAVAIL)
	must(t, h.Limit())
	_, err = h.Connect(workload.IPv4, workload.Socketing{})
	fails(err, event.Socket, unix.EMFILE)
}
