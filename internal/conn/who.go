package conn

import (
	"bytes"
	"cmp"
	"slices"

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

// holder has its name by value, so that many who take turns cost no memory.
type holder struct {
	comm [16]byte // TASK_COMM_LEN
	pid  uint32
	who  *event.Who
	n    uint64
	pids [4]uint64 // a small sketch of how many
}

func (w *who) credit(p event.Proc) {
	if !p.Known() {
		return
	}
	comm, cgroup := commOf(p), p.Cgroup()
	least := 0
	for i := range w {
		if w[i].is(comm, cgroup) {
			least = i
			break
		}
		if w[i].n < w[least].n {
			least = i
		}
	}
	h := &w[least]
	if !h.is(comm, cgroup) {
		h.pids, h.comm = [4]uint64{}, comm
	}
	h.n++
	h.pid, h.who = p.PID, p.Who
	bit := p.PID * 0x9E3779B1 >> 24
	h.pids[bit/64] |= 1 << (bit % 64)
}

// commOf is the name of p, as much of it as the kernel has.
func commOf(p event.Proc) (comm [16]byte) {
	copy(comm[:], p.Comm)
	return comm
}

// is reports whether the processes of that name and cgroup are h.
func (h *holder) is(comm [16]byte, cgroup uint64) bool {
	return h.n > 0 && h.comm == comm && event.Proc{Who: h.who}.Cgroup() == cgroup
}

func (w *who) has(p event.Proc) bool {
	comm, cgroup := commOf(p), p.Cgroup()
	return slices.ContainsFunc(w[:], func(h holder) bool { return h.is(comm, cgroup) })
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
			name, _, _ := bytes.Cut(h.comm[:], []byte{0})
			out = append(out, Holder{Process: event.Proc{PID: h.pid, Comm: string(name), Who: h.who}, PIDs: Distinct(h.pids[:]), N: h.n})
		}
	}
	slices.SortStableFunc(out, func(a, b Holder) int { return cmp.Compare(b.N, a.N) })
	return out
}
