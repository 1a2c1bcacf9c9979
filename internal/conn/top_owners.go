package conn

import (
	"bytes"
	"cmp"
	"slices"

	"github.com/twtrace/twtrace/internal/event"
)

// topOwners are the few owners that open most, by comm and cgroup. A new one replaces
// the one with the smallest count and goes on from there (space saving): the owner that
// opens most is always among them, and no count is too low. They stand in for the groups
// where connections found no room for one.
type topOwners [4]holder

// holder has its name by value, so that many owners that take turns cost no memory.
type holder struct {
	comm [16]byte // TASK_COMM_LEN
	pid  uint32
	who  *event.Who
	n    uint64
	pids PIDSketch
}

func (o *topOwners) credit(p event.Proc) {
	if !p.Known() {
		return
	}
	comm, cgroup := commOf(p), p.Cgroup()
	least := 0
	for i := range o {
		if o[i].is(comm, cgroup) {
			least = i
			break
		}
		if o[i].n < o[least].n {
			least = i
		}
	}
	h := &o[least]
	if !h.is(comm, cgroup) {
		h.pids, h.comm = PIDSketch{}, comm
	}
	h.n++
	h.pid, h.who = p.PID, p.Who
	h.pids.Add(p.PID)
}

// commOf is the name of p, as much of it as the kernel has.
func commOf(p event.Proc) (comm [16]byte) {
	copy(comm[:], p.Comm)
	return comm
}

// is reports whether h is the owner of that name and cgroup.
func (h *holder) is(comm [16]byte, cgroup uint64) bool {
	return h.n > 0 && h.comm == comm && event.Proc{Who: h.who}.Cgroup() == cgroup
}

func (o *topOwners) fade() {
	for i := range o {
		o[i].n = (o[i].n + 1) / 2
	}
}

// list has the owners without a count of what they hold, which nobody knows.
func (o *topOwners) list() []Holder {
	known := slices.DeleteFunc(slices.Clone(o[:]), func(h holder) bool { return h.n == 0 })
	slices.SortStableFunc(known, func(a, b holder) int { return cmp.Compare(b.n, a.n) })
	out := make([]Holder, 0, len(known))
	for _, h := range known {
		name, _, _ := bytes.Cut(h.comm[:], []byte{0})
		out = append(out, Holder{Process: event.Proc{PID: h.pid, Comm: string(name), Who: h.who}, PIDs: h.pids.Count()})
	}
	return out
}
