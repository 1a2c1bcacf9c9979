package conn

import (
	"slices"

	"github.com/twtrace/twtrace/internal/event"
)

// maxNetNS limits for how many network namespaces the table follows mini-sockets.
const maxNetNS = 4096

// netns is how the mini-sockets of one network namespace come and go. How many are
// alive is the sum over its groups.
type netns struct {
	flow
	refused   uint64
	refusedAt int64 // the last one, ns since the epoch
	last      int64
}

func (n *netns) shift(s step) {
	if n == nil {
		return
	}
	n.flow.shift(s)
	n.last = s.now
}

func (n *netns) refuse(e *event.Event) {
	if n != nil {
		n.refused++
		n.last = max(n.last, e.Time)
		n.refusedAt = max(n.refusedAt, e.Time)
		n.flow.refuse(e.Time, n.last)
	}
}

// netnsSet holds network namespaces by inode number.
type netnsSet map[uint32]*netns

// of returns the namespace of a group, nil for GroupOther, which has sockets of
// several, and if there are too many.
func (s netnsSet) of(k groupKey, now int64) *netns {
	if k.kind == GroupOther {
		return nil
	}
	n := s[k.netns]
	if n == nil && len(s) < maxNetNS {
		n = &netns{flow: *newFlow(now, now)}
		s[k.netns] = n
	}
	return n
}

func (s netnsSet) sweep(idle int64) {
	for inum, n := range s {
		if n.last < idle && n.ages == ([2][MaxAge]uint16{}) {
			delete(s, inum)
		}
	}
}

// Buckets is how many mini-sockets a network namespace has, of those that
// tcp_max_tw_buckets allows.
type Buckets struct {
	NetNS    uint32
	TimeWait int
	Parked   int
	OfClient int    // how many of both belong to clients: these hold bind buckets too
	Refused  uint64 // only grows
	LastNone int64  // the last refusal, ns since the epoch; 0 if there was none
	Flow     *Flow
	Holders  []Holder // whose they are, as far as that is known, the most first
}

// Used is how many buckets are in use.
func (b *Buckets) Used() int { return b.TimeWait + b.Parked }

// Buckets appends the buckets of every network namespace to list, by inode number.
func (t *Table) Buckets(list []Buckets) []Buckets {
	start := len(list)
	at := make(map[uint32]int, len(t.netns))
	for inum, n := range t.netns {
		at[inum] = len(list)
		list = append(list, Buckets{NetNS: inum, Refused: n.refused, LastNone: n.refusedAt, Flow: n.view(t.now)})
	}
	sums := holdings{make(map[holderKey]*holding)}
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
		sums.add(i, g, g.TimeWait+g.Parked)
	}
	for i, holders := range sums.lists() {
		list[i].Holders = holders
	}
	slices.SortFunc(list[start:], func(a, b Buckets) int { return int(int64(a.NetNS) - int64(b.NetNS)) })
	return list
}
