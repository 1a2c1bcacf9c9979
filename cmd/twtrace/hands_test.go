package main

import (
	"fmt"
	"net/netip"
	"testing"

	"github.com/twtrace/twtrace/internal/event"
	"github.com/twtrace/twtrace/internal/kerneltest"
	"github.com/twtrace/twtrace/internal/workload"
)

// cast is who plays in a case, and what they held.
type cast struct {
	t     *testing.T
	ns    *kerneltest.NS
	port  uint16 // its listeners'
	hands []*workload.Hand
	held  []*workload.Held
}

func (c *cast) must(err error) {
	c.t.Helper()
	must(c.t, err)
}

func (c *cast) hand(comm string, inherited ...*workload.Listening) *workload.Hand {
	c.t.Helper()
	h, err := workload.StartHand(c.t.Context(), c.ns.Path(), comm, inherited...)
	c.must(err)
	c.t.Cleanup(func() { h.Kill() })
	c.hands = append(c.hands, h)
	return h
}

func (c *cast) listen(h *workload.Hand, at netip.AddrPort, s workload.Socketing) *workload.Listening {
	c.t.Helper()
	if !s.ReusePort {
		c.port++
	}
	l, err := h.Listen(netip.AddrPortFrom(at.Addr(), c.port), s)
	c.must(err)
	return l
}

// connect has client connect to l, and server accept that.
func (c *cast) connect(client, server *workload.Hand, l *workload.Listening, how ...workload.Socketing) (near, far *workload.Held) {
	c.t.Helper()
	how = append(how, workload.Socketing{}, workload.Socketing{})
	near = c.open(client, l, how[0])
	return near, c.accept(server, l, how[1])
}

func (c *cast) open(client *workload.Hand, l *workload.Listening, how workload.Socketing) *workload.Held {
	c.t.Helper()
	h, err := client.Connect(l.At, how)
	c.must(err)
	c.held = append(c.held, h)
	return h
}

func (c *cast) accept(server *workload.Hand, l *workload.Listening, how workload.Socketing) *workload.Held {
	c.t.Helper()
	h, err := server.Accept(l, how)
	c.must(err)
	c.held = append(c.held, h)
	return h
}

// follow has h close what the peers have closed.
func (c *cast) follow(h *workload.Hand, all ...*workload.Held) {
	c.t.Helper()
	c.must(h.EOF(all...))
	c.must(h.Close(workload.Plain, all...))
}

// handCase is a way for a connection to pass through processes.
type handCase struct {
	name   string
	before func(*cast) // what happens before the trace
	run    func(*cast)

	unseen   bool // the exits of calls do not show its accepters
	noCloser bool // a worker of the kernel closes
	mptcp    bool // its cookies are those of MPTCP sockets, not of the TCP ones
}

// TestHands has connections pass through processes in every way there is, and
// compares each owner with what the processes said about themselves.
func TestHands(t *testing.T) {
	t.Attr("row", "owners through fork, exec, passed descriptors, io_uring, MPTCP")
	t.Parallel()
	for _, calls := range []string{"auto", "on"} {
		t.Run("syscalls "+calls, func(t *testing.T) {
			t.Parallel()
			testHands(t, calls)
		})
	}
}

func testHands(t *testing.T, calls string) {
	ns := churnNS(t)
	casts := make(map[*handCase]*cast)
	for i, hc := range handCases {
		c := &cast{t: t, ns: ns, port: uint16(7000 + 20*i)}
		casts[hc] = c
		if hc.before != nil {
			hc.before(c)
		}
	}
	tr := startTrace(t, "-N", ns.Path(), "--syscalls", calls)
	for _, hc := range handCases {
		c := casts[hc]
		hc.run(c)
		for _, h := range c.hands {
			must(t, h.Kill())
		}
	}
	wanted := 0
	for _, c := range casts {
		wanted += len(c.held)
	}
	// A subflow of MPTCP may be closed by the kernel's worker only after 60 s.
	kerneltest.Eventually(t, patience, func() (bool, string) {
		last := lastRecords(tr, ns)
		if len(last) >= wanted-hiddenEnds(wanted) {
			return true, ""
		}
		open := ""
		for _, hc := range handCases {
			for _, h := range casts[hc].held {
				if _, ok := last[handEnds{h.Local, h.Remote}]; !ok {
					open = fmt.Sprintf("; the last: %s, %s %v to %v", hc.name, h.Role, h.Local, h.Remote)
				}
			}
		}
		return false, fmt.Sprintf("%d of %d ended%s", len(last), wanted, open)
	})
	end := tr.stop()
	checkLost(t, end)
	last := lastRecords(tr, ns)
	missing := 0
	for _, hc := range handCases {
		t.Run(hc.name, func(t *testing.T) {
			for _, h := range casts[hc].held {
				missing += hc.check(t, tr, h, last)
			}
		})
	}
	if missing > hiddenEnds(wanted) {
		t.Errorf("%d of %d connections have no end", missing, wanted)
	}
}

