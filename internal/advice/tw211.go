package advice

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/twtrace/twtrace/internal/event"
	"github.com/twtrace/twtrace/internal/output"
)

var tw211 = rule{id: "TW211", title: "accept queue overflows", find: listenQueue}

// ampleBacklog is the default of net.core.somaxconn since 5.4.
const ampleBacklog = 4096

// listenQueue is TW211.
func listenQueue(f Facts) []Finding {
	before := make(map[uint64]*Queue)
	for i := range f.HostBefore.Queues {
		before[f.HostBefore.Queues[i].Cookie] = &f.HostBefore.Queues[i]
	}
	total := f.listenDrops()
	var dropping []Queue
	for _, q := range f.HostAfter.Queues {
		was, now := before[q.Cookie], uint32(0)
		q.Peak = max(q.Peak, q.Waiting)
		if was != nil {
			now = q.Drops - min(was.Drops, q.Drops)
			q.Peak = max(q.Peak, was.Waiting)
		} else {
			now = q.Drops
		}
		// A listener also counts dropped segments that no queue dropped, such as a RST that
		// ends a handshake; ListenDrops has those of the queues alone.
		q.dropped = uint32(min(uint64(now), total.all))
		if f.Window == 0 {
			q.dropped = 0
		}
		q.Drops = uint32(min(uint64(q.Drops), f.After.ListenDrops))
		if q.Drops > 0 || q.full() {
			dropping = append(dropping, q)
		}
	}
	total.listeners = len(slices.DeleteFunc(slices.Clone(dropping), func(q Queue) bool { return q.dropped == 0 }))
	var found []Finding
	for i := range dropping[:min(len(dropping), maxFindings)] {
		found = append(found, dropping[i].finding(f, total))
	}
	if len(found) == 0 && total.overflows > 0 {
		found = append(found, overflowed(f, total.overflows))
	}
	slices.SortStableFunc(found, func(a, b Finding) int { return int(b.Severity) - int(a.Severity) })
	return found
}

// listenDrops is what the listeners of a namespace dropped in the Window, by cause. Each drop
// of a full accept queue is counted in ListenOverflows too, and each SYN beyond the SYN queue
// in TCPReqQFullDrop (tcp_conn_request, tcp_v4_syn_recv_sock). A SYN that there is no route to
// answer counts in IpOutNoRoutes, but so do packets that have nothing to do with a listener.
type listenDrops struct {
	all, overflows, unfinished, noRoute uint64
	pressure                            uint64 // times that TCP came under memory pressure
	listeners                           int    // that dropped any
}

func (f *Facts) listenDrops() listenDrops {
	d := listenDrops{all: grown(f.After.ListenDrops, f.Before.ListenDrops), pressure: grown(f.After.MemoryPressures, f.Before.MemoryPressures)}
	rest := d.all
	part := func(n uint64) uint64 {
		n = min(n, rest)
		rest -= n
		return n
	}
	d.overflows = grown(f.After.ListenOverflows, f.Before.ListenOverflows)
	part(d.overflows)
	d.unfinished = part(grown(f.After.ReqQFullDrop, f.Before.ReqQFullDrop))
	d.noRoute = part(grown(f.After.OutNoRoutes, f.Before.OutNoRoutes))
	return d
}

// full is sk_acceptq_is_full: one more than the backlog fits.
func (q *Queue) full() bool { return q.Waiting > q.Backlog }

// wasFull reports whether a read of the Window showed it full.
func (q *Queue) wasFull() bool { return q.Peak > q.Backlog }

