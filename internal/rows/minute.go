package rows

import "time"

// The last minute in spans of five seconds. The last span is not over.
const (
	MinuteBins = 12
	minuteSpan = int64(time.Minute) / MinuteBins
)

// minute is TIME_WAIT of a group in the last minute. The zero minute has seen none.
type minute struct {
	bins [MinuteBins]uint32
	last int64 // the number of the last span
}

// add notes that there were n at a time. A span without a sample has the value of the
// sample before it.
func (m *minute) add(at int64, n uint64) {
	span := at / minuteSpan
	if m.last == 0 {
		m.last = span
	}
	for range min(span-m.last, MinuteBins) {
		copy(m.bins[:], m.bins[1:])
	}
	m.last = max(m.last, span)
	m.bins[MinuteBins-1] = uint32(min(n, 1<<31))
}
