package metrics

import (
	"cmp"
	"slices"

	"github.com/twtrace/twtrace/internal/conn"
	"github.com/twtrace/twtrace/internal/event"
)

// pour adds what has happened to the counters: of owners with series to their own, of all
// others to those of _other.
func (o *owners) pour(s *conn.Snapshot) {
	o.kinds = 0
	for _, w := range o.list {
		to := w
		if !w.member {
			to = o.other[w.key.role]
			to.open += w.open
			to.tw += w.tw
			for i, n := range w.delta {
				to.delta[i] += n
			}
			for _, f := range w.failDeltas {
				to.failDeltas = fail(to.failDeltas, f)
			}
			continue
		}
		o.kinds += len(w.fails)
	}
	o.pourFailures(s)
	cells := make([]*owner, 0, len(o.list)+len(o.other))
	for _, w := range o.list {
		if w.member {
			cells = append(cells, w)
		}
	}
	cells = append(cells, o.other[:]...)
	for i, f := range families {
		grown := int64(f.total(&s.Totals.Counters)-f.total(&o.before)) - o.owed[i]
		o.owed[i] = balance(cells, f.from, f.to, grown, &o.other[event.RoleNone].delta[f.from])
	}
	for _, w := range cells {
		for i, n := range w.delta {
			w.count[i] += uint64(n)
		}
	}
}

// balance makes the deltas of counters from to to sum up to grown, and none of them
// negative. A group of connections may have counted less than before: when the owner of a
// young connection becomes better known, its opening moves to another group. It stays
// where it was counted, then, and the other group has one less. What no group has counted
// (of groups that came and went between two samples) is rest's. It returns by how much
// the sum exceeds grown all the same.
func balance(cells []*owner, from, to int, grown int64, rest *int64) (owed int64) {
	var sum int64
	for _, w := range cells {
		for _, n := range w.delta[from:to] {
			sum += n
		}
	}
	*rest += grown - sum
	for _, w := range cells {
		for i := from; i < to; i++ {
			if n := w.delta[i]; n < 0 {
				w.delta[i] = 0
				owed += take(cells, from, to, -n, w)
			}
		}
	}
	return owed
}

// take takes n off the deltas that are above zero, those of w and of its role first, and
// of these the largest first. It returns what is left.
func take(cells []*owner, from, to int, n int64, w *owner) int64 {
	type cell struct {
		near  int
		delta *int64
	}
	var list []cell
	for _, c := range cells {
		for i := from; i < to; i++ {
			if c.delta[i] > 0 {
				list = append(list, cell{btoi(c == w)*2 + btoi(c.key.role == w.key.role), &c.delta[i]})
			}
		}
	}
	slices.SortStableFunc(list, func(a, b cell) int { return cmp.Or(cmp.Compare(b.near, a.near), cmp.Compare(*b.delta, *a.delta)) })
	for _, c := range list {
		off := min(n, *c.delta)
		*c.delta -= off
		n -= off
	}
	return n
}

// pourFailures adds the failures to the counters, and those that no group has to _other.
func (o *owners) pourFailures(s *conn.Snapshot) {
	var sum uint64
	for _, w := range o.list {
		if !w.member {
			continue
		}
		for _, f := range w.failDeltas {
			sum += f.n
			o.count(w, f)
		}
	}
	for _, w := range o.other {
		for _, f := range w.failDeltas {
			sum += f.n
			w.fails = fail(w.fails, f)
		}
	}
	if grown := s.Totals.Fails.Total() - o.before.Fails.Total(); grown > sum {
		w := o.other[event.RoleNone]
		w.fails = fail(w.fails, failure{rest: true, n: grown - sum})
	}
}

// count counts failures of an owner with series, as long as there is room for another kind.
func (o *owners) count(w *owner, f failure) {
	known := slices.ContainsFunc(w.fails, func(g failure) bool { return g.same(&f) })
	if !known && o.kinds >= maxFailures*o.most {
		to := o.other[w.key.role]
		to.fails = fail(to.fails, f)
		o.failsFolded += f.n
		return
	}
	if !known {
		o.kinds++
	}
	w.fails = fail(w.fails, f)
}
