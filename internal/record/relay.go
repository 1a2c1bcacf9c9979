package record

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/twtrace/twtrace/internal/event"
	"github.com/twtrace/twtrace/internal/output"
)

// CutOff is why a stream ends whose reader was too slow.
const CutOff = "reader too slow"

// Known is what a reader has to know of a recording who starts in its middle: its start
// record and the limits of network namespaces. The zero Known knows nothing.
type Known struct {
	Trace string
	Start json.RawMessage
	book  limitsBook
}

// Learn takes over what the header of the next block says.
func (k *Known) Learn(h *Header) {
	if k.Trace = h.Trace; len(h.Start) > 0 {
		k.Start = h.Start
	}
	for _, l := range h.Limits {
		for _, netns := range l.NetNS {
			k.book.set(netns, l.Sysctls)
			k.book.name(netns, l.Names[netns], netns == l.Home)
		}
	}
	k.book.news = make(map[uint32]map[string]string)
}

// Limits are those that are known now.
func (k *Known) Limits() []Limits {
	if len(k.book.all) == 0 {
		return nil
	}
	return k.book.groups(maps.Clone(k.book.all))
}

// Packer makes blocks of records that are not written by a Writer.
type Packer struct{ p *packer }

// NewPacker returns a Packer.
func NewPacker() (*Packer, error) {
	p, err := newPacker("", NotPlain, true)
	return &Packer{p}, err
}

// Add adds a record. It returns a block if that is full.
func (p *Packer) Add(e *event.Event) *Block {
	if e.Kind == event.Snapshot && e.New != event.TimeWait && e.New != event.StateNone {
		was := e.Kind
		e.Kind = event.Held
		defer func() { e.Kind = was }()
	}
	p.p.add(e)
	if !p.p.full() {
		return nil
	}
	return p.Take()
}

// Take returns a block of the records that were added since the last one; nil if there are
// none.
func (p *Packer) Take() *Block {
	if p.p.empty() {
		return nil
	}
	b := p.p.take()
	return &Block{b.Header, b.frame}
}

// Selector makes blocks of the records in others that a filter accepts.
type Selector struct {
	accepts func(*event.Event) bool
	dec     output.Decoder
	zstd    *zstd.Decoder
	enc     *zstd.Encoder
	raw     []byte
}

// NewSelector returns a Selector of what accepts returns true for.
func NewSelector(accepts func(*event.Event) bool) (*Selector, error) {
	s := &Selector{accepts: accepts}
	var err error
	if s.zstd, err = zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(maxRaw)); err != nil {
		return nil, fmt.Errorf("set up zstd: %w", err)
	}
	p, err := newPacker("", NotPlain, true)
	if err != nil {
		return nil, err
	}
	s.enc = p.enc
	return s, nil
}

// Close releases memory.
func (s *Selector) Close() { s.zstd.Close() }

// Select returns a block of the records of b that are accepted, which may be none.
func (s *Selector) Select(b *Block) (*Block, error) {
	if b.Records == 0 {
		return b, nil
	}
	raw, err := s.zstd.DecodeAll(b.Frame, s.raw[:0])
	if err != nil {
		return nil, fmt.Errorf("decompress a block: %w", err)
	}
	s.raw = raw
	out := &Block{Header: b.Header}
	var kept []byte
	out.Records = 0
	for line := range bytes.Lines(raw) {
		var e event.Event
		if s.dec.Decode(bytes.TrimSuffix(line, []byte{'\n'}), &e) != nil || !s.accepts(&e) {
			continue
		}
		kept = append(kept, line...)
		out.Records++
	}
	out.Raw, out.Frame = len(kept), s.enc.EncodeAll(kept, nil)
	return out, nil
}

// Relay writes a recording on to a reader, from a point in its middle. Its blocks count
// from there.
type Relay struct {
	w       io.Writer
	known   Header // of the first block
	blocks  int
	base    uint64
	records uint64
	buf     []byte
}

// NewRelay returns a Relay that starts behind so many records of the recording, with what
// is known there.
func NewRelay(w io.Writer, k *Known, limits []Limits, before uint64) *Relay {
	return &Relay{w: w, base: before, known: Header{Trace: k.Trace, Start: k.Start, Limits: limits, Clock: clock}}
}

// Put writes a block, in one write. It does not change b.
func (r *Relay) Put(b *Block) error { return r.put(b.Header, b.Frame) }

// Pulse writes a block that says how far the recording has come.
func (r *Relay) Pulse(at time.Time) error {
	at = at.UTC()
	return r.put(Header{First: &at, Last: &at}, nil)
}

// End writes the last block: why the stream ends, what the reader did not get of the
// recording, and its end record, if it has one.
func (r *Relay) End(why string, at time.Time, lost uint64, end json.RawMessage) error {
	at = at.UTC()
	h := Header{First: &at, Last: &at, Close: why, End: end}
	p, err := newPacker("", NotPlain, true)
	if err != nil {
		return err
	}
	if lost > 0 {
		p.add(&event.Event{Time: at.UnixNano(), Kind: event.Lost, Stage: event.StageQueue, Count: lost})
	}
	var e event.Event
	var dec output.Decoder
	if len(end) > 0 && dec.Decode(end, &e) == nil {
		p.add(&e)
	}
	if p.empty() {
		return r.put(h, p.packed(nil, nil))
	}
	b := p.take()
	h.Records, h.Raw, h.Lost = b.Records, b.Raw, b.Lost
	return r.put(h, b.frame)
}

func (r *Relay) put(h Header, frame []byte) error {
	if r.blocks == 0 {
		first := r.known
		h.Start, h.Clock, h.Limits, h.Read, h.ReadOld = first.Start, first.Clock, first.Limits, nil, nil
	}
	h.Trace, h.Part, h.Block, h.Base, h.Before = r.known.Trace, 1, r.blocks, r.base, r.base+r.records
	var err error
	if frame == nil {
		frame = emptyFrame
	}
	if r.buf, err = appendBlock(r.buf[:0], &h, frame); err != nil {
		return err
	}
	if _, err := r.w.Write(r.buf); err != nil {
		return err
	}
	r.blocks++
	r.records += h.Records
	return nil
}

// emptyFrame is a zstd frame of nothing.
var emptyFrame = []byte{0x28, 0xb5, 0x2f, 0xfd, 0x20, 0x00, 0x01, 0x00, 0x00}
