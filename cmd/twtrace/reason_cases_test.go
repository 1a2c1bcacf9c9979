package main

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/twtrace/twtrace/internal/event"
	"github.com/twtrace/twtrace/internal/kernel"
	"github.com/twtrace/twtrace/internal/kerneltest"
	"github.com/twtrace/twtrace/internal/workload"
)

// otherBucket is longer than the timer wheel's granularity 60 s ahead, for every HZ: a
// timer that is started anew after it certainly moves.
const otherBucket = 5 * time.Second

// born is what the kernel counts where every connection has one mini-socket.
var born = kernel.Counters{TW: connections}

// reasonCases are one scenario for each reason.
func reasonCases() []reasonCase {
	var (
		active  = enter("active_close")
		passive = []fact{closed("passive_close")}
	)
	return append(parkedCases(),
		reasonCase{name: "reused by connect", run: runReusedByConnect, mibs: kernel.Counters{TW: connections, TWRecycled: connections},
			client: []fact{active, exit("reused")}, server: passive},
		reasonCase{name: "reused by a bound port", run: runReusedBound, mibs: kernel.Counters{TW: connections, TWRecycled: connections},
			client: []fact{active, exit("reused")}, server: passive},
		reasonCase{name: "SYN", run: runSyn, mibs: born,
			client: passive, server: []fact{active, exit("syn")}},
		// From 6.10 on a SYN that TIME_WAIT lets in is never answered with a cookie, and
		// so has a request socket, with a timer.
		reasonCase{name: "SYN with syncookies", mibs: born,
			run:    func(r *reasonRun) { r.sysctl("net.ipv4.tcp_syncookies", "2"); runSyn(r) },
			client: passive, server: []fact{active, byFentryOrTimer(exit("syn"))}},
		reasonCase{name: "SYN then dropped", run: runSynDropped, mibs: born,
			client: passive, server: []fact{active, byFentry(exit("syn"))}},
		reasonCase{name: "RST", run: runReset, mibs: born,
			client: []fact{active, exit("reset")}, server: passive},
		reasonCase{name: "RST ignored", exits: true, run: runResetIgnored, mibs: born,
			client: []fact{active, exit("netns_exit")}, server: passive},
		reasonCase{name: "destroyed", mibs: born,
			run:    func(r *reasonRun) { r.timeWait(); r.ss("-K", "state", "time-wait") },
			client: []fact{active, byFentry(exit("destroyed"))}, server: passive},
		reasonCase{name: "namespace ends", exits: true, mibs: born,
			run:    func(r *reasonRun) { r.timeWait(); r.endNamespace() },
			client: []fact{active, exit("netns_exit")}, server: passive},
		reasonCase{name: "late segment", exits: true, run: runLateSegment, mibs: born, rearms: 1,
			client: []fact{active, exit("netns_exit")}, server: passive},
		reasonCase{name: "reset by the application", run: func(r *reasonRun) { r.open(); r.clients((*workload.Socket).Abort) },
			client: []fact{closed("reset_sent")}, server: []fact{closed("reset_received")}},
		reasonCase{name: "closed under TCP_REPAIR", client: []fact{closed("")}, server: []fact{closed("")},
			run: func(r *reasonRun) {
				r.open()
				r.clients((*workload.Socket).Vanish)
				r.servers((*workload.Socket).Vanish)
			}},
		reasonCase{name: "closed with data unread", run: runUnread,
			client: []fact{closed("reset_sent")}, server: []fact{closed("reset_received")}},
		reasonCase{name: "timeout", run: runTimeout,
			client: []fact{closed("timeout")}, server: nil},
		reasonCase{name: "established destroyed", run: func(r *reasonRun) {
			r.open()
			r.ss("-K", "dport", fmt.Sprint(r.at.Port()))
		},
			client: []fact{closed("reset_sent")}, server: []fact{closed("reset_received")}},
	)
}

// parkedCases are those of a mini-socket in FIN_WAIT2.
func parkedCases() []reasonCase {
	return []reasonCase{
		{name: "parked, late FIN, destroyed", mibs: born, run: func(r *reasonRun) {
			r.park()
			r.servers((*workload.Socket).Close)
			r.gone()
			r.ss("-K", "state", "time-wait")
		},
			client: []fact{enter("late_fin"), byFentry(exit("destroyed"))}, server: []fact{closed("passive_close")}},
		{name: "parked, timeout", mibs: kernel.Counters{TWKilled: connections}, run: func(r *reasonRun) {
			r.sysctl("net.ipv4.tcp_fin_timeout", "1")
			r.park()
			r.minis(0)
		},
			client: []fact{closed("fin_wait2_timeout")}},
		{name: "parked, RST", mibs: born, run: func(r *reasonRun) { r.park(); r.servers((*workload.Socket).Abort) },
			client: []fact{closed("reset_received")}, server: []fact{closed("reset_sent")}},
		{name: "parked, data", mibs: born, run: func(r *reasonRun) { r.park(); r.servers((*workload.Socket).Write) },
			client: []fact{closed("reset_sent")}, server: []fact{closed("reset_received")}},
		{name: "parked, destroyed", mibs: born, run: func(r *reasonRun) {
			r.park()
			r.ss("-K", "state", "fin-wait-2")
		},
			client: []fact{byFentry(closed("destroyed"))}},
		{name: "parked, namespace ends", exits: true, mibs: born, run: func(r *reasonRun) {
			r.park()
			r.servers((*workload.Socket).Vanish)
			r.endNamespace()
		},
			client: []fact{closed("netns_exit")}, server: []fact{closed("")}},
	}
}

