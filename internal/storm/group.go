package storm

import (
	"cmp"
	"net/netip"
	"strings"
	"time"

	"github.com/twtrace/twtrace/internal/conn"
	"github.com/twtrace/twtrace/internal/event"
)

const (
	// MaxWindow bounds the window of churn.
	MaxWindow = time.Minute
	// maxGroups bounds the groups that are watched; the idlest gives way.
	maxGroups = 4096
	// idleAfter is when a group that opens nothing is forgotten.
	idleAfter = 5 * time.Minute
	// baselineOver is how long a group's usual rate looks back.
	baselineOver = 10 * time.Minute
	// farAbove is by how much churn must exceed the group's usual rate.
	farAbove = 3
	// shortShare is how many of its connections must be short-lived.
	shortShare = 0.5
)

// groupKey names an owner group: the processes of one name in a network namespace
// and a cgroup, and so of one unit or container. What they have run, and who started
// them, may differ: a script that is started every second is one owner.
type groupKey struct {
	netns  uint32
	comm   string
	cgroup uint64 // id, 0 if it is not known
}

func groupOf(netns uint32, p event.Proc) groupKey { return groupKey{netns, p.Comm, p.Cgroup()} }

func compareGroups(a, b groupKey) int {
	return cmp.Or(cmp.Compare(a.netns, b.netns), strings.Compare(a.comm, b.comm), cmp.Compare(a.cgroup, b.cgroup))
}

// second is what a group did in one.
type second struct{ opens, ends, short uint32 }

const ringSeconds = int(MaxWindow / time.Second)

// spanSeconds is how long a span is: what counts as of late is one and a part of another.
const spanSeconds = 16

// span is who and where a group was in one.
type span struct {
	several bool // destinations
	pids    [4]uint64
}

// group is what is known of one owner group, as a client.
type group struct {
	proc         event.Proc // seen last
	local        netip.Addr
	remote       netip.AddrPort // the last one
	span, before span
	ring         [ringSeconds]second
	sec          int64 // that the ring has come to
	last         int64
	lives        conn.Hist
	usual        float64 // connections per second, while it does not churn
	above        int64   // since when it churns, ns; 0: it does not
}

type groups struct {
	all map[groupKey]*group
	now int64 // second
}

func newGroups() groups { return groups{all: make(map[groupKey]*group)} }

func (s *groups) of(k groupKey) *group { return s.all[k] }

// observe counts connections that clients open, and how long they lived.
func (s *groups) observe(e *event.Event, short time.Duration) {
	if e.Role != event.Client || !e.Process.Known() {
		return
	}
	opens := e.Kind == event.Open
	ends := e.Life > 0 && (e.Kind == event.TimeWaitEnter || e.Kind == event.TimeWaitRefused ||
		e.Kind == event.Close && e.Old != event.FinWait2)
	if !opens && !ends {
		return
	}
	k := groupOf(e.NetNS, e.Process)
	g := s.all[k]
	if g == nil {
		if len(s.all) >= maxGroups {
			s.evict()
		}
		k.comm = strings.Clone(k.comm)
		g = &group{sec: s.now}
		s.all[k] = g
	}
	g.advance(max(s.now, e.Time/int64(time.Second)))
	g.last = g.sec
	at := &g.ring[g.sec%int64(ringSeconds)]
	if ends {
		at.ends++
		if e.Life <= int64(short) {
			at.short++
		}
		g.lives.Add(time.Duration(e.Life))
		return
	}
	at.opens++
	if g.remote != e.Remote && g.remote.IsValid() {
		g.span.several = true
	}
	g.proc, g.local, g.remote = e.Process, e.Local.Addr(), e.Remote
	g.proc.Comm = k.comm
	bit := e.Process.PID * 0x9E3779B1 >> 24
	g.span.pids[bit/64] |= 1 << (bit % 64)
}

// evict forgets the group that has done nothing for longest.
func (s *groups) evict() {
	var idlest groupKey
	last := int64(-1)
	for k, g := range s.all {
		if last < 0 || g.last < last {
			idlest, last = k, g.last
		}
	}
	delete(s.all, idlest)
}

// advance brings all groups to the second of at, and forgets the idle ones.
func (s *groups) advance(at int64) {
	s.now = max(s.now, at/int64(time.Second))
	for k, g := range s.all {
		g.advance(s.now)
		if s.now-g.last > int64(idleAfter/time.Second) {
			delete(s.all, k)
		}
	}
}

// advance turns the ring.
func (g *group) advance(sec int64) {
	if sec-g.sec > int64(ringSeconds) {
		g.sec = sec - int64(ringSeconds)
	}
	for g.sec < sec {
		g.sec++
		g.ring[g.sec%int64(ringSeconds)] = second{}
		if g.sec%spanSeconds == 0 {
			g.lives.Fade()
			g.before, g.span = g.span, span{}
		}
	}
}

// sum is what the group did over a window of whole seconds before this one.
func (g *group) sum(window time.Duration) (s second, seconds float64) {
	n := min(int64(window/time.Second), int64(ringSeconds)-1)
	for sec := max(g.sec-n, 0); sec < g.sec; sec++ {
		v := g.ring[sec%int64(ringSeconds)]
		s.opens += v.opens
		s.ends += v.ends
		s.short += v.short
	}
	return s, float64(max(n, 1))
}

// rate is connections opened per second over a window.
func (g *group) rate(window time.Duration) float64 {
	s, seconds := g.sum(window)
	return float64(s.opens) / seconds
}

// judge reports whether the group churns, and for longer than the window. What began
// ends at half of the rate.
func (g *group) judge(at int64, o Options, begun bool) bool {
	s, seconds := g.sum(o.Window)
	opens := float64(s.opens) / seconds
	limit := max(o.Rate, farAbove*g.usual)
	if begun {
		limit /= 2
	}
	if opens < limit || float64(s.short) < shortShare*float64(max(s.ends, 1)) {
		g.above = 0
		if !begun {
			g.usual += (opens - g.usual) / baselineOver.Seconds()
		}
		return false
	}
	if g.above == 0 {
		g.above = at
	}
	return begun || at-g.above >= int64(o.Window)
}

// evidence adds how long the group's connections live.
func (g *group) evidence(info *event.StormInfo) {
	s, _ := g.sum(MaxWindow)
	life, ok := g.lives.Quantile(0.5)
	if !ok || s.ends == 0 {
		return
	}
	info.LifeP50 = max(int64(life), 1)
	info.ShortShare = float64(s.short) / float64(s.ends)
}

// where is the destination, if the group has only one of late.
func (g *group) where() (netip.AddrPort, netip.AddrPort) {
	if g.span.several || g.before.several {
		return netip.AddrPort{}, netip.AddrPort{}
	}
	return netip.AddrPortFrom(g.local, 0), g.remote
}

// pids is about how many processes there were of late.
func (g *group) pids() int {
	seen := g.span.pids
	for i, bits := range g.before.pids {
		seen[i] |= bits
	}
	return conn.Distinct(seen[:])
}
