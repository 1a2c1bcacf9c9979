package conn

import (
	"cmp"
	"slices"
	"strings"

	"github.com/twtrace/twtrace/internal/event"
)

// Holder is the processes of one name in one cgroup, and so of one unit or container, and
// how much of a limited resource they hold now.
type Holder struct {
	Process event.Proc // the one that holds most
	PIDs    int        // how many there are, about
	N       uint64     // sockets; 0 if that is not known
	Guessed uint64     // of these, those that are its by a guess (event.Inferred)
}

// holderKey names a holder of what has that index in a list.
type holderKey struct {
	at     int
	comm   string
	cgroup uint64
}

// holdings add up the groups that hold something.
type holdings struct {
	sums map[holderKey]*holding
}

type holding struct {
	Holder
	most  uint64
	alone int // processes with groups of their own
	crowd int // those that groups of many ever had, those with groups of their own included
	many  int // what these hold: at least one for each process that holds any
}

func (h *holdings) add(at int, g *group, n uint64) {
	if n == 0 || g.proc.Comm == "" {
		return
	}
	k := holderKey{at, g.proc.Comm, g.proc.Cgroup()}
	v := h.sums[k]
	if v == nil {
		v = &holding{Holder: Holder{Process: g.proc}}
		h.sums[k] = v
	}
	v.N += n
	v.Guessed += min(g.Guessed, n)
	if n > v.most {
		v.most, v.Process = n, g.proc
	}
	if g.pids == nil {
		v.alone++
		return
	}
	many, _ := g.pids.count()
	v.crowd, v.many = v.crowd+many, v.many+int(n)
}

// lists are the holders by index, those that hold most first.
func (h *holdings) lists() map[int][]Holder {
	out := make(map[int][]Holder)
	for k, v := range h.sums {
		if v.PIDs = v.alone; v.crowd > 0 {
			v.PIDs = min(v.crowd, v.alone+v.many)
		}
		out[k.at] = append(out[k.at], v.Holder)
	}
	for _, list := range out {
		sortHolders(list)
	}
	return out
}

func sortHolders(list []Holder) {
	slices.SortFunc(list, func(a, b Holder) int {
		return cmp.Or(cmp.Compare(b.N, a.N), strings.Compare(a.Process.Comm, b.Process.Comm), cmp.Compare(a.Process.PID, b.Process.PID))
	})
}

// hold sets who holds the ports of the destinations that have a flow.
func (t *Table) hold(list []Destination) {
	at := make(map[destKey]int)
	for i := range list {
		if v := &list[i]; v.Flow != nil {
			at[v.key()] = i
		}
	}
	if len(at) == 0 {
		return
	}
	sums := holdings{make(map[holderKey]*holding)}
	for _, g := range t.groups.all {
		if g == nil || g.key.role != event.Client || g.Alive() == 0 {
			continue
		}
		k := destKey{netns: g.key.netns, laddr: g.key.laddr, raddr: g.key.raddr, rport: g.key.rport}
		if i, ok := at[k]; ok {
			sums.add(i, g, g.Alive()-g.Bound)
		}
		if g.Bound == 0 {
			continue
		}
		if i, ok := at[destKey{netns: k.netns, laddr: k.laddr}]; ok {
			sums.add(i, g, g.Bound)
		}
	}
	for i, holders := range sums.lists() {
		list[i].Holders = holders
	}
	for k, i := range at {
		v := &list[i]
		if d := t.dests.get(t.dests.ids[k]); len(v.Holders) == 0 && t.total.GroupsRefused > 0 && d.flow != nil {
			v.Holders = d.flow.owners.list()
		}
		v.addWaiting()
	}
}

// key is the destination as the table names it.
func (d *Destination) key() destKey {
	k := destKey{netns: d.NetNS, laddr: d.Local.As16()}
	if d.Remote.IsValid() {
		k.raddr, k.rport = d.Remote.Addr().As16(), d.Remote.Port()
	}
	return k
}

// addWaiting counts those in SYN_SENT, which have no group.
func (d *Destination) addWaiting() {
	pids := make(map[string]map[uint32]struct{})
	for _, w := range d.SynSentBy {
		comm := w.Process.Comm
		i := slices.IndexFunc(d.Holders, func(h Holder) bool { return h.Process.Comm == comm })
		if i < 0 {
			i = len(d.Holders)
			d.Holders = append(d.Holders, Holder{Process: w.Process, PIDs: 1})
		}
		h := &d.Holders[i]
		if pids[comm] == nil {
			pids[comm] = make(map[uint32]struct{})
			if h.PIDs == 1 {
				pids[comm][h.Process.PID] = struct{}{}
			}
		}
		pids[comm][w.Process.PID] = struct{}{}
		h.N += w.N
		h.PIDs = max(h.PIDs, len(pids[comm]))
	}
	sortHolders(d.Holders)
}
