package metrics

import (
	"cmp"
	"math"
	"slices"
	"strconv"
	"time"

	"github.com/twtrace/twtrace/internal/conn"
	"github.com/twtrace/twtrace/internal/pressure"
)

// MaxNetNS is how many network namespaces have series of their own; the sums of the
// others are those of _other.
const MaxNetNS = 64

// space is what a network namespace has at one moment.
type space struct {
	name       string
	tw, parked int
	limit      int
	limited    bool
	worst      float64 // of ports
	exhausts   float64
	hasPorts   bool
	local      float64
	hasLocal   bool
	had        bool // it had series at the sample before
}

// merge adds what another one has. Limits of several are none.
func (s *space) merge(o *space) {
	s.tw += o.tw
	s.parked += o.parked
	s.limit, s.limited = 0, false
	if o.hasPorts {
		s.ports(o.worst, o.exhausts)
	}
	if o.hasLocal {
		s.local, s.hasLocal = max(s.local, o.local), true
	}
}

func (s *space) ports(share, exhausts float64) {
	if !s.hasPorts {
		s.hasPorts, s.exhausts = true, math.Inf(1)
	}
	s.worst, s.exhausts = max(s.worst, share), min(s.exhausts, exhausts)
}

// spaces are the network namespaces.
type spaces struct {
	name   func(uint32) string
	labels map[string]pairs // of those that had series at the last sample
	away   map[string]bool  // those that had none for want of room
	folded uint64
}

// nameOf is the label of a network namespace: its name, or its inode number.
func (n *spaces) nameOf(inum uint32) string {
	if n.name != nil {
		if s := n.name(inum); s != "" {
			return clean(s)
		}
	}
	return strconv.FormatUint(uint64(inum), 10)
}

// observe adds the points of a sample.
func (n *spaces) observe(b *batch, t *conn.Snapshot, r *pressure.Reading) {
	all := n.gather(t, r)
	slices.SortFunc(all, func(a, b *space) int {
		return cmp.Or(cmp.Compare(btoi(b.had), btoi(a.had)), cmp.Compare(max(b.worst, b.local), max(a.worst, a.local)), cmp.Compare(b.tw+b.parked, a.tw+a.parked), cmp.Compare(a.name, b.name))
	})
	rest := &space{name: other}
	away := make(map[string]bool)
	if len(all) > MaxNetNS {
		for _, s := range all[MaxNetNS:] {
			rest.merge(s)
			away[s.name] = true
			if !n.away[s.name] {
				n.folded++
			}
		}
		all = all[:MaxNetNS]
	}
	n.away = away
	// Those of groups that had no room are of no namespace.
	sum := space{}
	for _, s := range all {
		sum.tw, sum.parked = sum.tw+s.tw, sum.parked+s.parked
	}
	rest.tw = max(int(t.Totals.TimeWait)-sum.tw, 0)
	rest.parked = max(int(t.Totals.Parked)-sum.parked, 0)
	if len(away) > 0 || rest.tw+rest.parked > 0 {
		all = append(all, rest)
	}
	labels := make(map[string]pairs, len(all))
	for _, s := range all {
		l := n.labels[s.name]
		if l == nil {
			l = label(timeWait.labels, s.name)
		}
		labels[s.name] = l
		s.points(b, l)
	}
	n.labels = labels
}

// gather is what each namespace has, by label.
func (n *spaces) gather(t *conn.Snapshot, r *pressure.Reading) []*space {
	var all []*space
	byName := make(map[string]*space)
	byInum := make(map[uint32]*space)
	of := func(inum uint32) *space {
		if s := byInum[inum]; s != nil {
			return s
		}
		name := n.nameOf(inum)
		s := byName[name]
		if s == nil {
			s = &space{name: name, had: n.labels[name] != nil}
			byName[name] = s
			all = append(all, s)
		}
		byInum[inum] = s
		return s
	}
	for i := range t.Buckets {
		s := of(t.Buckets[i].NetNS)
		s.tw += t.Buckets[i].TimeWait
		s.parked += t.Buckets[i].Parked
	}
	for i := range r.Gauges {
		g := &r.Gauges[i]
		s := of(g.NetNS)
		switch g.What {
		case pressure.Ports:
			s.ports(g.Share(), exhaustsIn(g))
		case pressure.LocalPorts:
			s.local, s.hasLocal = max(s.local, g.Share()), true
		case pressure.Buckets:
			s.limit, s.limited = g.Limit, g.Limited && !g.Unlimited
		}
	}
	return all
}

func (s *space) points(b *batch, l pairs) {
	b.add(timeWait, l, float64(s.tw))
	b.add(parked, l, float64(s.parked))
	if s.limited {
		b.add(twLimit, l, float64(s.limit))
	}
	if s.hasPorts {
		b.add(worstRatio, l, s.worst)
		b.add(worstExhausts, l, s.exhausts)
	}
	if s.hasLocal {
		b.add(localPorts, l, s.local)
	}
}

// exhaustsIn is in how many seconds the limit will be reached: 0 if calls fail now or it
// is, +Inf if that is not foreseen.
func exhaustsIn(g *pressure.Gauge) float64 {
	switch {
	case g.Outage.Lasts():
		return 0
	case g.Full:
		return max(g.In, time.Duration(0)).Seconds()
	}
	return math.Inf(1)
}
