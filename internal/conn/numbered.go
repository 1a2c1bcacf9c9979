package conn

// numbered keeps values under small numbers, from 1 on, and uses the number of one that
// is gone for the next.
type numbered[T any] struct {
	all  []*T // by number; nil if free
	free []uint32
}

// keep returns the number of v from now on.
func (n *numbered[T]) keep(v *T) uint32 {
	id := uint32(len(n.all))
	if last := len(n.free) - 1; last >= 0 {
		id, n.free = n.free[last], n.free[:last]
		n.all[id] = v
	} else {
		n.all = append(n.all, v)
	}
	return id
}

// release frees a number.
func (n *numbered[T]) release(id uint32) {
	n.all[id] = nil
	n.free = append(n.free, id)
}

// get returns the value of a number, nil for 0.
func (n *numbered[T]) get(id uint32) *T { return n.all[id] }
