package record

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/twtrace/twtrace/internal/event"
	"github.com/twtrace/twtrace/internal/output"
)

// Reader reads the events of one recording from its files, in the order in which they
// were written. It skips what is damaged, and lists it in Damage. It is not safe for
// concurrent use.
type Reader struct {
	Damage []Damage // so far; complete at the end

	// From makes Read skip blocks that end before it. The zero time: none.
	From time.Time

	// OnLimits is called with the limits of network namespaces, before Read returns the
	// records to which they apply. Files of format 1 and files without blocks have only
	// those of the start record.
	OnLimits func([]Limits, Read)

	// OnBlock is called with each block of a stream that Follow opened, before Read returns
	// its records and after it has returned all those of the blocks before; nil if nobody
	// asks.
	OnBlock func(*Block)

	// OnVitals is called with how the tracer of a stream is doing; nil if nobody asks. OnBlock
	// does not get that.
	OnVitals func(*event.Vitals)

	files   []*input
	dec     output.Decoder
	zstd    *zstd.Decoder
	raw     []byte // the memory of a block
	rest    []byte // of the block that is being read
	start   event.Event
	lost    *event.Event // to return before the rest
	end     *event.Event
	records uint64        // of the recording, up to the end of the last block
	known   bool          // whether records is known
	heard   time.Time     // how far the last block without records says that the recording has come
	left    chan struct{} // closed with the reader; nil unless it follows a stream
}

// input is one file.
type input struct {
	name   string
	file   *os.File // nil if it is stdin
	scan   *scanner
	plain  *plainReader // where there are no blocks
	first  Header
	next   pending
	over   string
	blocks chan scanned // of a stream that is followed; nil of a file
}

// pending is a block whose header was read ahead.
type pending struct {
	ready  bool
	h      Header
	frame  []byte
	damage *Damage
}

// Open opens the files of one recording, in any order; "-" is stdin. Errors name the
// file; a *NewerError is one of a later version. What is wrong further inside is in
// Damage.
func Open(names []string, stdin io.Reader) (*Reader, error) {
	r := &Reader{}
	var err error
	r.zstd, err = zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(maxRaw))
	if err != nil {
		return nil, fmt.Errorf("set up zstd: %w", err)
	}
	for _, name := range names {
		in, err := r.open(name, stdin)
		if err != nil {
			r.Close()
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		r.files = append(r.files, in)
	}
	if err := r.arrange(); err != nil {
		r.Close()
		return nil, err
	}
	return r, nil
}

// open reads the start of a file.
func (r *Reader) open(name string, stdin io.Reader) (*input, error) {
	in := &input{name: name}
	from := stdin
	if name != "-" {
		file, err := os.Open(name)
		if err != nil {
			return nil, errors.Unwrap(err)
		}
		in.file, from = file, file
	}
	in.scan = newScanner(from)
	if in.scan.fill(1); in.scan.err != nil {
		in.close()
		return nil, in.scan.err
	}
	if len(in.scan.win) == 0 {
		in.close()
		return nil, errors.New("it is empty")
	}
	if c := in.scan.win[0]; c == '{' {
		return in, r.openPlain(in)
	}
	zstdOnly := in.scan.fill(4) && bytes.HasPrefix(in.scan.win, []byte{0x28, 0xb5, 0x2f, 0xfd})
	h, frame, damage, err := in.scan.next()
	switch {
	case errors.Is(err, io.EOF):
		in.close()
		if zstdOnly {
			return nil, errors.New("it has no twtrace blocks; if it contains records: zstd -dc FILE | twtrace ... -r -")
		}
		return nil, errors.New("it is not a twtrace trace file, or it has no complete block")
	case err != nil:
		in.close()
		return nil, err
	}
	in.first, in.next = h, pending{true, h, slices.Clone(frame), damage}
	return in, r.checkSchema(h)
}

// checkSchema returns an error for records of a later schema, whose fields may mean
// something else.
func (r *Reader) checkSchema(h Header) error {
	if len(h.Start) == 0 {
		return nil
	}
	var e event.Event
	if err := r.dec.Decode(h.Start, &e); err != nil || e.Start == nil {
		return nil // the checksum is right: a block of a later version, or a forged one
	}
	return knownSchema(e.Start)
}

func knownSchema(s *event.StartInfo) error {
	if s.Schema > output.Schema {
		return &NewerError{What: "schema", Is: s.Schema, Known: output.Schema}
	}
	return nil
}

// arrange sorts the files, and finds the start record.
func (r *Reader) arrange() error {
	slices.SortStableFunc(r.files, func(a, b *input) int { return cmp.Compare(a.first.Part, b.first.Part) })
	one := r.files[0]
	for i, in := range r.files[1:] {
		before := r.files[i]
		switch {
		case in.plain != nil || one.plain != nil:
			return fmt.Errorf("%s and %s: only one file without blocks can be read at a time", one.name, in.name)
		case in.first.Trace != one.first.Trace:
			return fmt.Errorf("%s and %s belong to different recordings: read them one at a time", one.name, in.name)
		case in.first.Part == before.first.Part:
			return fmt.Errorf("%s and %s are the same part of a recording", before.name, in.name)
		}
	}
	for _, in := range r.files {
		if len(in.first.Start) > 0 && r.dec.Decode(in.first.Start, &r.start) == nil && r.start.Kind == event.Start {
			break
		}
	}
	return nil
}

// Close closes the files.
func (r *Reader) Close() {
	if r.left != nil {
		close(r.left)
		r.left = nil
	}
	for _, in := range r.files {
		in.close()
	}
	r.zstd.Close()
}

func (in *input) close() {
	if in.file != nil {
		in.file.Close()
	}
}