// hiddenEnds is how many ends of n this kernel may hide.
func hiddenEnds(n int) int {
	if kerneltest.PID1Artefact() {
		return n / 200
	}
	return 0
}

// handEnds are a local and a remote end.
type handEnds [2]netip.AddrPort

func endsOf(r record) handEnds {
	return handEnds{netip.AddrPortFrom(r.Laddr, r.Lport), netip.AddrPortFrom(r.Raddr, r.Rport)}
}

// lastRecords are the records that end a connection, as far as its owner is concerned.
func lastRecords(tr *trace, ns *kerneltest.NS) map[handEnds]record {
	out := make(map[handEnds]record)
	for _, event := range []string{"close", "time_wait_enter"} {
		for _, r := range tr.of(event, ns.Inum()) {
			out[endsOf(r)] = r
		}
	}
	return out
}

// check compares all that was said of h with what its processes said, and the last
// of it with the best that can be said. It returns 1 if there is no last.
func (hc *handCase) check(t *testing.T, tr *trace, h *workload.Held, last map[handEnds]record) int {
	t.Helper()
	key := handEnds{h.Local, h.Remote}
	for _, r := range tr.all() {
		if endsOf(r) == key {
			hc.checkSaid(t, r, h)
		}
	}
	r, ok := last[key]
	if !ok {
		t.Logf("%s %v has no end", h.Role, key)
		return 1
	}
	if want := hc.bestOwner(tr, h); r.Owner != want {
		t.Errorf("%s %v: owner %s[%d] is known by %q, want %q", h.Role, key, r.Comm, r.PID, r.Owner, want)
	}
	if r.CloserPID == 0 && h.Closer.Known() && !hc.noCloser {
		t.Errorf("%s %v: no closer, want %v", h.Role, key, h.Closer)
	}
	return 0
}

// bestOwner is how the owner is known in the end.
func (hc *handCase) bestOwner(tr *trace, h *workload.Held) string {
	switch {
	case hc.before != nil:
		return "proc"
	case h.Role == event.Client:
		return "connect"
	case tr.hooked("sock_accept"), tr.hooked("exit_accept") && !hc.unseen:
		return "accept"
	case hc.noCloser || !h.Closer.Known():
		return "listen"
	}
	return "close"
}

// checkSaid wants every process in r to be the right one.
func (hc *handCase) checkSaid(t *testing.T, r record, h *workload.Held) {
	t.Helper()
	by := event.Proc{PID: h.PID, Comm: h.Comm}
	only := func(role event.Role) event.Proc {
		if h.Role == role && hc.before == nil {
			return by
		}
		return event.Proc{}
	}
	owners := map[string]event.Proc{"connect": only(event.Client), "accept": only(event.Server),
		"close": h.Closer, "listen": h.Listener, "": {}}
	if hc.before != nil {
		owners["proc"] = by
	}
	if want, ok := owners[r.Owner]; !ok || want.PID != r.PID || want.Comm != r.Comm {
		t.Errorf("%s %s: owner %s[%d] by %q, want %v of %v", h.Role, r.Event, r.Comm, r.PID, r.Owner, want, owners)
	}
	for _, said := range []struct {
		what string
		pid  uint32
		comm string
		want event.Proc
	}{
		{"opener", r.OpenerPID, r.OpenerComm, only(event.Client)},
		{"accepter", r.AcceptPID, r.AcceptComm, only(event.Server)},
		{"closer", r.CloserPID, r.CloserComm, h.Closer},
	} {
		if said.pid != 0 && (said.pid != said.want.PID || said.comm != said.want.Comm) {
			t.Errorf("%s %s: %s %s[%d], want %v", h.Role, r.Event, said.what, said.comm, said.pid, said.want)
		}
	}
	if c := fmt.Sprintf("%x", h.Cookie); r.Cookie != c && !hc.mptcp {
		t.Errorf("%s %s: cookie %s, want %s", h.Role, r.Event, r.Cookie, c)
	}
}