// open makes the connections.
func (r *reasonRun) open(from ...netip.AddrPort) {
	r.t.Helper()
	r.pairs = append(r.pairs, r.connect(connections, from...)...)
}

// connect makes n connections, from the given addresses if there are any.
func (r *reasonRun) connect(n int, from ...netip.AddrPort) []*workload.Pair {
	r.t.Helper()
	l, err := workload.Listen(cmp.Or(r.far, r.ns.Path()), r.at)
	must(r.t, err)
	defer func() { must(r.t, l.Close()) }()
	var out []*workload.Pair
	for i := range n {
		var at netip.AddrPort
		if len(from) > 0 {
			at = from[i]
		}
		var p *workload.Pair
		kerneltest.Eventually(r.t, patience, func() (bool, string) {
			// A port may be reused once its TIME_WAIT is a second old.
			p, err = l.Pair(r.ns.Path(), at)
			if !errors.Is(err, unix.EADDRNOTAVAIL) {
				must(r.t, err)
			}
			return err == nil, fmt.Sprint(err)
		})
		r.atEnd = append(r.atEnd, p.Close)
		out = append(out, p)
	}
	return out
}

func (r *reasonRun) clients(f func(*workload.Socket) error) {
	r.t.Helper()
	for _, p := range r.pairs {
		must(r.t, f(p.Client))
	}
}

func (r *reasonRun) servers(f func(*workload.Socket) error) {
	r.t.Helper()
	for _, p := range r.pairs {
		must(r.t, f(p.Server))
	}
}

// closeFirst closes first each of some sockets and then its peer, so that the first
// one has a TIME_WAIT that was never parked.
func (r *reasonRun) closeFirst(first, second func(*workload.Pair) *workload.Socket) {
	r.t.Helper()
	for _, p := range r.pairs {
		must(r.t, first(p).CloseWrite())
	}
	for _, p := range r.pairs {
		r.inState(first(p), event.FinWait2)
		must(r.t, second(p).ReadEOF())
	}
	for _, p := range r.pairs {
		must(r.t, second(p).Close())
	}
	for _, p := range r.pairs {
		must(r.t, first(p).ReadEOF())
		must(r.t, first(p).Close())
	}
	r.minis(connections)
	r.gone()
}

// gone waits until only mini-sockets are left.
func (r *reasonRun) gone() {
	r.t.Helper()
	kerneltest.Eventually(r.t, patience, func() (bool, string) {
		n := r.counters().InUse
		return n == 0, fmt.Sprintf("%d full sockets", n)
	})
}

func client(p *workload.Pair) *workload.Socket { return p.Client }
func server(p *workload.Pair) *workload.Socket { return p.Server }

// timeWait gives each client a TIME_WAIT.
func (r *reasonRun) timeWait() {
	r.t.Helper()
	r.open()
	r.closeFirst(client, server)
}

// park gives each client a mini-socket in FIN_WAIT2, and none to the servers.
func (r *reasonRun) park() {
	r.t.Helper()
	r.open()
	r.clients((*workload.Socket).CloseWrite)
	for _, p := range r.pairs {
		// Else, if the ACK comes in the middle of close(), FIN_WAIT2 stays a full socket.
		r.inState(p.Client, event.FinWait2)
	}
	r.clients((*workload.Socket).Close)
	r.births(connections)
}

// endNamespace ends the namespace: nothing may be open in it.
func (r *reasonRun) endNamespace() {
	r.t.Helper()
	r.last = r.counters()
	must(r.t, r.ns.Close())
}

// from is an address to connect from.
func (r *reasonRun) from(port int) netip.AddrPort {
	return netip.AddrPortFrom(r.at.Addr(), uint16(port))
}

func runReusedByConnect(r *reasonRun) {
	// 24 ports, since of an odd number the kernel leaves one out.
	r.sysctl("net.ipv4.ip_local_port_range", "40000 40023")
	r.sysctl("net.ipv4.ip_local_reserved_ports", "40023")
	r.sysctl("net.ipv4.tcp_tw_reuse", "1")
	r.timeWait()
	r.connect(connections)
}

