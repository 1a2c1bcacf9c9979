package agent

import (
	"sync"
	"time"

	"github.com/twtrace/twtrace/internal/record"
)

// past is the last part of a recording, in compressed blocks. It is cut into segments, each
// of which a reader can start with, and the oldest of which is dropped when it is beyond
// the bounds.
type past struct {
	length time.Duration
	bytes  int64

	mu       sync.Mutex
	segments []*segment
	size     int64 // of all blocks and cuts that are packed
	end64    int64 // bytes of all blocks that ever were added
	records  uint64
	heard    time.Time // how far the recording has come
	dropped  droppedStatus
	grown    chan struct{} // closed when something comes
	over     bool
}

// segment is a part of the past. Blocks are only added; a place in it stays what it is.
type segment struct {
	cut     *cut
	from    time.Time
	blocks  []placed
	size    int64
	counted int64 // of cut, in the size of the past
	next    *segment
	gone    bool
}

type placed struct {
	*record.Block
	end int64 // in all bytes, where the block ends
}

// place is a block of the past: the next that a reader gets.
type place struct {
	segment *segment
	index   int
}

// How long and how large a segment is at most, in shares of the past.
const (
	segments   = 8
	minSegment = 5 * time.Second
)

func newPast(length time.Duration, bytes int64) *past {
	return &past{length: length, bytes: bytes, grown: make(chan struct{})}
}

// time is when a block was written.
func (p *past) time(b *record.Block) time.Time {
	if b.Last != nil && b.Last.After(p.heard) {
		return *b.Last
	}
	return p.heard
}

// full reports whether a block starts a new segment.
func (p *past) full(b *record.Block, at time.Time) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.segments) == 0 {
		return true
	}
	s := p.segments[len(p.segments)-1]
	return b.Records > 0 && len(s.blocks) > 0 && (at.Sub(s.from) >= max(p.length/segments, minSegment) || s.size >= p.bytes/segments)
}

// turn starts a segment.
func (p *past) turn(c *cut, at time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := &segment{cut: c, from: at}
	if n := len(p.segments); n > 0 {
		p.segments[n-1].next = s
	}
	c.first, c.before = place{s, 0}, p.records
	p.segments = append(p.segments, s)
}

// add adds a block to the last segment, and drops the oldest ones that are beyond the
// bounds. A block with nothing in it only says what time it is.
func (p *past) add(b *record.Block, at time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.heard = at
	if b.Records > 0 || len(b.Limits) > 0 || b.Close != "" {
		s := p.segments[len(p.segments)-1]
		n := int64(len(b.Frame))
		p.end64 += n
		p.records += b.Records
		s.blocks = append(s.blocks, placed{b, p.end64})
		s.size, p.size = s.size+n, p.size+n
	}
	p.count()
	for len(p.segments) > 1 && (p.size > p.bytes || !p.segments[1].from.After(at.Add(-p.length))) {
		p.drop()
	}
	close(p.grown)
	p.grown = make(chan struct{})
}

// count adds the cuts to the size that are packed by now.
func (p *past) count() {
	for _, s := range p.segments {
		select {
		case <-s.cut.packed:
			p.size += s.cut.size - s.counted
			s.counted = s.cut.size
		default:
		}
	}
}

func (p *past) drop() {
	s := p.segments[0]
	s.gone = true
	p.segments[0] = nil
	p.segments = p.segments[1:]
	p.size -= s.size + s.counted
	p.dropped.Segments++
	p.dropped.Bytes += s.size
	for _, b := range s.blocks {
		p.dropped.Records += b.Records
	}
}

// last is the place of a block that was just added, or where the next one will be, and how
// many records are before it.
func (p *past) last(b *record.Block) (place, uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.segments[len(p.segments)-1]
	n := len(s.blocks)
	if n > 0 && s.blocks[n-1].Block == b {
		return place{s, n - 1}, p.records - b.Records
	}
	return place{s, n}, p.records
}

// since is the newest cut from which on nothing is missing of the last part of a length, and
// the oldest that there is if that is too long; nil if there is none yet.
func (p *past) since(length time.Duration) *cut {
	p.mu.Lock()
	defer p.mu.Unlock()
	var c *cut
	for _, s := range p.segments {
		if c != nil && s.from.After(p.heard.Add(-length)) {
			break
		}
		c = s.cut
	}
	return c
}

// next is the block at a place, and how far the recording has come.
func (p *past) next(at *place) (b *record.Block, n next) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for at.index >= len(at.segment.blocks) && at.segment.next != nil {
		*at = place{at.segment.next, 0}
	}
	has := at.index < len(at.segment.blocks)
	n = next{heard: p.heard, grown: p.grown, over: p.over, total: p.end64, records: p.records, gone: has && at.segment.gone}
	if n.gone || !has {
		return nil, n
	}
	found := at.segment.blocks[at.index]
	at.index++
	n.end = found.end
	return found.Block, n
}

// next is what a reader learns with a block, or where there is none.
type next struct {
	heard   time.Time
	grown   <-chan struct{}
	over    bool
	gone    bool   // the past has dropped the block
	end     int64  // of the block, in all bytes
	total   int64  // bytes so far
	records uint64 // of the recording, so far
}

// end says that no block comes any more.
func (p *past) end() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.over = true
	close(p.grown)
	p.grown = make(chan struct{})
}

// status is what is in the past.
func (p *past) status() pastStatus {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := pastStatus{Bytes: p.size, MaxBytes: p.bytes, MaxS: p.length.Seconds(), Records: p.records - p.dropped.Records, Segments: len(p.segments), Dropped: p.dropped}
	if len(p.segments) > 0 {
		s.From = jsonTime(p.segments[0].from)
		s.LengthS = p.heard.Sub(p.segments[0].from).Seconds()
	}
	s.To = jsonTime(p.heard)
	return s
}
