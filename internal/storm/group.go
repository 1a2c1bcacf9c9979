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
	// MaxWindow is the longest window of churn.
	MaxWindow = time.Minute
	// maxGroups limits the groups that a detector watches; a new one replaces the one
	// that has been idle longest.
	maxGroups = 4096
	// idleAfter is when the detector forgets a group that opens nothing.
	idleAfter = 5 * time.Minute
	// baselineOver is the time constant of a group's usual rate.
	baselineOver = 10 * time.Minute
	// farAbove is by which factor churn must exceed the group's usual rate.
	farAbove = 3
	// shortShare is which share of its connections must be short-lived.
	shortShare = 0.5
)

// groupKey names an owner group: the processes of one name in a network namespace
// and a cgroup, and so of one unit or container. Their executables and parents may
// differ: a script that cron starts every minute is one owner.
type groupKey struct {
	netns  uint32
	comm   string
	cgroup uint64 // id, 0 if it is not known
}

func groupOf(netns uint32, p event.Proc) groupKey { return groupKey{netns, p.Comm, p.Cgroup()} }

func compareGroups(a, b groupKey) int {
	return cmp.Or(cmp.Compare(a.netns, b.netns), strings.Compare(a.comm, b.comm), cmp.Compare(a.cgroup, b.cgroup))
}

// second is what a group did in one second.
type second struct{ opens, ends, short uint32 }

const ringSeconds = int(MaxWindow / time.Second)

// spanSeconds is how long a span is. A group knows the present span and the one
// before: the last 16 to 32 s.
const spanSeconds = 16

// span is which processes of a group connected, and where to, in one span.
type span struct {
	several bool // there was more than one destination
	pids    conn.PIDSketch
}

// group is one owner group, as a client.
type group struct {
	proc         event.Proc // seen last
	local        netip.Addr
	remote       netip.AddrPort // the last one
	span, before span
	ring         [ringSeconds]second
	sec          int64 // the second that the ring is at
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
	g.span.pids.Add(e.Process.PID)
}

// evict forgets the group that has been idle longest.
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

// judge reports whether the group churns, and has for longer than the window. Churn
// that started ends below half of the rate.
func (g *group) judge(at int64, o Options, started bool) bool {
	s, seconds := g.sum(o.Window)
	opens := float64(s.opens) / seconds
	limit := max(o.Rate, farAbove*g.usual)
	if started {
		limit /= 2
	}
	if opens < limit || float64(s.short) < shortShare*float64(max(s.ends, 1)) {
		g.above = 0
		if !started {
			g.usual += (opens - g.usual) / baselineOver.Seconds()
		}
		return false
	}
	if g.above == 0 {
		g.above = at
	}
	return started || at-g.above >= int64(o.Window)
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

// where is the destination, if the group had only one in the present span and the
// one before.
func (g *group) where() (local, remote netip.AddrPort) {
	if g.span.several || g.before.several {
		return netip.AddrPort{}, netip.AddrPort{}
	}
	return netip.AddrPortFrom(g.local, 0), g.remote
}

// pids estimates how many processes there were in the present span and the one before.
func (g *group) pids() int {
	seen := g.span.pids
	seen.Merge(&g.before.pids)
	return seen.Count()
}
