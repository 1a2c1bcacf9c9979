package advice

import (
	"cmp"
	"net/netip"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/twtrace/twtrace/internal/event"
)

// chain puts findings that are one story under the first cause: what adds nothing to a
// finding about the same connections, and what happens because of it. Only the first
// cause stays in the list; it is as severe as the worst that comes of it.
func chain(all []Finding, facts []Facts) []Finding {
	c := chainer{all: all, facts: facts, under: make([]int, len(all))}
	for i := range all {
		c.under[i] = c.parent(i)
	}
	roots := make([][]int, len(all)) // what is under each, the nearest first
	for i := range all {
		if root := c.root(i); root != i {
			roots[root] = append(roots[root], i)
		}
	}
	var out []Finding
	for i := range all {
		if c.root(i) != i {
			continue
		}
		slices.SortStableFunc(roots[i], func(a, b int) int { return cmp.Compare(c.depth(a), c.depth(b)) })
		x := all[i]
		for _, k := range roots[i] {
			x.take(all[k])
		}
		out = append(out, x)
	}
	return out
}

// chainer finds out what is under what.
type chainer struct {
	all   []Finding
	facts []Facts
	under []int // by finding, the one that it is under; -1 if none
}

// root is the first cause of finding i: itself, if it is under none, or if each of a
// circle waits for the next.
func (c *chainer) root(i int) int {
	at := i
	for range c.all {
		if c.under[at] < 0 {
			return at
		}
		at = c.under[at]
	}
	return i
}

// depth is how far finding i is from its first cause.
func (c *chainer) depth(i int) int {
	n := 0
	for ; c.under[i] >= 0; i = c.under[i] {
		n++
	}
	return n
}

// parent is what finding i is under, -1 if nothing.
func (c *chainer) parent(i int) int {
	switch x := &c.all[i]; x.ID {
	case tw103.id, tw201.id, tw202.id, tw302.id:
		return c.sameFlow(x)
	case tw106.id:
		if at := c.held(x); at >= 0 {
			return at
		}
		return c.queue(x)
	case tw207.id:
		return c.leak(x)
	case tw210.id:
		return c.queue(x)
	}
	return -1
}

// find is the first finding that is, -1 if there is none.
func (c *chainer) find(is func(*Finding) bool) int {
	return slices.IndexFunc(c.all, func(x Finding) bool { return is(&x) })
}

// sameFlow is the finding about the ports that x's connections take.
func (c *chainer) sameFlow(x *Finding) int {
	for _, id := range []string{tw101.id, tw106.id, tw103.id} {
		if x.ID == id {
			return -1
		}
		at := c.find(func(o *Finding) bool {
			return o.ID == id && o.Severity >= event.Warn && o.Scope.NetNS == x.Scope.NetNS && x.Scope.Rport != 0 &&
				o.Scope.Raddr == x.Scope.Raddr && o.Scope.Rport == x.Scope.Rport && (x.Scope.Laddr == "" || o.Scope.Laddr == x.Scope.Laddr)
		})
		if at >= 0 && (id != tw106.id || x.ID == tw302.id) {
			return at
		}
	}
	return -1
}

// leak is the finding about who does not close, for one about who waits for that.
func (c *chainer) leak(x *Finding) int {
	s := x.lingering
	if up := x.waitsFor; up != nil {
		if at := c.find(func(o *Finding) bool { return o.lingering == up }); at >= 0 {
			return at
		}
		s = up // too few for a finding of their own
	}
	if s == nil || s.State != event.FinWait2 {
		return -1
	}
	p, ok := s.holder(event.CloseWait)
	if !ok || 2*p.N < s.N {
		return -1
	}
	return c.find(func(o *Finding) bool {
		return o.ID == tw207.id && o.lingering != nil && o.lingering.State == event.CloseWait &&
			o.Scope.NetNS == p.NetNS && ProgramOf(o.lingering.Process) == ProgramOf(p.Process) && o.lingering.has(s)
	})
}

