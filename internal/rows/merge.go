package rows

import (
	"hash/maphash"
	"net/netip"

	"github.com/twtrace/twtrace/internal/conn"
	"github.com/twtrace/twtrace/internal/event"
)

// keySeed is of the hashes by which rows find others that fall together with them.
var keySeed = maphash.MakeSeed()

// gathered is rows that are being merged.
type gathered struct {
	by     Grouping
	rows   []*Row
	merged []bool              // by row: it is a copy, and of more than one
	at     map[uint64]int32    // by the hash of its key, or, where that is taken, the next one
	had    map[member]struct{} // processes of the rows that are merged
}

// member is a process of a row.
type member struct {
	row   int32
	pid   uint32
	start uint64
}

// Group merges the rows that are one by g. It does not change them: it returns a given
// row where nothing is merged with it and its name stays, else a new one.
func Group(rows []*Row, g Grouping) []*Row {
	many, crowded := swarms(rows)
	t := gathered{by: g, rows: make([]*Row, 0, len(rows)), merged: make([]bool, 0, len(rows)), at: make(map[uint64]int32, len(rows))}
	for _, r := range rows {
		k, counted := r.ID, false
		if g != ByFlow || k == (Key{}) {
			k = r.KeyBy(g)
		}
		if r.Owner.Who != nil && len(many) > 0 {
			f := r.family()
			if g == ByFlow && many[f] {
				k = f
			}
			counted = g != ByProcess && crowded[f] && r.Kind != conn.GroupComm // by the crowd
		}
		t.add(r, k, counted)
	}
	return t.rows
}

// add merges r into the row of its key, or makes it one. The processes of r are not
// to be added if they are counted already.
func (t *gathered) add(r *Row, k Key, counted bool) {
	h := maphash.Comparable(keySeed, k)
	j, ok := t.at[h]
	for ; ok && t.rows[j].ID != k; j, ok = t.at[h] {
		h++
	}
	if !ok {
		t.at[h] = int32(len(t.rows))
		if label := r.labelBy(t.by); r.ID != k || r.Label != label || counted {
			v := *r
			v.Label, v.ID = label, k
			if counted {
				v.PIDs = 0
			}
			r = &v
		}
		t.rows, t.merged = append(t.rows, r), append(t.merged, false)
		return
	}
	into := t.rows[j]
	if !t.merged[j] {
		v := *into
		t.joins(j, into)
		into, t.rows[j], t.merged[j] = &v, &v, true
	}
	pids := into.PIDs
	into.merge(r, t.by)
	if !t.joins(j, r) || counted {
		into.PIDs = pids
	}
}

// joins counts the process of r among those of row j, and reports whether it is a new
// one. How many are new of a row of many is not known, and taken to be all.
func (t *gathered) joins(j int32, r *Row) bool {
	if r.Owner.PID == 0 {
		return true
	}
	if t.had == nil {
		t.had = make(map[member]struct{})
	}
	n := len(t.had)
	t.had[member{j, r.Owner.PID, r.Owner.Start()}] = struct{}{}
	return len(t.had) > n
}

// swarms are the families among rows whose flows are one: those that have many rows,
// and the crowded ones, with a row of many that counts the processes of all. Both are
// nil if there are none.
func swarms(rows []*Row) (many, crowded map[Key]bool) {
	sizes := make(map[uint64]int, len(rows)) // by hash: most families have one process
	found := false
	for _, r := range rows {
		switch {
		case r.Owner.Who == nil: // nothing says that they belong together
		case r.Kind == conn.GroupComm:
			found = true
		case r.Kind == conn.GroupProcess:
			h := maphash.Comparable(keySeed, r.family())
			sizes[h]++
			found = found || sizes[h] >= swarm
		}
	}
	if !found {
		return nil, nil
	}
	count := make(map[Key]int)
	many, crowded = make(map[Key]bool), make(map[Key]bool)
	for _, r := range rows {
		if r.Owner.Who == nil || r.Kind > conn.GroupComm {
			continue
		}
		f := r.family()
		if r.Kind == conn.GroupComm {
			crowded[f], many[f] = true, true
		} else if count[f]++; count[f] >= swarm {
			many[f] = true
		}
	}
	return many, crowded
}

