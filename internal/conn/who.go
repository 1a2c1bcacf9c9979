package conn

import (
	"cmp"
	"slices"
	"strings"

	"github.com/twtrace/twtrace/internal/event"
)

// Holder is a group of processes that hold part of a resource: those of one name in
// one cgroup, and so of one unit or container.
type Holder struct {
	Process event.Proc // the one seen last
	PIDs    int        // how many there were, about
	N       uint64     // connections opened of late; old ones fade
}

// who are the few that open most, by comm and cgroup. One that is not among them takes the
// place of the least, and its count (space saving), so that who opens most is
// there for certain, and its count at most too high.
type who [4]holder

type holder struct {
	proc event.Proc
	n    uint64
	pids [4]uint64 // a small sketch of how many
}

func (w *who) credit(p event.Proc) {
	if !p.Known() {
		return
	}
	least := 0
	for i := range w {
		if w[i].is(p) {
			least = i
			break
		}
		if w[i].n < w[least].n {
			least = i
		}
	}
	h := &w[least]
	if !h.is(p) {
		h.pids, h.proc.Comm = [4]uint64{}, strings.Clone(p.Comm)
	}
	h.n++
	h.proc.PID, h.proc.Who = p.PID, p.Who
	bit := p.PID * 0x9E3779B1 >> 24
	h.pids[bit/64] |= 1 << (bit % 64)
}

// is reports whether p is one of h.
func (h *holder) is(p event.Proc) bool {
	return h.n > 0 && h.proc.Comm == p.Comm && h.proc.Cgroup() == p.Cgroup()
}

func (w *who) has(p event.Proc) bool {
	for i := range w {
		if w[i].is(p) {
			return true
		}
	}
	return false
}

func (w *who) fade() {
	for i := range w {
		w[i].n = (w[i].n + 1) / 2
	}
}

func (w *who) list() []Holder {
	var out []Holder
	for _, h := range w {
		if h.n > 0 {
			out = append(out, Holder{Process: h.proc, PIDs: Distinct(h.pids[:]), N: h.n})
		}
	}
	slices.SortStableFunc(out, func(a, b Holder) int { return cmp.Compare(b.N, a.N) })
	return out
}