// has reports whether s may be the other ends of o: the end that those have in common is
// among its own.
func (s *Lingering) has(o *Lingering) bool {
	switch {
	case o.Remote.IsValid() && !s.Remote.IsValid():
		return s.Local == o.Remote
	case !o.Remote.IsValid() && s.Remote.IsValid():
		return s.Remote == o.Local
	}
	return false
}

// held is the finding about connections that do not end, for one about the ports that
// they hold.
func (c *chainer) held(x *Finding) int {
	d := c.destination(x)
	if d == nil {
		return -1
	}
	return c.find(func(o *Finding) bool {
		s := o.lingering
		return o.ID == tw207.id && s != nil && o.Scope.NetNS == x.Scope.NetNS && s.Remote == d.Remote && s.Local.Addr() == d.Local &&
			2*s.N >= d.States.All()
	})
}

// destination is what x is about.
func (c *chainer) destination(x *Finding) *Destination {
	f := c.factsOf(x)
	if f == nil {
		return nil
	}
	for i := range f.Destinations {
		if d := &f.Destinations[i]; d.Local.String() == x.Scope.Laddr && d.Remote.Addr().String() == x.Scope.Raddr && d.Remote.Port() == x.Scope.Rport {
			return d
		}
	}
	return nil
}

func (c *chainer) factsOf(x *Finding) *Facts {
	i := slices.IndexFunc(c.facts, func(f Facts) bool { return f.NetNS.Inum == x.Scope.NetNS })
	if i < 0 {
		return nil
	}
	return &c.facts[i]
}

// queue is the finding about a listener of this host whose queue drops, for one about
// connects to it that get no answer.
func (c *chainer) queue(x *Finding) int {
	to, err := netip.ParseAddr(x.Scope.Raddr)
	if err != nil || !c.unanswered(x) {
		return -1
	}
	return c.find(func(o *Finding) bool {
		f := c.factsOf(o)
		at, err := netip.ParseAddr(o.Scope.Laddr)
		switch {
		case o.ID != tw211.id || o.Severity < event.Warn || f == nil || err != nil || o.Scope.Lport != x.Scope.Rport:
			return false
		case to.IsLoopback():
			return o.Scope.NetNS == x.Scope.NetNS && (at == to || at.IsUnspecified())
		case at.IsUnspecified():
			return slices.Contains(f.HostAfter.Addrs, to)
		}
		return at == to
	})
}

// unanswered reports whether x is about connects without an answer.
func (c *chainer) unanswered(x *Finding) bool {
	if x.ID == tw106.id {
		d := c.destination(x)
		return d != nil && 2*d.States.Of(event.SynSent) >= d.States.All()
	}
	return slices.ContainsFunc(x.Evidence, func(e Evidence) bool {
		return e.Name == "errno" && (e.Value == 0 || unix.Errno(e.Value) == unix.ETIMEDOUT)
	})
}

// take puts o under x. What o advises as a cure, for the same connections, x advises
// instead of its own; a command that helps now is x's, too. Nothing is advised twice.
func (x *Finding) take(o Finding) {
	x.Severity = max(x.Severity, o.Severity)
	if x.Since.IsZero() {
		x.Since = o.Since
	}
	if cures := []string{tw201.id, tw202.id}; slices.Contains(cures, o.ID) {
		if slices.ContainsFunc(x.Under, func(u Finding) bool { return slices.Contains(cures, u.ID) }) {
			x.Fix = joined(x.Fix, o.Fix)
		} else {
			x.Fix = o.Fix
		}
	}
	for _, r := range o.Now {
		if r.Command() != "" {
			x.Now = joined(x.Now, []Remedy{r})
		}
	}
	o.Now, o.Fix = without(o.Now, x.Now), without(o.Fix, x.Fix)
	x.Under = append(x.Under, o)
}

// joined is all of a, and what b has beside it.
func joined(a, b []Remedy) []Remedy { return slices.Concat(a, without(b, a)) }

// without is all of a that b does not have.
func without(a, b []Remedy) []Remedy {
	var out []Remedy
	for _, r := range a {
		if !slices.ContainsFunc(b, func(o Remedy) bool { return o.Text == r.Text && o.Command() == r.Command() }) {
			out = append(out, r)
		}
	}
	return out
}
