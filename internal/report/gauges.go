package report

import (
	"cmp"
	"maps"
	"slices"

	"github.com/twtrace/twtrace/internal/pressure"
)

// maxGauges bounds the gauges that are held: when there are more, the emptier half
// is forgotten.
const maxGauges = 8192

// peak is a gauge when it was fullest.
type peak struct {
	used, limit uint64
	blocked     uint64 // of used: connect() takes over the others
	share       float64
	at          int64
}

// gauges are the peaks of everything measured.
type gauges struct {
	by       map[pressure.Key]peak
	refusals map[uint32]uint64 // TIME_WAIT sockets refused, by namespace
}

func (s *gauges) see(now int64, g *pressure.Gauge) {
	p := peak{uint64(g.InUse()), uint64(max(g.Limit, 0)), uint64(g.Used), g.InUseShare(), now}
	was, known := s.by[g.Key]
	if p.used == 0 || known && (p.share < was.share || p.share == was.share && (p.used < was.used || p.used == was.used && p.blocked <= was.blocked)) {
		return
	}
	if s.by == nil {
		s.by = make(map[pressure.Key]peak)
	}
	if !known && len(s.by) >= maxGauges {
		s.thin()
	}
	s.by[g.Key] = p
}

// thin forgets the emptier half.
func (s *gauges) thin() {
	keys := s.sorted()
	for _, k := range keys[len(keys)/2:] {
		delete(s.by, k)
	}
}

// sorted are the gauges, the fullest first.
func (s *gauges) sorted() []pressure.Key {
	keys := slices.Collect(maps.Keys(s.by))
	slices.SortFunc(keys, func(a, b pressure.Key) int {
		p, q := s.by[a], s.by[b]
		return cmp.Or(cmp.Compare(q.share, p.share), cmp.Compare(q.used, p.used), cmp.Compare(a.What, b.What),
			a.Remote.Compare(b.Remote), a.Local.Compare(b.Local), cmp.Compare(a.NetNS, b.NetNS))
	})
	return keys
}

func (s *gauges) refused(netns uint32) {
	if s.refusals == nil {
		s.refusals = make(map[uint32]uint64)
	}
	if _, known := s.refusals[netns]; known || len(s.refusals) < maxHeld {
		s.refusals[netns]++
	}
}

// namespaces are those that had sockets in TIME_WAIT.
func (s *gauges) namespaces(names namer) []Namespace {
	out := []Namespace{}
	for _, k := range s.sorted() {
		if k.What == pressure.Buckets {
			p := s.by[k]
			out = append(out, Namespace{k.NetNS, names.of(k.NetNS), p.used, stamp(p.at), p.limit, s.refusals[k.NetNS], p.share})
		}
	}
	return out
}
