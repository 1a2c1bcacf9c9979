package advice

import (
	"cmp"
	"fmt"

	"github.com/twtrace/twtrace/internal/event"
	"github.com/twtrace/twtrace/internal/output"
)

var tw207 = rule{id: "TW207", title: "sockets leak in CLOSE_WAIT or FIN_WAIT2", find: notTimeWait}

const (
	lingerGrown = 10  // more connections than at the start of the window
	lingerMany  = 100 // reported even if they do not grow
)

// notTimeWait is TW207.
func notTimeWait(f Facts) []Finding {
	var found []Finding
	for i := range f.Traffic.Lingering {
		s := &f.Traffic.Lingering[i]
		if s.Grown < lingerGrown && s.N < lingerMany || len(found) == maxFindings {
			continue
		}
		found = append(found, s.finding(&f))
	}
	return found
}

// finding is what TW207 says of s.
func (s *Lingering) finding(f *Facts) Finding {
	owner := s.owner()
	x := Finding{
		Severity: event.Info,
		What:     fmt.Sprintf("%s %s %s %s stuck in %s", owner.name(), owner.does("has", "have"), plural(uint64(s.N), "connection"), s.where(), s.State),
		Short:    fmt.Sprintf("%s connections of %s are stuck in %s", output.Count(uint64(s.N)), cmp.Or(s.Process.Comm, named(s.Process)), s.State),
		When:     "their number does not grow",
		Scope:    Scope{}.at(s.Local, s.Remote),
		Evidence: []Evidence{
			{Name: s.State.String(), Value: float64(s.N), Unit: "sockets", Source: "sock_diag"},
			{Name: "grown", Value: float64(s.Grown), Unit: "sockets", Source: "sock_diag"},
		},
		lingering: s,
	}
	x.by(f.holding(one(owner), "of them"))
	if s.Grown >= lingerGrown {
		x.Severity = event.Warn
		x.When = fmt.Sprintf("growing: %s more in the last %s", output.Count(uint64(s.Grown)), output.Seconds(f.watched()))
	}
	for _, p := range s.Peers {
		x.Evidence = append(x.Evidence, Evidence{Name: "other_end_" + p.State.String(), Value: float64(p.N), Limit: float64(s.N), Unit: "sockets", Source: "sock_diag"})
	}
	if up := f.waitsAs(s); up != nil {
		x.passesOn(up)
	} else if s.State == event.CloseWait {
		x.leaks()
	} else {
		x.waits()
	}
	return x
}

// owner is the processes that have them.
func (s *Lingering) owner() Contributor {
	return Contributor{Process: s.Process, PIDs: s.PIDs, N: uint64(s.N)}
}

// where is the end that they have in common.
func (s *Lingering) where() string {
	if s.Remote.IsValid() {
		return "to " + s.Remote.String()
	}
	return "on " + s.Local.String()
}

// holder is who has the most other ends in a state, on this host.
func (s *Lingering) holder(state event.State) (p Peer, ok bool) {
	for _, p := range s.Peers {
		if p.State == state && p.Process.Known() {
			return p, true
		}
	}
	return Peer{}, false
}

// waitsAs is the connections that the process of s waits for, if it passes a close on: it
// has half as many in FIN_WAIT2, closed by itself and not by their other end, or more.
// That other end is not itself.
func (f *Facts) waitsAs(s *Lingering) *Lingering {
	if s.State != event.CloseWait || s.Remote.IsValid() {
		return nil
	}
	var up *Lingering
	for i := range f.Traffic.Lingering {
		o := &f.Traffic.Lingering[i]
		if o.State != event.FinWait2 || !o.Remote.IsValid() || !s.Process.Known() || ProgramOf(o.Process) != ProgramOf(s.Process) || 2*o.N < s.N {
			continue
		}
		if p, ok := o.holder(event.CloseWait); ok && ProgramOf(p.Process) == ProgramOf(s.Process) {
			continue
		}
		if up == nil || o.N > up.N {
			up = o
		}
	}
	return up
}

// leaks is for who does not close.
func (x *Finding) leaks() {
	s := x.lingering
	x.Title = "sockets leak in CLOSE_WAIT"
	x.Why = "the peer has closed, but this process has not: it leaks sockets, and each takes a file descriptor. This is not TIME_WAIT"
	if p, ok := s.holder(event.FinWait2); ok {
		x.Why += fmt.Sprintf("; %s waits for it at the other end of %s of them", named(p.Process), output.Count(uint64(p.N)))
	}
	x.Now = []Remedy{{Text: "restart the process to close them; it only buys time"}}
	x.Fix = []Remedy{{Text: "find the code that does not close: it keeps connections that returned an error or end of file"}}
}

// waits is for who has closed, and whose peer has not.
func (x *Finding) waits() {
	s := x.lingering
	x.Title = "sockets stay in FIN_WAIT2: the peer does not close"
	x.Why = "this side has closed, but the peer has not: it does not close its connections. This is not TIME_WAIT"
	x.Now = []Remedy{{Text: "check the peer: it holds the same connections in CLOSE_WAIT"}}
	x.Fix = []Remedy{{Text: "the peer must close connections that this side has closed; those that no local process holds any more end by themselves"}}
	p, ok := s.holder(event.CloseWait)
	if !ok {
		return
	}
	x.Short = fmt.Sprintf("%s waits for %s to close %s (FIN_WAIT2)", s.Process.Comm, named(p.Process), plural(uint64(s.N), "connection"))
	x.Why = fmt.Sprintf("this side has closed, but %s, on this host, has not: it has the other end of %s of them in CLOSE_WAIT. This is not TIME_WAIT",
		named(p.Process), output.Count(uint64(p.N)))
	x.Now[0].Text = "restart " + named(p.Process) + " to close them; it only buys time"
	x.Fix[0].Text = named(p.Process) + " must close connections that return end of file"
}

// passesOn is for who has passed the close on to up, and waits until that is closed too.
func (x *Finding) passesOn(up *Lingering) {
	s := x.lingering
	peer := up.Remote.String()
	if p, ok := up.holder(event.CloseWait); ok {
		peer = named(p.Process)
	}
	x.waitsFor = up
	x.Title = "a proxy waits in CLOSE_WAIT: the server behind it does not close"
	x.Short = fmt.Sprintf("%s waits for %s, and keeps %s in CLOSE_WAIT", s.Process.Comm, peer, plural(uint64(s.N), "connection"))
	x.Why = fmt.Sprintf("this process passes a close on: it has also closed %s to %s, which stay in FIN_WAIT2 because %s does not close. This is not TIME_WAIT",
		plural(uint64(up.N), "connection"), up.Remote, peer)
	x.Now = []Remedy{{Text: "restart " + peer + " to close them; it only buys time"}}
	x.Fix = []Remedy{{Text: peer + " must close connections that return end of file; in this process, a limit on how long one direction may stay open helps"}}
}