// finding is about a listener that dropped, or is about to.
func (q *Queue) finding(f Facts, total listenDrops) Finding {
	x := Finding{Scope: Scope{Laddr: q.Local.Addr().String(), Lport: q.Local.Port()}, Who: f.whoListens()}
	x.Evidence = append([]Evidence{
		{Name: "waiting", Value: float64(q.Waiting), Limit: float64(q.Backlog) + 1, Unit: "connections", Source: "sock_diag"},
		{Name: "most_waiting", Value: float64(q.Peak), Limit: float64(q.Backlog) + 1, Unit: "connections", Source: "sock_diag"},
		{Name: "dropped", Value: float64(q.Drops), Unit: "SYNs", Source: "sock_diag"},
		{Name: "dropped_in_window", Value: float64(q.dropped), Unit: "SYNs", Source: "sock_diag"},
	}, f.queueEvidence()...)
	if q.Owner.Known() {
		x.by(f.listens(&Listener{Owner: q.Owner, PIDs: 1}))
	}
	for i := range f.Listeners {
		if l := &f.Listeners[i]; l.Local == q.Local && l.Owner.Known() {
			x.Contributors, x.Scope.Comm = nil, ""
			x.by(f.listens(l))
		}
	}
	switch {
	case q.dropped > 0:
		x.Severity = event.Warn
		x.When = fmt.Sprintf("now: %s dropped in the last %s", output.Count(uint64(q.dropped)), output.Seconds(f.Window))
		x.What = fmt.Sprintf("the listener on %s dropped %s in the last %s; accept queue: %s", q.Local, plural(uint64(q.dropped), "handshake"),
			output.Seconds(f.Window), q.length())
	case q.full():
		x.Severity = event.Warn
		x.When = "now: the queue is full, and the kernel drops the next SYN"
		x.What = fmt.Sprintf("the accept queue of the listener on %s is full: %s", q.Local, q.length())
	default:
		x.Severity = event.Info
		x.When = "not now"
		x.What = fmt.Sprintf("the listener on %s has dropped %s since it started; accept queue: %s", q.Local, plural(uint64(q.Drops), "handshake"), q.length())
		q.droppedBefore(&x)
		return x
	}
	q.cause(&x, &f, total)
	return x
}

// length is how many wait in the queue, of how many.
func (q *Queue) length() string {
	at := output.Count(uint64(q.Backlog) + 1)
	if q.Peak > q.Waiting {
		return fmt.Sprintf("up to %s waited, limit %s", output.Count(uint64(q.Peak)), at)
	}
	if q.Waiting == 0 {
		return "none waiting now, limit " + at
	}
	return fmt.Sprintf("%s waiting, limit %s", output.Count(uint64(q.Waiting)), at)
}

// droppedBefore is about drops that nobody watched.
func (q *Queue) droppedBefore(x *Finding) {
	x.Title = "a listener has dropped SYNs"
	x.Short = "the listener on " + q.Local.String() + " has dropped SYNs before"
	x.Why = "the cause is not known, since nobody watched: a full accept queue, no route back to the client, no memory, a filter, " +
		"or too many unfinished handshakes"
	x.Fix = []Remedy{{Text: "see which counter grows with TcpExtListenDrops when it happens again: `nstat -az TcpExtListenOverflows TcpExtListenDrops " +
		"TcpExtTCPReqQFullDrop IpOutNoRoutes`, or run twtrace then"}}
}

// cause sets why a listener drops, by which counters grew with its drops. Where several
// listeners dropped, the counters are of all of them: then only one that was seen full is
// blamed.
func (q *Queue) cause(x *Finding, f *Facts, total listenDrops) {
	at := q.Local.String()
	if q.dropped > 0 {
		x.Evidence = append(x.Evidence,
			Evidence{Name: "syn_queue_drops", Value: float64(total.unfinished), Unit: "SYNs", Source: "TcpExtTCPReqQFullDrop"},
			Evidence{Name: "no_route", Value: float64(total.noRoute), Unit: "packets", Source: "IpOutNoRoutes"},
			Evidence{Name: "memory_pressure", Value: float64(total.pressure), Unit: "times", Source: "TcpExtTCPMemoryPressures"})
	}
	alone := total.listeners <= 1
	switch {
	case q.wasFull(), alone && total.overflows > 0:
		q.overflows(x, f)
		if alone && uint64(q.dropped) > total.overflows && total.overflows > 0 {
			x.Why += fmt.Sprintf("; %s of the %s had another cause", output.Count(uint64(q.dropped)-total.overflows), output.Count(uint64(q.dropped)))
		}
	case total.overflows > 0:
		x.Title = "a listener drops SYNs"
		x.Short = "the listener on " + at + " drops SYNs"
		x.Why = fmt.Sprintf("which of the %d listeners that dropped had a full accept queue is not known: the queues of this namespace overflowed %s, "+
			"and this one was not full when it was read", total.listeners, times(total.overflows))
		x.Now = []Remedy{{Text: "watch its Recv-Q and Send-Q while it drops", Shell: Shell{Run: f.Enter + "ss -tln sport = :" + fmt.Sprint(q.Local.Port())}}}
	default:
		q.droppedOtherwise(x, f, total)
	}
}

