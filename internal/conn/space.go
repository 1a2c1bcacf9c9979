package conn

import (
	"slices"

	"github.com/twtrace/twtrace/internal/event"
)

// maxSpaces bounds the network namespaces whose mini-sockets are followed.
const maxSpaces = 4096

// space is what is known of the mini-sockets of one network namespace. How many
// are alive is the sum of its groups.
type space struct {
	flow
	refused uint64
	last    int64
}

func (s *space) shift(st step, e *event.Event) {
	if s == nil {
		return
	}
	s.flow.shift(st)
	s.last = st.now
	if e != nil && e.Kind != event.Snapshot && st.from <= live && st.to > live && st.to < ended {
		s.who.credit(e.Process)
	}
}

func (s *space) refuse(e *event.Event) {
	if s != nil {
		s.refused++
		s.last = max(s.last, e.Time)
		s.who.credit(e.Process)
	}
}

type spaceSet map[uint32]*space

// of returns the space of a group; of the rest there is none, for its sockets
// are of any.
func (s spaceSet) of(k groupKey, now int64) *space {
	if k.kind == GroupOther {
		return nil
	}
	v := s[k.netns]
	if v == nil && len(s) < maxSpaces {
		v = &space{flow: *newFlow(now, now)}
		s[k.netns] = v
	}
	return v
}

func (s spaceSet) sweep(idle int64) {
	for netns, v := range s {
		if v.last < idle && v.ages == ([2][MaxAge]uint16{}) {
			delete(s, netns)
		}
	}
}

// Buckets is how many mini-sockets a network namespace has, of those that
// tcp_max_tw_buckets allows it.
type Buckets struct {
	NetNS    uint32
	TimeWait int
	Parked   int
	OfClient int    // of both, those of clients: each holds bind buckets too
	Refused  uint64 // only grows
	Flow     *Flow
}

// Used is how many buckets are taken.
func (b *Buckets) Used() int { return b.TimeWait + b.Parked }

// Spaces appends the mini-sockets of every network namespace to list, by its number.
func (t *Table) Spaces(list []Buckets) []Buckets {
	begin := len(list)
	at := make(map[uint32]int, len(t.spaces))
	for netns, s := range t.spaces {
		at[netns] = len(list)
		list = append(list, Buckets{NetNS: netns, Refused: s.refused, Flow: s.view(t.now)})
	}
	for _, g := range t.groups.all {
		if g == nil || g.key.kind == GroupOther || g.TimeWait+g.Parked == 0 {
			continue
		}
		i, ok := at[g.key.netns]
		if !ok {
			continue
		}
		list[i].TimeWait += int(g.TimeWait)
		list[i].Parked += int(g.Parked)
		if g.key.role == event.Client {
			list[i].OfClient += int(g.TimeWait + g.Parked)
		}
	}
	slices.SortFunc(list[begin:], func(a, b Buckets) int { return int(int64(a.NetNS) - int64(b.NetNS)) })
	return list
}
