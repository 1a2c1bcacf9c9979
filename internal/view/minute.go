package view

import "time"

// A row's sparkline: the last minute in spans of five seconds, the last one of which
// is not over.
const (
	sparkBins = 12
	sparkSpan = int64(time.Minute) / sparkBins
)

// minute is TIME_WAIT of a group in the last minute. The zero minute has seen none.
type minute struct {
	bins [sparkBins]uint32
	last int64 // the number of the last span
}

// add notes that there were n at a time. Spans without a look had what the look
// before them saw.
func (m *minute) add(at int64, n uint64) {
	span := at / sparkSpan
	if m.last == 0 {
		m.last = span
	}
	for range min(span-m.last, sparkBins) {
		copy(m.bins[:], m.bins[1:])
	}
	m.last = max(m.last, span)
	m.bins[sparkBins-1] = uint32(min(n, 1<<31))
}