// Start returns the start record, or an empty one if it is damaged.
func (r *Reader) Start() event.Event {
	if r.start.Kind != event.Start {
		return event.Event{Kind: event.Start, Start: &event.StartInfo{}}
	}
	return r.start
}

// Late reports whether the first file starts in the middle of the recording, as that of a
// flight recorder does.
func (r *Reader) Late() bool { return len(r.files) > 0 && r.files[0].first.Base > 0 }

// End returns the end record, once Read has returned io.EOF; nil if there is none.
func (r *Reader) End() *event.Event { return r.end }

// Unknown returns how many words of a later version Read did not know.
func (r *Reader) Unknown() uint64 { return r.dec.Unknown }

// Read sets e to the next event other than the start and end records, which Start and
// End return. Where records are missing and their number is known, it returns a Lost
// event. The error is io.EOF at the end, or an error of reading.
func (r *Reader) Read(e *event.Event) error {
	for {
		if r.lost != nil {
			*e, r.lost = *r.lost, nil
			return nil
		}
		ok, err := r.record(e)
		if err != nil {
			return err
		}
		if !ok {
			continue
		}
		switch e.Kind {
		case event.Start:
			if r.start.Kind != event.Start {
				r.start = *e
			}
			if err := knownSchema(e.Start); err != nil {
				return fmt.Errorf("%s: %w", r.files[0].name, err)
			}
		case event.End:
			last := *e
			r.end = &last
		case event.KindNone: // of a later version; the decoder counted an unknown word
		case event.Held:
			e.Kind = event.Snapshot
			return nil
		default:
			return nil
		}
	}
}

// record reads one line; ok is false if there was none this time.
func (r *Reader) record(e *event.Event) (ok bool, err error) {
	for len(r.rest) == 0 {
		if len(r.files) == 0 {
			return false, io.EOF
		}
		if in := r.files[0]; in.plain != nil {
			return r.readPlain(in, e)
		}
		if err := r.nextBlock(); err != nil {
			return false, err
		}
		if r.lost != nil {
			return false, nil
		}
	}
	line, rest, _ := bytes.Cut(r.rest, []byte{'\n'})
	r.rest = rest
	if err := r.dec.Decode(line, e); err != nil {
		r.damaged(Damage{File: r.files[0].name, What: err.Error(), Lost: 1})
		return false, nil
	}
	return true, nil
}

// nextBlock goes on to the next complete block, or to the next file.
func (r *Reader) nextBlock() error {
	in := r.files[0]
	p := in.next
	in.next = pending{}
	if !p.ready {
		var err error
		if in.blocks != nil {
			p, err = in.take()
		} else {
			p.h, p.frame, p.damage, err = in.scan.next()
		}
		switch {
		case errors.Is(err, io.EOF):
			r.fileEnds(in, p.damage)
			return nil
		case errors.Is(err, ErrNoBlock):
			return err
		case err != nil:
			return fmt.Errorf("%s: %w", in.name, err)
		}
	}
	r.account(in, &p)
	in.over = p.h.Close
	if p.h.Vitals != nil && r.OnVitals != nil {
		r.OnVitals(p.h.Vitals)
	}
	p.h.Vitals = nil
	if r.OnBlock != nil {
		r.OnBlock(&Block{p.h, p.frame})
	}
	if p.h.Records == 0 && p.h.Last != nil && p.h.Last.After(r.heard) {
		r.heard = *p.h.Last
	}
	if r.OnLimits != nil && len(p.h.Limits) > 0 {
		r.OnLimits(p.h.Limits, p.h.limitsRead())
	}
	if !r.From.IsZero() && p.h.Last != nil && p.h.Last.Before(r.From) {
		return nil
	}
	raw, err := r.zstd.DecodeAll(p.frame, r.raw[:0])
	if err != nil || len(raw) != p.h.Raw {
		what := fmt.Sprintf("block %d does not decompress to the %d bytes that its header says", p.h.Block, p.h.Raw)
		r.damaged(Damage{File: in.name, What: what, Lost: p.h.Records})
		return nil
	}
	r.raw, r.rest = raw, raw
	return nil
}

// account compares the position in a block's header with what came before it.
func (r *Reader) account(in *input, p *pending) {
	missing := uint64(0)
	if r.known && p.h.Before > r.records {
		missing = p.h.Before - r.records
	} else if !r.known && p.h.Before > p.h.Base {
		missing = p.h.Before - p.h.Base // its first blocks are gone
	}
	switch {
	case p.damage != nil:
		p.damage.File, p.damage.Lost = in.name, missing
		r.damaged(*p.damage)
	case missing > 0:
		r.damaged(Damage{File: in.name, What: "records before it are missing", Lost: missing})
	}
	if missing > 0 && p.h.First != nil && r.lost != nil {
		r.lost.Time = p.h.First.UnixNano()
	}
	r.records, r.known = p.h.Before+p.h.Records, true
}

// damaged adds to Damage, and makes Read return a Lost event.
func (r *Reader) damaged(d Damage) {
	r.Damage = append(r.Damage, d)
	if d.Lost > 0 {
		r.lost = &event.Event{Kind: event.Lost, Stage: event.StageDecode, Count: d.Lost}
	}
}

// fileEnds goes on to the next file.
func (r *Reader) fileEnds(in *input, damage *Damage) {
	switch {
	case damage != nil:
		damage.File = in.name
		damage.Lost = in.scan.torn.Records
		r.damaged(*damage)
		if r.known {
			r.records += damage.Lost
		}
	case in.over == CutOff:
		r.damaged(Damage{File: in.name, What: "the agent cut this reader off: it was too slow"})
	case in.over == "":
		r.damaged(Damage{File: in.name, What: "it has no end: twtrace was killed, or is still writing"})
	}
	in.close()
	r.files = r.files[1:]
}