// overflows is about a queue that is full, or was when it dropped.
func (q *Queue) overflows(x *Finding, f *Facts) {
	x.Short = "the accept queue of " + q.Local.String() + " overflows"
	if q.dropped == 0 {
		x.Title = "an accept queue is full"
		x.Short = "the accept queue of " + q.Local.String() + " is full"
	}
	if q.Stopped {
		x.Title = "a stopped process does not accept connections"
		x.Short = "the process that listens on " + q.Local.String() + " is stopped, and its accept queue is full"
		x.Why = "a signal (SIGSTOP, SIGTSTP) or a debugger stopped the process, so it accepts nothing, and the kernel drops SYNs once the queue is full"
		x.Now = []Remedy{{Text: "let it go on: `kill -CONT`, or detach the debugger"}}
		x.Fix = []Remedy{{Text: "find out who stopped it; a longer queue does not help"}}
		return
	}
	x.Why = "when the accept queue is full the kernel drops SYNs, and each client tries again after a second, then less and less often: " +
		"the server accepts too slowly, or its backlog is too small for bursts"
	x.Now = []Remedy{f.longerQueue(q.Backlog)}
	x.Fix = []Remedy{{Text: "accept faster: more workers, and no blocking work in the thread that accepts; " +
		"a longer queue only helps against bursts"}}
}

// droppedOtherwise makes x say that the accept queue is not what dropped, and what did, as far
// as counters show it.
func (q *Queue) droppedOtherwise(x *Finding, f *Facts, total listenDrops) {
	at := q.Local.String()
	x.Title = "a listener drops SYNs, but its accept queue is not full"
	x.Short = "the listener on " + at + " drops SYNs, but its accept queue is not full"
	switch {
	case total.unfinished > 0:
		x.Short = "the listener on " + at + " drops SYNs: too many handshakes are unfinished"
		x.Why = "more handshakes are unfinished than the listener's backlog or tcp_max_syn_backlog allows, and SYN cookies are off " +
			"(TcpExtTCPReqQFullDrop grew): a flood of SYNs, or clients that do not answer the SYN-ACK"
		x.Now = []Remedy{{
			Text:     "turn SYN cookies on, as they are by default",
			Settings: f.set(ipv4("tcp_syncookies", 1, f.HostAfter.Settings.SYNCookies)),
			Risk:     "connections accepted by a cookie may lack TCP options, such as window scaling",
		}}
		x.Fix = []Remedy{{Text: "find where the SYNs come from: " + f.show("ss -tan state syn-recv")}}
	case total.noRoute > 0:
		x.Short = "the listener on " + at + " drops SYNs, and packets have no route"
		x.Why = fmt.Sprintf("TcpExtListenOverflows did not grow, so no accept queue was full; %s had no route to their destination meanwhile (IpOutNoRoutes), "+
			"as the answer to a SYN has not where there is no route back to the client", plural(total.noRoute, "packet"))
		x.Now = []Remedy{{Text: "check the route to the clients", Shell: Shell{Run: f.Enter + "ip route get CLIENT"}}}
		x.Fix = []Remedy{{Text: "add the route back to the clients; a larger backlog does not help"}}
	case total.pressure > 0:
		x.Short = "the listener on " + at + " drops SYNs, and TCP is short of memory"
		x.Why = "TcpExtListenOverflows did not grow, so no accept queue was full; TCP came under memory pressure meanwhile (TcpExtTCPMemoryPressures)"
		x.Now = []Remedy{{Text: "see what uses it: " + f.show("ss -tm") + ", and mem in /proc/net/sockstat against net.ipv4.tcp_mem"}}
		x.Fix = []Remedy{{Text: "smaller buffers or fewer connections, or more memory for TCP; a larger backlog does not help"}}
	default:
		x.Why = "the cause is not known: TcpExtListenOverflows, TcpExtTCPReqQFullDrop and IpOutNoRoutes did not grow, so no accept queue was full " +
			"and no route was missing. No memory, and a filter or security module that refuses connections, are counted nowhere else"
		if f.HostAfter.Settings.SYNCookies == 0 {
			x.Why += "; nor are SYNs of unknown clients once three quarters of tcp_max_syn_backlog are in use, with tcp_syncookies off"
		}
		x.Now = []Remedy{{Text: "have the kernel say why it drops them (5.17 and later), while it happens", Shell: Shell{Run: f.Enter + "perf trace -e skb:kfree_skb --max-events 20"}}}
		x.Fix = []Remedy{{Text: "check memory, filters and security modules; a larger backlog does not help"}}
	}
}

