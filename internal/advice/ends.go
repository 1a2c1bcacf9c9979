package advice

import (
	"fmt"
	"net/netip"
	"slices"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/twtrace/twtrace/internal/event"
	"github.com/twtrace/twtrace/internal/output"
)

const (
	resetRate   = 10  // connections per second that end by reset
	resetShare  = 0.5 // of all that ended
	standsGrown = 10  // connections more that stand
	standsMany  = 100 // worth a word without growth
	failsMany   = 10  // connects that failed
	failsMost   = 0.5 // of all, from which on it is a warning
	failsFew    = 0.01
)

// resets is TW206. Where both ends are here, the sender is told.
func resets(f Facts) []Finding {
	var sent uint64
	for _, o := range f.Traffic.Owners {
		sent += o.ResetSent
	}
	var found []Finding
	for _, o := range f.Traffic.Owners {
		n := o.ResetSent + o.ResetReceived
		bySelf := o.ResetSent >= o.ResetReceived
		if f.perSecond(n) < resetRate || float64(n) < resetShare*float64(o.Ends) || o.Short < shortShare ||
			!bySelf && sent >= o.ResetReceived || len(found) == mostFindings {
			continue
		}
		who := many(o.Process, o.PIDs, o.About)
		sender, fix := "it sent the resets itself", "close connections in order: read to the end, shut down, close; a socket that is closed with data unread, "+
			"or with a linger time of 0, sends a reset"
		if !bySelf {
			sender, fix = "the peer sent the resets", "look at the peer: it closes with data unread, or gives up"
		}
		x := Finding{
			Severity: Warn,
			What: fmt.Sprintf("%s of %s connections of %s that ended in %s were reset (%s)", output.Count(n), output.Count(o.Ends), who,
				seconds(f.watched()), output.Percent(n, o.Ends)),
			Short: output.Rate(f.perSecond(n)) + " connections are reset",
			Who:   who + ": " + sender,
			When:  "now: " + output.Rate(f.perSecond(n)),
			Why: "a reset throws away what was not read yet, on both sides, and leaves no TIME_WAIT: that there are few of these is no good sign. " +
				"The churn still costs: " + f.flowInWords(&o.Flow),
			Now:   []Remedy{{Text: "check that nothing is lost: a reset may have destroyed an answer on its way"}},
			Fix:   []Remedy{{Text: fix}},
			Scope: Scope{}.ofMany(o.Process, o.PIDs),
			Evidence: append(f.flowEvidence(&o.Flow),
				Evidence{Name: "reset_sent", Value: float64(o.ResetSent), Limit: float64(o.Ends), Unit: "connections", Source: "trace"},
				Evidence{Name: "reset_received", Value: float64(o.ResetReceived), Limit: float64(o.Ends), Unit: "connections", Source: "trace"}),
		}
		x.Scope = x.Scope.at(o.Local, o.Remote)
		found = append(found, x)
	}
	return found
}

// notTimeWait is TW207.
func notTimeWait(f Facts) []Finding {
	var found []Finding
	for _, s := range f.Traffic.Standing {
		if s.Grown < standsGrown && s.N < standsMany || len(found) == mostFindings {
			continue
		}
		where := "to " + s.Remote.String()
		if !s.Remote.IsValid() {
			where = "on " + s.Local.String()
		}
		x := Finding{
			Severity: Info,
			What:     fmt.Sprintf("%s %s stay in %s, of %s", plural(uint64(s.N), "connection"), where, s.State, named(s.Process)),
			Short:    fmt.Sprintf("%s connections of %s stay in %s", output.Count(uint64(s.N)), s.Process.Comm, s.State),
			Who:      named(s.Process),
			When:     "they do not grow",
			Scope:    Scope{}.of(s.Process).at(s.Local, s.Remote),
			Evidence: []Evidence{
				{Name: s.State.String(), Value: float64(s.N), Unit: "sockets", Source: "sock_diag"},
				{Name: "grown", Value: float64(s.Grown), Unit: "sockets", Source: "sock_diag"},
			},
		}
		if s.Grown >= standsGrown {
			x.Severity = Warn
			x.When = fmt.Sprintf("they grow: %s more in %s", output.Count(uint64(s.Grown)), seconds(f.watched()))
		}
		if s.State == event.CloseWait {
			x.Why = "the peer has closed, and this process has not: it leaks sockets, and each takes a descriptor. This is not TIME_WAIT"
			x.Now = []Remedy{{Text: "restarting the process closes them; it gains time only"}}
			x.Fix = []Remedy{{Text: "find what does not close: connections that returned an error or an end of file, and are kept"}}
		} else {
			x.Why = "this side has closed, and the peer has not: it does not close its connections. This is not TIME_WAIT"
			x.Now = []Remedy{{Text: "look at the peer: there the same connections are in CLOSE_WAIT"}}
			x.Fix = []Remedy{{Text: "the peer must close connections that this side has closed; those that no process holds any more here end by themselves"}}
		}
		found = append(found, x)
	}
	return found
}

