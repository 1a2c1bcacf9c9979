package record

import (
	"fmt"
	"maps"
	"slices"
)

// Limits are the limits of network namespaces that have the same ones.
type Limits struct {
	NetNS   []uint32          `json:"netns"`   // inode numbers
	Sysctls map[string]string `json:"sysctls"` // by name
}

// maxLimits bounds the bytes of limits in the header of a block, about. The
// namespaces that were not told of for longest make room for others: they are gone.
const maxLimits = maxHeader / 2

// limitsBook is what is known of the limits of namespaces.
type limitsBook struct {
	all  map[uint32]map[string]string
	news map[uint32]map[string]string // since the last block
	told map[uint32]uint64            // the turn when a namespace was told of last
	turn uint64
	size int // of all
}

// set takes down the limits of a namespace. They are not to be changed later.
func (b *limitsBook) set(netns uint32, sysctls map[string]string) {
	if b.all == nil {
		b.all, b.news = make(map[uint32]map[string]string), make(map[uint32]map[string]string)
		b.told = make(map[uint32]uint64)
	}
	b.turn++
	b.told[netns] = b.turn
	was, known := b.all[netns]
	if known && maps.Equal(was, sysctls) {
		return
	}
	if known {
		b.size -= sizeOf(was)
	}
	b.all[netns], b.news[netns] = sysctls, sysctls
	for b.size += sizeOf(sysctls); b.size > maxLimits; {
		b.forgetOldest()
	}
}

func (b *limitsBook) forgetOldest() {
	oldest, at := uint32(0), b.turn+1
	for netns, turn := range b.told {
		if turn < at {
			oldest, at = netns, turn
		}
	}
	b.size -= sizeOf(b.all[oldest])
	delete(b.all, oldest)
	delete(b.news, oldest)
	delete(b.told, oldest)
}

// sizeOf is what the limits of one namespace take in a header, at most.
func sizeOf(sysctls map[string]string) int {
	n := 32
	for name, value := range sysctls {
		n += len(name) + len(value) + 8
	}
	return n
}

// take returns what is new since the last call.
func (b *limitsBook) take() map[uint32]map[string]string {
	news := b.news
	b.news = make(map[uint32]map[string]string)
	return news
}

// groups words limits for a header, namespaces with the same ones together.
func groups(limits map[uint32]map[string]string) []Limits {
	var out []Limits
	at := make(map[string]int) // in out, by the limits in words
	for _, netns := range slices.Sorted(maps.Keys(limits)) {
		words := fmt.Sprint(limits[netns]) // in the order of the names
		i, ok := at[words]
		if !ok {
			i = len(out)
			at[words], out = i, append(out, Limits{Sysctls: limits[netns]})
		}
		out[i].NetNS = append(out[i].NetNS, netns)
	}
	return out
}