// longerQueue raises whatever limits the backlog of a listener.
func (f *Facts) longerQueue(backlog uint32) Remedy {
	limit := f.HostAfter.Settings.Somaxconn
	if int(backlog) < limit {
		return Remedy{Text: fmt.Sprintf("raise the server's own backlog: its listen() asked for %s, and net.core.somaxconn allows %s "+
			"(nginx: listen ... backlog=, Apache: ListenBacklog, Redis: tcp-backlog)", output.Count(uint64(backlog)), output.Count(uint64(limit)))}
	}
	return Remedy{
		Text: "allow longer queues, then restart or reload the server: it takes effect at the next listen(), " +
			"and the server must ask for as much",
		Settings: f.set(setting("net.core.somaxconn", max(ampleBacklog, 4*limit), limit)),
		Risk:     "clients wait longer if the server is simply too slow",
	}
}

// overflowed is the finding where no listener is known to have dropped: it is gone.
func overflowed(f Facts, overflows uint64) Finding {
	x := Finding{
		Severity: event.Warn,
		What:     "accept queues overflowed " + times(overflows),
		Who:      "not known: no listener that is there now has dropped anything",
		When:     "now: in the last " + output.Seconds(f.Window),
		Why:      "a queue of connections that wait for accept() was full; clients try again after a second",
		Now:      []Remedy{{Text: "see which listener it is while it happens: " + f.show("ss -tlnpm") + ", Recv-Q, and d in skmem"}},
		Fix:      []Remedy{{Text: "a larger backlog, and a server that accepts faster"}},
		Evidence: f.queueEvidence(),
	}
	var gone []netip.AddrPort
	for _, q := range f.HostBefore.Queues {
		if !slices.ContainsFunc(f.HostAfter.Queues, func(o Queue) bool { return o.Cookie == q.Cookie }) {
			gone = append(gone, q.Local)
		}
	}
	if len(gone) > 0 {
		x.Title = "an accept queue overflowed, and its listener is gone"
		x.Who = "not known: the listener is gone"
		x.What += "; the listener on " + gone[0].String() + " went away meanwhile"
		x.Why = "a queue was full before its service was stopped or restarted: a service that is about to stop does not accept"
		x.Now = []Remedy{{Text: "see whether the service has come back: " + f.show("ss -tln")}}
		x.Fix = []Remedy{{Text: "if it overflows while it runs, this finding names it then"}}
		x.Severity = event.Info
	}
	return x
}

func (f *Facts) queueEvidence() []Evidence {
	return []Evidence{
		{Name: "listen_overflows", Value: float64(grown(f.After.ListenOverflows, f.Before.ListenOverflows)), Unit: "connections", Source: "TcpExtListenOverflows"},
		{Name: "listen_drops", Value: float64(grown(f.After.ListenDrops, f.Before.ListenDrops)), Unit: "SYNs", Source: "TcpExtListenDrops"},
		{Name: "syn_cookies", Value: float64(grown(f.After.SyncookiesSent, f.Before.SyncookiesSent)), Unit: "SYNs", Source: "TcpExtSyncookiesSent"},
		{Name: "somaxconn", Value: float64(f.HostAfter.Settings.Somaxconn), Source: "net.core.somaxconn"},
	}
}
