package report

import (
	"cmp"
	"maps"
	"slices"

	"github.com/twtrace/twtrace/internal/conn"
)

// How many owners have a line of their own in the chart of TIME_WAIT by owner, and how many
// are followed. The others are one line together.
const (
	maxLines    = 5
	maxFollowed = 64
)

// others are what owners are called that have no line of their own, and those that nobody
// knows.
const (
	othersName  = "all others"
	unknownName = "not known"
)

// holding is how many sockets in TIME_WAIT a program holds over time.
type holding struct {
	names []string // by number
	ids   map[string]int
}

// id is the number of a program, 0 for the others.
func (h *holding) id(name string) int {
	if h.ids == nil {
		h.names, h.ids = []string{othersName}, map[string]int{othersName: 0}
	}
	id, known := h.ids[name]
	if !known && len(h.names) < maxFollowed {
		id = len(h.names)
		h.ids[name], h.names = id, append(h.names, name)
	}
	return id
}

// Held adds which programs hold the sockets in TIME_WAIT at now, in ns since the epoch.
func (b *Builder) Held(now int64, groups []conn.Group) {
	sums := make([]uint64, len(b.held.names))
	for i := range groups {
		g := &groups[i]
		if g.TimeWait == 0 {
			continue
		}
		id := b.held.id(cmp.Or(g.Owner.Comm, unknownName))
		for len(sums) <= id {
			sums = append(sums, 0)
		}
		sums[id] += g.TimeWait
	}
	b.time.at(now).hold(sums)
}

// hold raises what programs hold in a step. A step that was sampled has a number of each.
func (s *step) hold(sums []uint64) {
	if s.held == nil {
		s.held = []uint64{}
	}
	for i, n := range sums {
		if i == len(s.held) {
			s.held = append(s.held, n)
			continue
		}
		s.held[i] = max(s.held[i], n)
	}
}

// series are those programs that held most at some time, and all others together.
func (h *holding) series(steps []step) []OwnerSeries {
	peaks := make(map[int]uint64)
	for i := range steps {
		for id, n := range steps[i].held {
			peaks[id] = max(peaks[id], n)
		}
	}
	delete(peaks, 0)
	ids := slices.SortedFunc(maps.Keys(peaks), func(a, b int) int {
		return cmp.Or(cmp.Compare(peaks[b], peaks[a]), cmp.Compare(h.names[a], h.names[b]))
	})
	ids = ids[:min(len(ids), maxLines)]
	out := []OwnerSeries{}
	for _, id := range ids {
		if peaks[id] > 0 {
			out = append(out, OwnerSeries{Name: safe(h.names[id])})
		}
	}
	rest, any := OwnerSeries{Name: othersName}, false
	for i := range steps {
		own := steps[i].held
		var sum uint64
		for _, n := range own {
			sum += n
		}
		for j := range out {
			var n uint64
			if ids[j] < len(own) {
				n = own[ids[j]]
			}
			sum -= n
			out[j].TimeWait = append(out[j].TimeWait, sampled(own, n))
		}
		any = any || sum > 0
		rest.TimeWait = append(rest.TimeWait, sampled(own, sum))
	}
	if any {
		out = append(out, rest)
	}
	return out
}

// sampled is n, nil in a step without a sample.
func sampled(own []uint64, n uint64) *uint64 {
	if own == nil {
		return nil
	}
	return &n
}
