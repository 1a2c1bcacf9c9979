package record

import (
	"fmt"
	"slices"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/twtrace/twtrace/internal/event"
	"github.com/twtrace/twtrace/internal/output"
)

// block is compressed records.
type block struct {
	Header // without Part and Block, which the file sets
	frame  []byte
	limits map[uint32]map[string]string // the new ones
	all    map[uint32]map[string]string // all that were known at its end; nil: those that are known now
	read   Read                         // when they were read
}

// packer collects records and makes blocks of them.
type packer struct {
	enc     *zstd.Encoder // nil if plain
	json    output.Encoder
	plain   Plain
	raw     []byte
	started time.Time // when the first record of the block came
	h       Header    // of the block that is being filled
	first   int64
	last    int64
	lost    map[string]uint64
	past    uint64 // bytes of records in the blocks so far
	frame   []byte // memory of the last frame, for the next one; nil if frames are kept
	keeps   bool   // whether frames are kept
}

func newPacker(trace string, plain Plain, keeps bool) (*packer, error) {
	p := &packer{plain: plain, keeps: keeps, h: Header{Trace: trace}, raw: make([]byte, 0, blockBytes+8<<10), lost: make(map[string]uint64)}
	if plain != NotPlain {
		return p, nil
	}
	var err error
	// The next level takes 15 % more time and 5 % more space: what repeats is close by.
	p.enc, err = zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithEncoderLevel(zstd.SpeedFastest),
		zstd.WithWindowSize(1<<19), zstd.WithLowerEncoderMem(true), zstd.WithZeroFrames(true))
	if err != nil {
		return nil, fmt.Errorf("set up zstd: %w", err)
	}
	return p, nil
}

// add adds a record, or a fact that only trace files contain.
func (p *packer) add(e *event.Event) {
	if p.plain == CSV && !e.Kind.Record() {
		return
	}
	if e.Kind == event.Lost {
		p.lost[e.Stage.String()] += e.Count
	}
	if p.h.Records == 0 {
		p.first, p.last = e.Time, e.Time
	}
	p.first, p.last = min(p.first, e.Time), max(p.last, e.Time)
	p.h.Records++
	if p.plain == CSV {
		p.raw = output.AppendCSV(p.raw, e)
		return
	}
	p.raw = append(p.json.AppendJSON(p.raw, e), '\n')
}

func (p *packer) empty() bool { return p.h.Records == 0 }

func (p *packer) full() bool { return len(p.raw) >= blockBytes }

// take compresses what was collected, which may be nothing, and starts the next block.
// The frame is valid until the next call, unless frames are kept.
func (p *packer) take() block {
	b := block{Header: p.h}
	if !p.empty() {
		first, last := time.Unix(0, p.first).UTC(), time.Unix(0, p.last).UTC()
		b.First, b.Last = &first, &last
	}
	if len(p.lost) > 0 {
		b.Lost = make(map[string]uint64, len(p.lost))
		for stage, n := range p.lost {
			b.Lost[stage] = n
		}
	}
	b.Raw = len(p.raw)
	b.frame = p.packed(p.frame[:0], p.raw)
	if !p.keeps {
		p.frame = b.frame
	}
	p.past += uint64(len(p.raw))
	p.h = Header{Trace: p.h.Trace, Before: p.h.Before + p.h.Records}
	p.raw = p.raw[:0]
	if cap(p.raw) > 2*blockBytes { // one giant record must not keep its memory
		p.raw = make([]byte, 0, blockBytes+8<<10)
	}
	return b
}

// packed appends records as they are in a file.
func (p *packer) packed(dst, raw []byte) []byte {
	if p.plain != NotPlain {
		return append(dst, raw...)
	}
	return p.enc.EncodeAll(raw, slices.Grow(dst, len(raw)/8+64))
}
