package filter

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// set is a Set of any type.
type set interface {
	Active() bool
	take(from set)
	clear()
}

func (s *Set[T]) take(from set) { *s = *from.(*Set[T]) }
func (s *Set[T]) clear()        { *s = Set[T]{} }

// names of the sets of a Filter, in the order of sets.
var setNames = [...]string{"pid", "comm", "uid", "exe", "parent", "cgroup", "unit", "container", "pod",
	"lport", "rport", "laddr", "raddr", "end", "netns", "role", "closed-by", "event", "reason"}

func (f *Filter) sets() [len(setNames)]set {
	return [...]set{&f.PIDs, &f.Comms, &f.UIDs, &f.Exes, &f.Parents, &f.Cgroups, &f.Units, &f.Containers, &f.Pods,
		&f.LPorts, &f.RPorts, &f.LAddrs, &f.RAddrs, &f.Ends, &f.NetNS, &f.Roles, &f.Closers, &f.Events, &f.Reasons}
}

// And narrows f to what g accepts as well. The error says which parts of them no
// record can satisfy both.
func (f *Filter) And(g *Filter) error {
	if err := f.contradiction(g); err != nil {
		return err
	}
	for inum, name := range g.NetNSNames {
		if f.NetNSNames == nil {
			f.NetNSNames = make(map[uint32]string)
		}
		f.NetNSNames[inum] = name
	}
	if f.Inverse || g.Inverse {
		if f.Inverse {
			whole := *f
			*f = Filter{All: []*Filter{&whole}, NetNSNames: f.NetNSNames}
		}
		f.All = append(f.All, g)
		return nil
	}
	rest := Filter{NetNSNames: f.NetNSNames}
	more := false
	mine, left := f.sets(), rest.sets()
	for i, s := range g.sets() {
		switch {
		case !s.Active():
		case mine[i].Active():
			left[i].take(s)
			more = true
		default:
			mine[i].take(s)
		}
	}
	if more {
		f.All = append(f.All, &rest)
	}
	if f.Family == 0 {
		f.Family = g.Family
	}
	f.Follow = f.Follow || g.Follow
	f.All = append(f.All, g.All...)
	return nil
}

// contradiction finds a field of which a record has one value, and f and g want
// different ones.
func (f *Filter) contradiction(g *Filter) error {
	if f.Inverse || g.Inverse {
		return nil
	}
	for _, a := range append([]*Filter{f}, f.All...) {
		if a.Inverse {
			continue
		}
		if err := a.contradictsFields(g); err != nil {
			return err
		}
	}
	return nil
}

func (f *Filter) contradictsFields(g *Filter) error {
	if f.Family != 0 && g.Family != 0 && f.Family != g.Family {
		return fmt.Errorf("ipv4 conflicts with ipv6; leave out both for all connections")
	}
	overlap := func(a, b Ports) bool { return a.First <= b.Last && b.First <= a.Last }
	for _, err := range []error{
		apart("lport", f.LPorts, g.LPorts, overlap, Ports.String),
		apart("rport", f.RPorts, g.RPorts, overlap, Ports.String),
		apart("laddr", f.LAddrs, g.LAddrs, netip.Prefix.Overlaps, prefixWord),
		apart("raddr", f.RAddrs, g.RAddrs, netip.Prefix.Overlaps, prefixWord),
		apart("netns", f.NetNS, g.NetNS, equal[uint32], func(n uint32) string { return (&Filter{NetNSNames: bothNames(f, g)}).netnsWord(n) }),
		apart("role", f.Roles, g.Roles, equal, enumWord),
		apart("closed-by", f.Closers, g.Closers, equal, enumWord),
		apart("event", f.Events, g.Events, equal, enumWord),
		apart("reason", f.Reasons, g.Reasons, equal, enumWord),
	} {
		if err != nil {
			return err
		}
	}
	return nil
}

func bothNames(f, g *Filter) map[uint32]string {
	names := make(map[uint32]string)
	for _, h := range []*Filter{f, g} {
		for inum, name := range h.NetNSNames {
			names[inum] = name
		}
	}
	return names
}

func equal[T comparable](a, b T) bool { return a == b }

func enumWord[T fmt.Stringer](v T) string { return v.String() }

// apart is an error if no value is in both of two lists.
func apart[T any](name string, a, b Set[T], overlap func(a, b T) bool, word func(T) string) error {
	if !a.Active() || !b.Active() || a.Not || b.Not {
		return nil
	}
	var mine, theirs []string
	for _, v := range a.Items {
		if slices.ContainsFunc(b.Items, func(w T) bool { return overlap(v, w) }) {
			return nil
		}
		mine = append(mine, word(v))
	}
	for _, v := range b.Items {
		theirs = append(theirs, word(v))
	}
	one, other := strings.Join(mine, ","), strings.Join(theirs, ",")
	return fmt.Errorf("%[1]s %[2]s conflicts with %[1]s %[3]s; for either: %[1]s %[2]s,%[3]s", name, one, other)
}

// part is the part of f that concerns the named fields. It accepts all that f accepts:
// of an inverse filter that has other fields as well, there is no part.
func (f *Filter) part(names ...string) *Filter {
	p, _ := f.cut(names)
	return p
}

// cut is part; lost reports whether that is not all of f.
func (f *Filter) cut(names []string) (_ *Filter, lost bool) {
	p := *f
	for i, s := range p.sets() {
		if s.Active() && !slices.Contains(names, setNames[i]) {
			s.clear()
			lost = true
		}
	}
	if p.Family != 0 && !slices.Contains(names, "family") {
		p.Family, lost = 0, true
	}
	if p.Follow && !slices.Contains(names, "follow") {
		p.Follow, lost = false, true
	}
	p.All = nil
	for _, g := range f.All {
		q, less := g.cut(names)
		lost = lost || less
		if q.Active() {
			p.All = append(p.All, q)
		}
	}
	if f.Inverse && lost {
		return &Filter{}, true
	}
	return &p, lost
}

// Active reports whether f restricts anything.
func (f *Filter) Active() bool {
	if f == nil {
		return false
	}
	for _, s := range f.sets() {
		if s.Active() {
			return true
		}
	}
	return f.Family != 0 || f.Follow || f.Inverse || slices.ContainsFunc(f.All, (*Filter).Active)
}

// Sockets is the part of f that a socket alone decides.
func (f *Filter) Sockets() *Filter {
	return f.part("family", "netns", "lport", "rport", "laddr", "raddr", "end")
}

// Places is the part of f that a network namespace, a local address and a remote end decide.
func (f *Filter) Places() *Filter { return f.part("family", "netns", "rport", "laddr", "raddr", "end") }

// Connections is the part of f that tells connections of one namespace apart.
func (f *Filter) Connections() *Filter {
	return f.part("family", "lport", "rport", "laddr", "raddr", "end")
}

// Remotes is the part of f about remote ends.
func (f *Filter) Remotes() *Filter { return f.part("rport", "raddr", "end") }

// Spaces is the part of f about network namespaces.
func (f *Filter) Spaces() *Filter { return f.part("netns") }

// Kinds is the part of f about events.
func (f *Filter) Kinds() *Filter { return f.part("event") }

// Processes is the part of f about processes.
func (f *Filter) Processes() *Filter {
	return f.part("follow", "pid", "comm", "uid", "exe", "parent", "cgroup", "unit", "container", "pod")
}
