// Package filter decides which records the user wants to see. [Filter.Match] is
// the whole decision; [Filter.Kernel] is the part of it that the BPF programs can
// make early, and never refuses a record that Match accepts.
package filter

import (
	"net/netip"
	"slices"

	"github.com/twtrace/twtrace/internal/event"
)

// Set is a list of alternatives, or with Not everything else. The zero Set
// matches all. An unknown value is in no list, so a list without Not hides the
// record and one with Not shows it.
type Set[T any] struct {
	Not   bool
	Items []T
}

// Active reports whether s restricts anything.
func (s Set[T]) Active() bool { return len(s.Items) > 0 }

// Ports is a range of ports, both ends included, in host order.
type Ports struct {
	First, Last uint16
}

// Filter is what the user wants to see: a record has to satisfy every field. The
// zero Filter matches all, and so does nil. Nobody may change a Filter that is in
// use; any number of goroutines can use it.
type Filter struct {
	PIDs       Set[uint32] // of the owner, the opener, the accepter or the closer
	Follow     bool        // only followed processes: the PIDs, with which the trace started, and their children
	Comms      Set[Glob]   // of the same four processes, as are the next ones
	UIDs       Set[uint32]
	Exes       Set[Path]   // executables
	Parents    Set[Parent] // pids or comms of parents
	Cgroups    Set[Path]   // cgroups, with all below them
	Units      Set[Glob]   // systemd units
	Containers Set[ID]
	Pods       Set[ID]
	LPorts     Set[Ports]        // local ports
	RPorts     Set[Ports]        // remote ports
	LAddrs     Set[netip.Prefix] // local addresses; as ParsePrefixes makes them: masked, none IPv4-mapped
	RAddrs     Set[netip.Prefix] // remote addresses
	Ends       Set[End]          // the local or the remote end
	Family     uint8             // 4 or 6, 0 for both; an IPv4-mapped connection is 4
	NetNS      Set[uint32]       // inode numbers
	Roles      Set[event.Role]
	Closers    Set[event.Side]
	Events     Set[event.Kind]
	Reasons    Set[event.Reason]

	All     []*Filter // that a record has to satisfy too
	Inverse bool      // what does not satisfy all of the above

	NetNSNames map[uint32]string // for String; nil if none has a name
}

// Match reports whether the user wants to see e. It never hides records about the
// trace itself: start, lost, end. It allocates nothing.
func (f *Filter) Match(e *event.Event) bool {
	if f == nil {
		return true
	}
	switch e.Kind {
	case event.Start, event.Lost, event.End:
		return true
	}
	return f.matches(e)
}

// matches is Match for a record that is not about the trace.
func (f *Filter) matches(e *event.Event) bool {
	if !f.matchFields(e) {
		return f.Inverse
	}
	for _, g := range f.All {
		if !g.matches(e) {
			return f.Inverse
		}
	}
	return !f.Inverse
}

func (f *Filter) matchFields(e *event.Event) bool {
	return has(&f.Events, e.Kind) &&
		has(&f.Reasons, e.Reason) &&
		has(&f.Roles, e.Role) &&
		has(&f.Closers, e.Closer) &&
		has(&f.NetNS, e.NetNS) &&
		(f.Family == 0 || f.Family == e.IP()) &&
		hasPort(&f.LPorts, e.Local.Port()) &&
		hasPort(&f.RPorts, e.Remote.Port()) &&
		hasAddr(&f.LAddrs, e.Local.Addr()) &&
		hasAddr(&f.RAddrs, e.Remote.Addr()) &&
		hasEnd(&f.Ends, e) &&
		f.matchPID(e) &&
		f.matchProcesses(e)
}

// has reports whether s matches v. The zero value means "unknown" in every type
// here, and the parsers put it in no list.
func has[T comparable](s *Set[T], v T) bool {
	return len(s.Items) == 0 || slices.Contains(s.Items, v) != s.Not
}

func hasPort(s *Set[Ports], port uint16) bool {
	if len(s.Items) == 0 {
		return true
	}
	for _, r := range s.Items {
		if r.First <= port && port <= r.Last {
			return !s.Not
		}
	}
	return s.Not
}

func hasAddr(s *Set[netip.Prefix], a netip.Addr) bool {
	if len(s.Items) == 0 {
		return true
	}
	a = plain(a)
	for _, p := range s.Items {
		if p.Contains(a) {
			return !s.Not
		}
	}
	return s.Not
}

func hasEnd(s *Set[End], e *event.Event) bool {
	if len(s.Items) == 0 {
		return true
	}
	for _, x := range s.Items {
		if x.match(e.Local) || x.match(e.Remote) {
			return !s.Not
		}
	}
	return s.Not
}

// plain returns a as the parsers make addresses: none IPv4-mapped, no zone.
func plain(a netip.Addr) netip.Addr { return a.Unmap().WithZone("") }

func (f *Filter) matchPID(e *event.Event) bool {
	s := &f.PIDs
	if f.Follow {
		return f.followed(e)
	}
	if len(s.Items) == 0 {
		return true
	}
	for _, pid := range s.Items {
		switch pid {
		case e.Process.PID, e.Opener.PID, e.Accepter.PID, e.CloseProc.PID:
			return !s.Not
		}
	}
	return s.Not
}

// followed reports whether a process of e is followed. Where only the pid of a
// process is known, it goes by that.
func (f *Filter) followed(e *event.Event) bool {
	for _, p := range processes(e) {
		if p.Who != nil && p.Who.Followed || p.Who == nil && slices.Contains(f.PIDs.Items, p.PID) {
			return true
		}
	}
	return false
}

// processes are all processes of e.
func processes(e *event.Event) [4]*event.Proc {
	return [...]*event.Proc{&e.Process, &e.Opener, &e.Accepter, &e.CloseProc}
}

func (f *Filter) matchProcesses(e *event.Event) bool {
	return hasProc(&f.Comms, e, func(g Glob, p *event.Proc) bool { return g.Match(p.Comm) }) &&
		hasWho(&f.UIDs, e, func(uid uint32, w *event.Who) bool { return w.HasUID && w.UID == uid }) &&
		hasWho(&f.Exes, e, func(x Path, w *event.Who) bool { return x.matchFile(w.Exe) }) &&
		hasWho(&f.Parents, e, Parent.match) &&
		hasWho(&f.Cgroups, e, func(x Path, w *event.Who) bool { return x.matchTree(w.Cgroup) }) &&
		hasWho(&f.Units, e, func(g Glob, w *event.Who) bool { return g.Match(w.Unit) }) &&
		hasWho(&f.Containers, e, func(x ID, w *event.Who) bool { return x.match(w.Container, w.ContainerName) }) &&
		hasWho(&f.Pods, e, func(x ID, w *event.Who) bool { return x.match(w.Pod, w.PodName) })
}

// hasProc reports whether s matches one of the processes of e.
func hasProc[T any](s *Set[T], e *event.Event, match func(T, *event.Proc) bool) bool {
	if len(s.Items) == 0 {
		return true
	}
	for _, p := range processes(e) {
		for _, item := range s.Items {
			if match(item, p) {
				return !s.Not
			}
		}
	}
	return s.Not
}

// hasWho is hasProc for facts that may be unknown of a process.
func hasWho[T any](s *Set[T], e *event.Event, match func(T, *event.Who) bool) bool {
	return hasProc(s, e, func(item T, p *event.Proc) bool { return p.Who != nil && match(item, p.Who) })
}
