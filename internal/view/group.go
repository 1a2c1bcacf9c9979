package view

import (
	"hash/maphash"

	"github.com/twtrace/twtrace/internal/conn"
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

// group merges the rows that are one by g. It does not change them: what is returned is
// a row of those given, if that stands alone and is as it was, else a new one.
func group(rows []*Row, g Grouping) []*Row {
	many, crowded := swarms(rows)
	t := gathered{by: g, rows: make([]*Row, 0, len(rows)), merged: make([]bool, 0, len(rows)), at: make(map[uint64]int32, len(rows))}
	for _, r := range rows {
		k, counted := r.id, false
		if g != ByFlow || k == (rowKey{}) {
			k = r.key(g)
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
func (t *gathered) add(r *Row, k rowKey, counted bool) {
	h := maphash.Comparable(keySeed, k)
	j, ok := t.at[h]
	for ; ok && t.rows[j].id != k; j, ok = t.at[h] {
		h++
	}
	if !ok {
		t.at[h] = int32(len(t.rows))
		if label := r.labelBy(t.by); r.id != k || r.Label != label || counted {
			v := *r
			v.Label, v.id = label, k
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
func swarms(rows []*Row) (many, crowded map[rowKey]bool) {
	sizes := make(map[uint64]int, len(rows)) // by hash: most families are of one
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
	count := make(map[rowKey]int)
	many, crowded = make(map[rowKey]bool), make(map[rowKey]bool)
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
