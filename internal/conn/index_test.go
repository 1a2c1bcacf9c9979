package conn

import (
	"hash/maphash"
	"math/rand/v2"
	"testing"
)

// TestIndex compares an index with a map, through growth, wrapped runs and shrinking.
func TestIndex(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	x, truth, keys := newIndex(maphash.MakeSeed()), make(map[uint64]uint32), make(map[uint32]uint64)
	is := func(id uint32, k uint64) bool { return keys[id] == k }
	for round := range 8 {
		for range 4000 {
			k := 1 + r.Uint64N(6000)
			i, ok := x.find(k, is)
			id, want := truth[k]
			if ok != want || ok && x.slots[i].id-1 != id {
				t.Fatalf("key %d: found %v, want %v", k, ok, want)
			}
			switch put := r.IntN(8) < 7 == (round%2 == 0); {
			case !ok && put:
				id := uint32(k)
				x.put(k, id)
				truth[k], keys[id] = id, k
			case ok && !put:
				x.removeAt(i)
				delete(truth, k)
			}
		}
		if x.n != len(truth) || x.n > len(x.slots)/4*3 {
			t.Fatalf("%d keys in %d slots, want %d", x.n, len(x.slots), len(truth))
		}
		for k, id := range truth {
			if i, ok := x.find(k, is); !ok || x.slots[i].id-1 != id {
				t.Fatalf("key %d is lost", k)
			}
		}
	}
	for k := range truth {
		i, _ := x.find(k, is)
		x.removeAt(i)
	}
	if x.n != 0 || len(x.slots) != minSlots {
		t.Errorf("emptied, it has %d keys in %d slots", x.n, len(x.slots))
	}
}
