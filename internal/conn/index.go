package conn

import (
	"hash/maphash"
	"math/bits"
)

// index finds the number of a key, with linear probing, in eight bytes a slot: a map
// would take thrice that, and grow under churn, since deleted keys leave marks in it.
// The caller keeps the keys themselves.
type index struct {
	seed  maphash.Seed
	slots []slot // a power of two of them, at least a quarter empty
	n     int
}

type slot struct {
	hash uint32
	id   uint32 // plus one; 0: empty
}

// minSlots is the size of an empty index, and the smallest one.
const minSlots = 1024

func newIndex(seed maphash.Seed) index { return index{seed: seed, slots: make([]slot, minSlots)} }

func (x *index) hash(k uint64) uint32 { return uint32(maphash.Comparable(x.seed, k)) }

// after is the slot behind i, the first one behind the last.
func (x *index) after(i uint32) uint32 { return (i + 1) & uint32(len(x.slots)-1) }

func (x *index) home(hash uint32) uint32 { return hash & uint32(len(x.slots)-1) }

// find returns the slot of k, or the empty one where it would go; is reports whether
// a number has that key.
func (x *index) find(k uint64, is func(id uint32, k uint64) bool) (i uint32, found bool) {
	hash := x.hash(k)
	for i = x.home(hash); x.slots[i].id != 0; i = x.after(i) {
		if x.slots[i].hash == hash && is(x.slots[i].id-1, k) {
			return i, true
		}
	}
	return i, false
}

// put adds a key that is not there.
func (x *index) put(k uint64, id uint32) {
	if x.n >= len(x.slots)/4*3 {
		x.resize(2 * len(x.slots))
	}
	x.n++
	x.place(slot{x.hash(k), id + 1})
}

func (x *index) place(s slot) {
	i := x.home(s.hash)
	for x.slots[i].id != 0 {
		i = x.after(i)
	}
	x.slots[i] = s
}

// removeAt empties a slot, and closes the gap: later slots may belong there.
func (x *index) removeAt(gap uint32) {
	x.n--
	for i := x.after(gap); x.slots[i].id != 0; i = x.after(i) {
		// Not past its home: from there it would not be found.
		mask := uint32(len(x.slots) - 1)
		if (i-x.home(x.slots[i].hash))&mask >= (i-gap)&mask {
			x.slots[gap] = x.slots[i]
			gap = i
		}
	}
	x.slots[gap] = slot{}
	if len(x.slots) > minSlots && x.n < len(x.slots)/8 {
		x.resize(max(minSlots, 1<<bits.Len(uint(2*x.n))))
	}
}

func (x *index) resize(n int) {
	old := x.slots
	x.slots = make([]slot, n)
	for _, s := range old {
		if s.id != 0 {
			x.place(s)
		}
	}
}
