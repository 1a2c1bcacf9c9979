package advice

import (
	"fmt"
	"net/netip"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/twtrace/twtrace/internal/event"
	"github.com/twtrace/twtrace/internal/output"
)

var tw210 = rule{id: "TW210", title: "connect() fails, but not for lack of ports", find: connectsFail}

const (
	failsMany = 10  // connects that failed
	failsWarn = 0.5 // share of all; more is a warning
	failsFew  = 0.01
	// soonGivenUp is how long a process must wait on average before its giving up counts as a
	// warning: an answer from another continent takes as long.
	soonGivenUp = 200 * time.Millisecond
)

// unanswered reports whether nothing at all answered the connect: the kernel gave up, or the
// process did, before it.
func (v *Fail) unanswered() bool {
	return v.Call == event.Connect && (unix.Errno(v.Errno) == unix.ETIMEDOUT || v.Cause == event.GaveUp)
}

// how is how the calls failed, behind "connects of checkout".
func (v *Fail) how() string {
	switch {
	case v.Cause == event.GaveUp && v.GivenUp.Mean() > 0:
		return "got no answer: it gave up after " + waitWords(v.GivenUp.Mean())
	case v.Cause == event.GaveUp:
		return "got no answer, and it gave up"
	case v.Errno == 0:
		return "failed, and the errno is not known"
	}
	return "failed with " + errnoName(unix.Errno(v.Errno))
}

// waitWords is a time as timeouts are: "2.0 s", "350ms".
func waitWords(d time.Duration) string {
	if d < time.Second {
		return output.Duration(int64(d.Round(time.Millisecond)))
	}
	return tenths(d)
}

// failures are the failed connects of one owner to one port with one errno.
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
			return x.Scope.Raddr == v.Remote.Addr().String() && x.Scope.Rport == v.Remote.Port() && v.unanswered()
		}) {
			continue // TW305 says more
		}
		many := uint64(failsMany)
		if v.unanswered() { // one takes seconds
			many = fewUnanswered
		}
		all := v.N + v.Opens
		if v.N < many || float64(v.N) < failsFew*float64(all) || len(found) == maxFindings {
			continue
		}
		found = append(found, v.finding(&f, all))
	}
	return found
}

func (v *failures) finding(f *Facts, all uint64) Finding {
	where := v.Remote.String()
	if v.remotes > 1 {
		where = fmt.Sprintf("port %d of %d addresses", v.Remote.Port(), v.remotes)
	}
	x := Finding{
		Severity: event.Info,
		What: fmt.Sprintf("%s of %s connects of %s to %s %s (%s)", output.Count(v.N), output.Count(all), v.Process.Comm, where,
			v.how(), output.Percent(v.N, all)),
		Short: fmt.Sprintf("%s of the connects to %s %s", output.Percent(v.N, all), where, v.inShort()),
		When:  "now: " + output.Rate(f.perSecond(v.N)),
		Why:   "the cause is the destination or the path to it, not the port range on this host; " + v.why(),
		Now:   []Remedy{{Text: "check the destination: " + v.whatToCheck()}},
		Scope: Scope{}.at(netip.AddrPort{}, v.Remote),
		Evidence: []Evidence{
			{Name: "failed", Value: float64(v.N), Limit: float64(all), Unit: "calls", Source: "trace"},
			{Name: "errno", Value: float64(v.Errno), Source: "trace"},
		},
	}
	owner := Contributor{Process: v.Process, PIDs: v.PIDs, About: v.About, N: v.N}
	x.by(f.counted(Fails, one(owner), owner.name()+" made "+plural(v.N, "call")+" that failed"))
	if v.remotes > 1 {
		x.Scope.Raddr = ""
	}
	if v.Cause == event.GaveUp {
		x.Evidence = append(x.Evidence, Evidence{Name: "waited", Value: v.GivenUp.Mean().Seconds(), Unit: "s", Source: "trace"})
	}
	if v.unanswered() && f.dropsAt(v.Remote) {
		x.Why = "the listener there is on this host and drops SYNs: TW211 says why"
		return x
	}
	if v.unanswered() && v.remotes == 1 {
		x.Why += f.othersAnswer(v.Remote)
	}
	if float64(v.N) > failsWarn*float64(all) && (v.Cause != event.GaveUp || v.GivenUp.Mean() >= soonGivenUp) {
		x.Severity = event.Warn
	}
	return x
}