// merge adds o to r. What differs is no longer known.
func (r *Row) merge(o *Row, g Grouping) {
	if o.Share() > r.Share() {
		r.Ports, r.Usable = o.Ports, o.Usable
	}
	r.Severity = max(r.Severity, o.Severity)
	r.TimeWait += o.TimeWait
	r.Parked += o.Parked
	r.Established += o.Established
	r.CloseWait += o.CloseWait
	r.Polled = r.Polled && o.Polled
	r.In += o.In
	r.Out += o.Out
	r.Open += o.Open
	r.Close += o.Close
	r.Fail += o.Fail
	r.Life.Merge(&o.Life)
	for i, n := range o.Minute {
		r.Minute[i] += n
	}
	for i, n := range o.Closer {
		r.Closer[i] += n
	}
	r.Total.Add(&o.Total)
	r.First = min(r.First, o.First)
	r.Recent = latest(r.Recent, o.Recent)
	if r.NetNS != o.NetNS {
		r.NetNS, r.Space = 0, ""
	}
	r.PIDs += o.PIDs
	r.About = r.About || o.About
	one := r.Kind == o.Kind && r.Owner.PID == o.Owner.PID && r.Owner.Start() == o.Owner.Start()
	r.mergeOwner(&o.Owner)
	if g == ByFlow {
		if !one { // a swarm
			r.Kind = conn.GroupComm
		}
		r.mergeClients(o)
		r.mergeLocal(o)
		return
	}
	r.PreStart = r.PreStart && o.PreStart
	if g == ByPeer {
		r.Owners += o.Owners
		r.mergeClients(o)
		r.mergeLocal(o)
		return
	}
	r.mergePeer(o)
}

// mergeOwner leaves of r's owner what o is too.
func (r *Row) mergeOwner(o *event.Proc) {
	if r.Owner.Comm != o.Comm {
		r.Owner.Comm = ""
	}
	if r.Owner.PID != o.PID {
		r.Owner.PID = 0
	}
	have, other := r.Owner.Who, o.Who
	if have == other {
		return
	}
	if have == nil || other == nil {
		r.Owner.Who = nil
		return
	}
	r.Owner.Who = have.Common(other)
}

// mergeClients leaves the larger number: the same clients may be in both.
func (r *Row) mergeClients(o *Row) {
	r.AtLeast = r.AtLeast || o.AtLeast || r.Clients > 0 && o.Clients > 0
	r.Clients = max(r.Clients, o.Clients)
}

// mergeLocal leaves of two local addresses the listener that has both.
func (r *Row) mergeLocal(o *Row) {
	if r.Local != o.Local && r.at() == o.at() {
		r.Local = r.at()
	}
}

// mergePeer leaves of where r's connections go to what o has too.
func (r *Row) mergePeer(o *Row) {
	r.Clients += o.Clients
	r.AtLeast = r.AtLeast || o.AtLeast
	if r.Role == o.Role && r.at() == o.at() && r.Remote == o.Remote {
		r.mergeLocal(o)
		return
	}
	r.Peers += o.Peers
	r.Listen = netip.AddrPort{}
	if r.Role != o.Role {
		r.Role = event.RoleNone
	}
	if r.Local != o.Local {
		r.Local = netip.AddrPort{}
	}
	if r.Remote != o.Remote {
		r.Remote = netip.AddrPort{}
	}
}

// latest merges two lists of closes, both with the latest first, and keeps as many as
// the longer one has.
func latest(a, b []conn.Closed) []conn.Closed {
	switch {
	case len(b) == 0, len(b) <= len(a) && b[0].Time <= a[len(a)-1].Time:
		return a
	case len(a) == 0:
		return b
	}
	out := make([]conn.Closed, max(len(a), len(b)))
	for i := range out {
		if len(b) == 0 || len(a) > 0 && a[0].Time >= b[0].Time {
			out[i], a = a[0], a[1:]
		} else {
			out[i], b = b[0], b[1:]
		}
	}
	return out
}
