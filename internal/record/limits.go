package record

import (
	"fmt"
	"maps"
	"slices"
	"time"
)

// Limits are limits that one or more network namespaces have in common.
type Limits struct {
	NetNS   []uint32          `json:"netns"`           // inode numbers
	Names   map[uint32]string `json:"names,omitempty"` // of those that have a name
	Home    uint32            `json:"home,omitempty"`  // the one of them whose commands need no prefix; 0: none of them
	Sysctls map[string]string `json:"sysctls"`         // by name
}

// Read says when limits were read that differ from those before. Both are zero if that is
// not known.
type Read struct {
	At     time.Time
	Before time.Time // the reading before, which had other ones
}

// maxLimits is approximately the maximum size of the limits in the header of a block, in
// bytes. Beyond it, the namespaces that were set least recently are forgotten: they are
// gone.
const maxLimits = maxHeader / 2

// limitsBook holds the known limits of namespaces.
type limitsBook struct {
	all     map[uint32]map[string]string
	news    map[uint32]map[string]string // since the last block
	lastSet map[uint32]uint64            // the turn when a namespace was last set
	turn    uint64
	size    int               // of all
	names   map[uint32]string // of those of all that have a name
	home    uint32
	read    Read // the last one
	newest  Read // that of news
}

// set stores the limits of a namespace. The caller must not change the map later.
func (b *limitsBook) set(netns uint32, sysctls map[string]string) {
	if b.all == nil {
		b.all, b.news = make(map[uint32]map[string]string), make(map[uint32]map[string]string)
		b.lastSet = make(map[uint32]uint64)
	}
	b.turn++
	b.lastSet[netns] = b.turn
	was, known := b.all[netns]
	if known && maps.Equal(was, sysctls) {
		return
	}
	if known {
		b.size -= sizeOf(was)
	}
	b.all[netns] = sysctls
	b.new(netns)
	for b.size += sizeOf(sysctls); b.size > maxLimits; {
		b.forgetOldest()
	}
}

func (b *limitsBook) forgetOldest() {
	oldest, at := uint32(0), b.turn+1
	for netns, turn := range b.lastSet {
		if turn < at {
			oldest, at = netns, turn
		}
	}
	b.size -= sizeOf(b.all[oldest]) + len(b.names[oldest])
	delete(b.all, oldest)
	delete(b.news, oldest)
	delete(b.lastSet, oldest)
	delete(b.names, oldest)
}

// name stores the name of a namespace whose limits are known.
func (b *limitsBook) name(netns uint32, name string, home bool) {
	if b.all[netns] == nil || b.names[netns] == name && (b.home == netns) == home {
		return
	}
	if b.names == nil {
		b.names = make(map[uint32]string)
	}
	b.size += len(name) - len(b.names[netns])
	b.names[netns] = name
	if home {
		b.home = netns
	}
	b.new(netns)
}

// new puts a namespace into the news. They may be of several readings.
func (b *limitsBook) new(netns uint32) {
	if len(b.news) == 0 {
		b.newest.Before = b.read.Before
	}
	b.newest.At = b.read.At
	b.news[netns] = b.all[netns]
}

// sizeOf is the maximum size of the limits of one namespace in a header, in bytes.
func sizeOf(sysctls map[string]string) int {
	n := 32
	for name, value := range sysctls {
		n += len(name) + len(value) + 8
	}
	return n
}

// due reports whether there are news that no record took along for a time.
func (b *limitsBook) due(now time.Time, after time.Duration) bool {
	return len(b.news) > 0 && !b.newest.At.IsZero() && now.Sub(b.newest.At) >= after
}

// take returns what is new since the last call, and when it was read.
func (b *limitsBook) take() (map[uint32]map[string]string, Read) {
	news := b.news
	b.news = make(map[uint32]map[string]string)
	return news, b.newest
}

// groups returns limits for a header; namespaces with equal limits share an entry.
func (b *limitsBook) groups(limits map[uint32]map[string]string) []Limits {
	var out []Limits
	at := make(map[string]int) // in out, by the limits as text
	for _, netns := range slices.Sorted(maps.Keys(limits)) {
		words := fmt.Sprint(limits[netns]) // in the order of the names
		i, ok := at[words]
		if !ok {
			i = len(out)
			at[words], out = i, append(out, Limits{Sysctls: limits[netns]})
		}
		l := &out[i]
		l.NetNS = append(l.NetNS, netns)
		if name := b.names[netns]; name != "" {
			if l.Names == nil {
				l.Names = make(map[uint32]string)
			}
			l.Names[netns] = name
		}
		if netns == b.home {
			l.Home = netns
		}
	}
	return out
}
