package conn

import (
	"math"
	"math/bits"
)

// sketchBits is the size of a sketch: 512 bytes, which estimates up to some
// 20,000 distinct values within a few percent.
const sketchBits = 4096

// sketch counts distinct values by linear counting. It is made for the few
// groups that need it: one of many processes, or one of many clients.
type sketch [sketchBits / 64]uint64

func (s *sketch) add(hash uint64) {
	hash %= sketchBits
	s[hash/64] |= 1 << (hash % 64)
}

// count is the estimate; it says how many were at least there once the bits are used up.
func (s *sketch) count() int { return Distinct(s[:]) }

// Distinct is how many distinct values have each set a random bit of words, about.
func Distinct(words []uint64) int {
	size := 64 * len(words)
	zeros := size
	for _, w := range words {
		zeros -= bits.OnesCount64(w)
	}
	return int(math.Round(float64(size) * math.Log(float64(size)/float64(max(zeros, 1)))))
}
