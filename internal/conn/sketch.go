package conn

import (
	"math"
	"math/bits"
)

// sketchBits is the size of a sketch: 512 bytes, which estimates up to some
// 20,000 distinct values within a few percent.
const sketchBits = 4096

// sketch counts distinct values by linear counting. Only the few groups that need
// one have it: those of many processes, or of many clients.
type sketch [sketchBits / 64]uint64

func (s *sketch) add(hash uint64) {
	hash %= sketchBits
	s[hash/64] |= 1 << (hash % 64)
}

// count is the estimate; once all bits are set, there were at least so many.
func (s *sketch) count() int { return distinct(s[:]) }

// PIDSketch estimates how many distinct processes there were, up to some hundred,
// within a third, in 32 bytes. The zero PIDSketch is empty.
type PIDSketch [4]uint64

// Add counts the process of that id.
func (s *PIDSketch) Add(pid uint32) {
	bit := pid * 0x9E3779B1 >> 24 // Fibonacci hashing
	s[bit/64] |= 1 << (bit % 64)
}

// Merge counts the processes of o too.
func (s *PIDSketch) Merge(o *PIDSketch) {
	for i := range s {
		s[i] |= o[i]
	}
}

// Count is the estimate.
func (s *PIDSketch) Count() int { return distinct(s[:]) }

// distinct estimates how many distinct values have each set a random bit of words.
func distinct(words []uint64) int {
	size := 64 * len(words)
	zeros := size
	for _, w := range words {
		zeros -= bits.OnesCount64(w)
	}
	return int(math.Round(float64(size) * math.Log(float64(size)/float64(max(zeros, 1)))))
}
