package conn

import "math"

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
func (s *sketch) count() int {
	zeros := sketchBits
	for _, w := range s {
		for ; w != 0; w &= w - 1 {
			zeros--
		}
	}
	zeros = max(zeros, 1)
	return int(math.Round(sketchBits * math.Log(float64(sketchBits)/float64(zeros))))
}
