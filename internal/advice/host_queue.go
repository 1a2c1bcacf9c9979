package advice

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/twtrace/twtrace/internal/event"
	"github.com/twtrace/twtrace/internal/output"
)

// ampleBacklog is the default of net.core.somaxconn since 5.4.
const ampleBacklog = 4096

// listenQueue is TW211.
func listenQueue(f Facts) []Finding {
	dropped := make(map[uint64]uint32)
	for _, q := range f.Earlier.Queues {
		dropped[q.Cookie] = q.Drops
	}
	var found []Finding
	// What a listener drops are also segments that no queue had to do with, such as a RST
	// that ends a handshake; ListenDrops has those of the queues alone.
	most := grown(f.After.ListenDrops, f.Before.ListenDrops)
	for _, q := range f.Around.Queues {
		now := uint32(min(uint64(q.Drops-min(dropped[q.Cookie], q.Drops)), most))
		if f.Window == 0 {
			now = 0
		}
		q.Drops = uint32(min(uint64(q.Drops), f.After.ListenDrops))
		if (q.Drops > 0 || q.full()) && len(found) < mostFindings {
			found = append(found, q.finding(f, now))
		}
	}
	if overflows := grown(f.After.ListenOverflows, f.Before.ListenOverflows); len(found) == 0 && overflows > 0 {
		found = append(found, overflowed(f, overflows))
	}
	slices.SortStableFunc(found, func(a, b Finding) int { return int(b.Severity) - int(a.Severity) })
	return found
}

// full is sk_acceptq_is_full: one more than the backlog fits.
func (q *Queue) full() bool { return q.Waiting > q.Backlog }

// finding is what there is to say of a listener that dropped, now of them in the Window.
func (q *Queue) finding(f Facts, now uint32) Finding {
	x := Finding{
		Severity: Info,
		What: fmt.Sprintf("the listener on %s has dropped %s SYNs or connections since it began; %s wait for accept(), and %s fit",
			q.Local, output.Count(uint64(q.Drops)), output.Count(uint64(q.Waiting)), output.Count(uint64(q.Backlog)+1)),
		Who:  "not known; `ss -tlnp` shows who listens there",
		When: "not now",
		Why: "what is beyond the queue is dropped, and the client tries again after a second, and then less and less often: " +
			"the server accepts too slowly, or its backlog is too small for the bursts",
		Scope:    Scope{Laddr: q.Local.Addr().String(), Lport: q.Local.Port()},
		Evidence: f.queueEvidence(),
	}
	x.Evidence = append([]Evidence{
		{Name: "waiting", Value: float64(q.Waiting), Limit: float64(q.Backlog) + 1, Unit: "connections", Source: "sock_diag"},
		{Name: "dropped", Value: float64(q.Drops), Unit: "SYNs", Source: "sock_diag"},
		{Name: "dropped_in_window", Value: float64(now), Unit: "SYNs", Source: "sock_diag"},
	}, x.Evidence...)
	if p := f.listenerOwner(q.Local); p.Known() {
		x.Who, x.Scope.Comm, x.Scope.PID = fmt.Sprintf("%s[%d]", p.Comm, p.PID), p.Comm, p.PID
	}
	switch {
	case now > 0:
		x.Severity = Warn
		x.When = fmt.Sprintf("now: %s dropped in %s", output.Count(uint64(now)), seconds(f.Window))
	case q.full():
		x.Severity = Warn
		x.When = "now: the queue is full, and the next SYN is dropped"
	}
	x.Short = "the listen queue of " + q.Local.String() + " overflows"
	if x.Severity > Info {
		x.Now = []Remedy{f.longerQueue(q.Backlog)}
	}
	x.Fix = []Remedy{{Text: "accept faster: more workers, and no blocking work in the thread that accepts; " +
		"a longer queue helps against bursts only"}}
	return x
}

// longerQueue raises whatever bounds the backlog of a listener.
func (f *Facts) longerQueue(backlog uint32) Remedy {
	most := f.Around.Settings.Somaxconn
	if int(backlog) < most {
		return Remedy{Text: fmt.Sprintf("ask for more in the server: its listen() asked for %s, and net.core.somaxconn allows %s "+
			"(nginx: listen ... backlog=, Apache: ListenBacklog, Redis: tcp-backlog)", output.Count(uint64(backlog)), output.Count(uint64(most)))}
	}
	return Remedy{
		Text: "allow longer queues, and restart or reload the server: it takes effect at the next listen(); " +
			"the server must ask for as much",
		Command: f.set("net.core.somaxconn", max(ampleBacklog, 4*most)),
		Undo:    f.set("net.core.somaxconn", most),
		Risk:    "clients wait longer where the server is too slow altogether",
	}
}

// overflowed is the finding where no listener is known that did it: it may be gone.
func overflowed(f Facts, overflows uint64) Finding {
	return Finding{
		Severity: Warn,
		What:     fmt.Sprintf("listen queues overflowed %s times", output.Count(overflows)),
		Who:      "not known: no listener that is there now has dropped any",
		When:     "now: in " + seconds(f.Window),
		Why:      "a queue of connections that wait for accept() was full; clients try again after a second",
		Now:      []Remedy{{Text: "see which listener it is while it goes on: `ss -tlnpm`, Recv-Q, and d in skmem"}},
		Fix:      []Remedy{{Text: "a larger backlog, and a server that accepts faster"}},
		Evidence: f.queueEvidence(),
	}
}

func (f *Facts) queueEvidence() []Evidence {
	return []Evidence{
		{Name: "listen_overflows", Value: float64(grown(f.After.ListenOverflows, f.Before.ListenOverflows)), Unit: "connections", Source: "TcpExtListenOverflows"},
		{Name: "listen_drops", Value: float64(grown(f.After.ListenDrops, f.Before.ListenDrops)), Unit: "SYNs", Source: "TcpExtListenDrops"},
		{Name: "syn_cookies", Value: float64(grown(f.After.SyncookiesSent, f.Before.SyncookiesSent)), Unit: "SYNs", Source: "TcpExtSyncookiesSent"},
		{Name: "somaxconn", Value: float64(f.Around.Settings.Somaxconn), Source: "net.core.somaxconn"},
	}
}

// listenerOwner is who listens at an address, if a trace knows.
func (f *Facts) listenerOwner(at netip.AddrPort) event.Proc {
	for _, l := range f.Listeners {
		if l.Local == at {
			return l.Owner
		}
	}
	return event.Proc{}
}

// set is the command that sets one sysctl in the namespace of f.
func (f *Facts) set(name string, value any) string {
	return fmt.Sprintf("%ssysctl -w %s=%v", f.Enter, name, value)
}