func runReusedBound(r *reasonRun) {
	r.sysctl("net.ipv4.tcp_tw_reuse", "0")
	var from []netip.AddrPort
	for i := range connections {
		from = append(from, r.from(41000+i))
	}
	r.open(from...)
	r.closeFirst(client, server)
	r.connect(connections, from...)
}

// runSyn has the servers close first, and the clients come back from the same ports.
func runSyn(r *reasonRun) {
	r.open()
	r.closeFirst(server, client)
	var from []netip.AddrPort
	for _, p := range r.pairs {
		from = append(from, p.Client.Local)
	}
	r.connect(connections, from...)
}

// runSynDropped is runSyn with a listener that has no room: the SYN ends TIME_WAIT, and
// nothing begins.
func runSynDropped(r *reasonRun) {
	r.open()
	r.closeFirst(server, client)
	l, err := workload.Listen(r.ns.Path(), r.at)
	must(r.t, err)
	r.atEnd = append(r.atEnd, l.Close)
	must(r.t, l.Room(0))
	knock := func(from netip.AddrPort) *workload.Socket {
		s, err := l.Knock(r.ns.Path(), from)
		must(r.t, err)
		r.atEnd = append(r.atEnd, s.Close)
		return s
	}
	r.inState(knock(workload.Any), event.Established)
	for _, p := range r.pairs {
		knock(p.Client.Local)
	}
	r.minis(0)
}

// afterFIN returns segments to the clients whose sequence numbers are those that
// follow on the servers' FINs, which are still to come.
func (r *reasonRun) afterFIN(flags uint8) []workload.Segment {
	r.t.Helper()
	var out []workload.Segment
	for _, p := range r.pairs {
		seq, err := p.Server.Next()
		must(r.t, err)
		ack, err := p.Client.Next()
		must(r.t, err)
		out = append(out, workload.Segment{From: p.Server.Local, To: p.Client.Local,
			Seq: seq + 1, Ack: ack + 1, Flags: flags})
	}
	return out
}

func runReset(r *reasonRun) {
	r.open()
	resets := r.afterFIN(workload.RST)
	r.closeFirst(client, server)
	must(r.t, workload.Send(r.ns.Path(), resets...))
	r.minis(0)
}

func runResetIgnored(r *reasonRun) {
	r.sysctl("net.ipv4.tcp_rfc1337", "1")
	r.open()
	resets := r.afterFIN(workload.RST)
	r.closeFirst(client, server)
	r.receive(resets)
	r.minis(connections)
	r.endNamespace()
}

// receive sends segments and returns when they were received.
func (r *reasonRun) receive(segments []workload.Segment) {
	r.t.Helper()
	before := r.inSegs()
	must(r.t, workload.Send(r.ns.Path(), segments...))
	kerneltest.Eventually(r.t, patience, func() (bool, string) {
		n := r.inSegs() - before
		return n >= uint64(len(segments)), fmt.Sprintf("%d of %d segments received", n, len(segments))
	})
}

// runLateSegment sends the servers' FINs once more, long after: TIME_WAIT begins anew.
func runLateSegment(r *reasonRun) {
	// The peers' sockets are gone, and answer the answer with RST.
	r.sysctl("net.ipv4.tcp_rfc1337", "1")
	r.open()
	fins := r.afterFIN(workload.FIN | workload.ACK)
	for i := range fins {
		fins[i].Seq--
	}
	r.closeFirst(client, server)
	<-time.After(otherBucket)
	r.receive(fins)
	r.endNamespace()
}

func runUnread(r *reasonRun) {
	r.open()
	r.servers((*workload.Socket).Write)
	r.clients((*workload.Socket).Readable)
	r.clients((*workload.Socket).Close)
}

// runTimeout has the clients write into a wire that delivers nothing.
func runTimeout(r *reasonRun) {
	if kerneltest.PID1Artefact() {
		// All of them end in one softirq, which such a kernel hides as a whole if it
		// comes while a thread of PID 1 is current; no counter tells. A VM tests it.
		r.t.Skip("this kernel may hide the timer's softirq")
	}
	far := kerneltest.NetNS(r.t)
	wire, err := workload.NewWire(r.ns.Path(), far.Path())
	must(r.t, err)
	r.t.Cleanup(func() { must(r.t, wire.Close()) })
	r.far = far.Path()
	if r.at = workload.WireIPv4; strings.HasSuffix(r.name, "IPv6") {
		r.at = workload.WireIPv6
	}
	r.open()
	r.clients(func(s *workload.Socket) error { return s.GiveUpAfter(500 * time.Millisecond) })
	wire.Hold()
	r.clients((*workload.Socket).Write)
	for _, p := range r.pairs {
		reason, err := p.Client.Failed()
		must(r.t, err)
		if reason != unix.ETIMEDOUT {
			r.t.Errorf("the connection ended with %v", reason)
		}
	}
}