// dropsAt reports whether a listener of this namespace at an address has dropped SYNs in the
// Window, or is about to: TW211 warns of it.
func (f *Facts) dropsAt(at netip.AddrPort) bool {
	if !f.HostAfter.own(at.Addr()) {
		return false
	}
	return slices.ContainsFunc(listenQueue(*f), func(x Finding) bool {
		return x.Severity >= event.Warn && x.Scope.Lport == at.Port() && (x.Scope.Laddr == at.Addr().String() || unspecified(x.Scope.Laddr))
	})
}

// unspecified reports whether a listener's address is that of all of them.
func unspecified(addr string) bool {
	a, err := netip.ParseAddr(addr)
	return err == nil && a.IsUnspecified()
}

// othersAnswer says whether destinations beside a silent one answer: if none does, it is
// rather the way there than the destination.
func (f *Facts) othersAnswer(remote netip.AddrPort) string {
	answering, silent := 0, 0
	for to, t := range f.farDestinations() {
		switch {
		case to == remote || f.HostAfter.own(to.Addr()) || public(to.Addr()) != public(remote.Addr()):
		case t.answered > 0:
			answering++
		case t.unanswered() > 0:
			silent++
		}
	}
	switch {
	case answering > 0:
		return "; " + plural(uint64(answering), "other destination") + " answered meanwhile"
	case silent > 0:
		return "; nor did " + plural(uint64(silent), "other destination") + ", and none answered: the way out may be what fails"
	}
	return ""
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
			if o := &out[i]; o.Process.Comm == v.Process.Comm && o.Errno == v.Errno && o.Cause == v.Cause && o.Remote.Port() == v.Remote.Port() {
				o.N += v.N
				o.PIDs = max(o.PIDs, v.PIDs)
				o.GivenUp.Merge(v.GivenUp)
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

// notDestination reports whether a connect() failed for lack of something on this host:
// other rules are about that.
func notDestination(errno uint16) bool {
	switch unix.Errno(errno) {
	case unix.EADDRNOTAVAIL, unix.EADDRINUSE, unix.ENFILE, unix.EMFILE:
		return true
	}
	return false
}

// inShort is how the calls failed, in a few words.
func (v *Fail) inShort() string {
	if v.Cause == event.GaveUp {
		return "get no answer"
	}
	return "fail with " + errnoName(unix.Errno(v.Errno))
}

// why is what the failure of connect() means.
func (v *Fail) why() string {
	if v.Cause == event.GaveUp {
		words := "nothing answered the SYN, and the process did not wait for the kernel's ETIMEDOUT, which takes about two minutes"
		if v.GivenUp.Mean() > 0 && v.GivenUp.Mean() < time.Second {
			words += "; the kernel sends a SYN again after 1 s only, so a single lost one fails the call"
		}
		return words
	}
	switch unix.Errno(v.Errno) {
	case unix.ECONNREFUSED:
		return "it answered with a reset, so nobody listens there, or its accept queue is full and tcp_abort_on_overflow is set"
	case unix.ETIMEDOUT:
		return "it did not answer at all"
	case unix.EHOSTUNREACH, unix.ENETUNREACH:
		return "there is no route to it"
	case unix.ECONNRESET:
		return "it reset the connection during the handshake"
	}
	return "the errno says why"
}

// whatToCheck is what to check there.
func (v *Fail) whatToCheck() string {
	if v.unanswered() {
		return "it may be down, or a firewall, a full accept queue, a missing route back or a NAT without free ports drops the SYN"
	}
	switch unix.Errno(v.Errno) {
	case unix.ECONNREFUSED:
		return "is the server running, and does it listen on this address and port?"
	case unix.EHOSTUNREACH, unix.ENETUNREACH:
		return "routes, neighbours and firewalls on the path"
	}
	return "its log, and the path to it"
}
