package metrics

import (
	"cmp"
	"math"
	"slices"
	"time"

	"github.com/twtrace/twtrace/internal/event"
)

// When an owner gives up its series to another. Until then it keeps it, so that counters
// do not jump.
const (
	retireAfter = 15 * time.Minute // without a connection in the table, and then only if the room is needed
	stayAtLeast = 5 * time.Minute  // before a much larger owner may have its place
	muchLarger  = 4                // times
	replaceOnce = 30 * time.Second // one owner for another, at most
	halfLife    = time.Minute      // of what happened, as to how large an owner is
)

// weigh updates the sizes of the owners, and forgets those without series that the table
// has no group of.
func (o *owners) weigh(now int64) {
	fade := 1.0
	if past := time.Duration(now - o.at); o.at != 0 && past > 0 {
		fade = math.Exp2(-past.Seconds() / halfLife.Seconds())
	}
	o.list = slices.DeleteFunc(o.list, func(w *owner) bool {
		if !w.member && !w.seen {
			delete(o.all, w.key)
			return true
		}
		w.size *= fade
		w.size += float64(max(w.delta[countOpened], 0))
		for _, f := range w.failDeltas {
			w.size += float64(f.n)
		}
		return false
	})
}

// rank says how large an owner is: what it holds, and what it did in the last minute or so.
func (w *owner) rank() float64 { return w.size + float64(w.alive) }

// choose gives series to owners: to the largest of those that have none, as long as there
// is room; then in place of those that are gone, and at last of one that is much smaller.
func (o *owners) choose(now int64) {
	members := 0
	for members < len(o.list) && o.list[members].member {
		members++
	}
	rest := o.list[members:]
	if o.basic || len(rest) == 0 {
		return
	}
	slices.SortFunc(rest, func(a, b *owner) int { return cmp.Or(cmp.Compare(b.rank(), a.rank()), a.key.compare(b.key)) })
	if over := members + len(rest) - o.most; over > 0 && o.retireIdle(now, over) == 0 {
		o.retireSmall(now, rest)
	}
	members = 0
	for _, w := range o.list {
		if w.member {
			members++
		}
	}
	for _, w := range rest {
		switch {
		case members < o.most:
			w.member, w.since, w.folded = true, now, false
			o.name(w)
			o.expect(w)
			members++
		case !w.folded:
			w.folded = true
			o.folded++
		}
	}
	// The order in which series were given stays; owners that have none come last.
	slices.SortStableFunc(o.list, func(a, b *owner) int {
		return cmp.Compare(btoi(b.member), btoi(a.member))
	})
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

// retireIdle takes the series of up to n owners that have been gone for long, those that
// went first before others, and returns of how many.
func (o *owners) retireIdle(now int64, n int) int {
	var idle []*owner
	for _, w := range o.list {
		if w.member && now-w.last >= int64(retireAfter) {
			idle = append(idle, w)
		}
	}
	slices.SortStableFunc(idle, func(a, b *owner) int { return cmp.Compare(a.last, b.last) })
	idle = idle[:min(n, len(idle))]
	for _, w := range idle {
		o.retire(w)
	}
	return len(idle)
}

// retireSmall takes the series of the smallest owner if the largest that has none is much
// larger, once in a while.
func (o *owners) retireSmall(now int64, rest []*owner) {
	if o.replaced != 0 && now-o.replaced < int64(replaceOnce) {
		return
	}
	var least *owner
	for _, w := range o.list {
		if w.member && now-w.since >= int64(stayAtLeast) && (least == nil || w.rank() < least.rank()) {
			least = w
		}
	}
	if least != nil && rest[0].rank() >= muchLarger*(least.rank()+1) {
		o.retire(least)
		o.replaced = now
	}
}

// retire takes the series of an owner. What it counted stays in the sums; what it counts
// from now on is that of others.
func (o *owners) retire(w *owner) {
	w.member, w.folded = false, false
	for i, f := range families {
		for c := f.from; c < f.to; c++ {
			o.retired[i] += w.count[c]
		}
	}
	for _, f := range w.fails {
		o.gone += f.n
	}
	o.kinds -= len(w.fails)
	w.count, w.fails, w.labels, w.byCloser = [counts]uint64{}, nil, nil, [event.BothSides + 1]pairs{}
}