// at narrows a scope to the two ends, as far as there are any.
func (s Scope) at(local, remote netip.AddrPort) Scope {
	if local.IsValid() {
		s.Laddr, s.Lport = local.Addr().String(), local.Port()
	}
	if remote.IsValid() {
		s.Raddr, s.Rport = remote.Addr().String(), remote.Port()
	}
	return s
}

// failures are the failed connects of one owner to one port, for one reason.
type failures struct {
	Fail
	remotes int
}

// connectsFail is TW210.
func connectsFail(f Facts) []Finding {
	var found []Finding
	nat := natBeyond(f)
	for _, v := range f.failedConnects() {
		if slices.ContainsFunc(nat, func(x Finding) bool {
			return x.Scope.Raddr == v.Remote.Addr().String() && x.Scope.Rport == v.Remote.Port() && v.Errno == etimedout
		}) {
			continue // TW305 says more
		}
		all := v.N + v.Opens
		share := float64(v.N) / float64(all)
		if v.N < failsMany || share < failsFew || len(found) == mostFindings {
			continue
		}
		where := v.Remote.String()
		if v.remotes > 1 {
			where = fmt.Sprintf("port %d of %d addresses", v.Remote.Port(), v.remotes)
		}
		x := Finding{
			Severity: Info,
			What: fmt.Sprintf("%s of %s connects of %s to %s failed with %s (%s)", output.Count(v.N), output.Count(all), v.Process.Comm, where,
				errnoName(v.Errno), output.Percent(v.N, all)),
			Short: fmt.Sprintf("%s of the connects to %s fail with %s", output.Percent(v.N, all), where, errnoName(v.Errno)),
			Who:   named(v.Process),
			When:  "now: " + output.Rate(f.perSecond(v.N)),
			Why:   "it is the destination, or the way to it, and not the port range here: " + whyFailed(v.Errno),
			Now:   []Remedy{{Text: "look at the destination: " + lookFor(v.Errno)}},
			Scope: Scope{}.of(v.Process).at(netip.AddrPort{}, v.Remote),
			Evidence: []Evidence{
				{Name: "failed", Value: float64(v.N), Limit: float64(all), Unit: "calls", Source: "trace"},
				{Name: "errno", Value: float64(v.Errno), Source: "trace"},
			},
		}
		if v.remotes > 1 {
			x.Scope.Raddr = ""
		}
		if share > failsMost {
			x.Severity = Warn
		}
		found = append(found, x)
	}
	return found
}

// failedConnects adds up the addresses of a service.
func (f *Facts) failedConnects() []failures {
	var out []failures
	for _, v := range f.Traffic.Fails {
		if v.Call != event.Connect || notDestination(v.Errno) {
			continue
		}
		i := 0
		for ; i < len(out); i++ {
			if o := &out[i]; o.Process.Comm == v.Process.Comm && o.Errno == v.Errno && o.Remote.Port() == v.Remote.Port() {
				o.N += v.N
				o.remotes++
				break
			}
		}
		if i == len(out) {
			out = append(out, failures{v, 1})
		}
	}
	return out
}

// notDestination tells whether a connect() failed for want of something here: that is
// for other rules.
func notDestination(errno uint16) bool {
	switch syscall.Errno(errno) {
	case unix.EADDRNOTAVAIL, unix.EADDRINUSE, unix.ENFILE, unix.EMFILE:
		return true
	}
	return false
}

// whyFailed is what an errno of connect() means.
func whyFailed(errno uint16) string {
	switch syscall.Errno(errno) {
	case unix.ECONNREFUSED:
		return "it answered with a reset, so nobody listens there, or its listen queue is full and tcp_abort_on_overflow is set"
	case unix.ETIMEDOUT:
		return "it did not answer at all"
	case unix.EHOSTUNREACH, unix.ENETUNREACH:
		return "there is no way to it"
	case unix.ECONNRESET:
		return "it reset the connection while it was being made"
	}
	return "the call says why"
}

// lookFor is what to look at there.
func lookFor(errno uint16) string {
	switch syscall.Errno(errno) {
	case unix.ECONNREFUSED:
		return "does the server run, and does it listen on this address and port?"
	case unix.ETIMEDOUT:
		return "a firewall, a full listen queue, or a NAT without free ports drops the SYN"
	case unix.EHOSTUNREACH, unix.ENETUNREACH:
		return "routes, neighbours and firewalls on the way"
	}
	return "its log, and what lies between"
}

// namespacesGone is TW304.
func namespacesGone(f Facts) []Finding {
	t := &f.Traffic
	if t.NetnsExits == 0 {
		return nil
	}
	return []Finding{{
		Severity: Info,
		What: fmt.Sprintf("%s ended at once with %s that went away", plural(t.NetnsExits, "TIME_WAIT socket"),
			plural(uint64(t.NetnsGone), "network namespace")),
		Who:      "whatever starts and ends containers here",
		When:     "in the last " + seconds(f.watched()),
		Why:      "a network namespace takes its sockets with it; this is normal, and no TIME_WAIT was cut short for any other reason",
		Evidence: []Evidence{{Name: "netns_exit", Value: float64(t.NetnsExits), Unit: "sockets", Source: "trace"}},
	}}
}
