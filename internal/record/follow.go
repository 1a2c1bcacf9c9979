package record

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/klauspost/compress/zstd"
)

// Block is a block of a stream, as it came. Nobody may change it.
type Block struct {
	Header
	Frame []byte // the records, compressed
}

// ErrNoBlock is what Read returns of a stream whose next block has not come yet.
var ErrNoBlock = errors.New("no block has come yet")

// scanned is what scanner.next has found.
type scanned struct {
	pending
	err error
}

// blocksAhead is how many blocks of a stream are read ahead: while they are being read,
// the next ones come.
const blocksAhead = 4

// Follow opens a recording that is still being written, as a stream of blocks: its Read
// does not wait for the next one. It waits for the first block. A goroutine reads in, until
// that ends or fails; who closes the Reader closes in as well.
func Follow(name string, in io.Reader) (*Reader, error) {
	r := &Reader{left: make(chan struct{})}
	var err error
	r.zstd, err = zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(maxRaw))
	if err != nil {
		return nil, fmt.Errorf("set up zstd: %w", err)
	}
	s := newScanner(in)
	h, frame, damage, err := s.next()
	if errors.Is(err, io.EOF) {
		err = errors.New("it ended before its first block")
	}
	if err == nil {
		err = r.checkSchema(h)
	}
	if err != nil {
		r.zstd.Close()
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	f := &input{name: name, scan: s, first: h, next: pending{true, h, slices.Clone(frame), damage}, blocks: make(chan scanned, blocksAhead)}
	r.files = []*input{f}
	if err := r.arrange(); err != nil {
		r.zstd.Close()
		return nil, err
	}
	go f.scanAll(r.left)
	return r, nil
}

// scanAll passes on the blocks of a stream until its end, or until nobody wants them.
func (in *input) scanAll(left <-chan struct{}) {
	defer close(in.blocks)
	for {
		var p scanned
		var frame []byte
		p.h, frame, p.damage, p.err = in.scan.next()
		p.ready, p.frame = p.err == nil, slices.Clone(frame)
		select {
		case in.blocks <- p:
		case <-left:
			return
		}
		if p.err != nil {
			return
		}
	}
}

// take returns the next block of a stream. The error is ErrNoBlock if it has not come.
func (in *input) take() (pending, error) {
	select {
	case p, ok := <-in.blocks:
		if !ok {
			return pending{}, io.EOF
		}
		return p.pending, p.err
	default:
		return pending{}, ErrNoBlock
	}
}

// Wait waits for the next block of a stream that Follow opened, for d at most and until done
// is closed.
func (r *Reader) Wait(d time.Duration, done <-chan struct{}) {
	if len(r.files) == 0 || r.files[0].next.ready || len(r.rest) > 0 {
		return
	}
	in := r.files[0]
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case p, ok := <-in.blocks:
		if ok && p.err == nil {
			in.next = p.pending
		} else if ok {
			in.failed(p)
		}
	case <-timer.C:
	case <-done:
	}
}

// failed puts back the end of a stream, which is the last that comes of it.
func (in *input) failed(p scanned) {
	in.blocks = make(chan scanned, 1)
	in.blocks <- p
	close(in.blocks)
}

// Heard is how far the recording has come, as the last block without records says; the zero
// time if there was none.
func (r *Reader) Heard() time.Time { return r.heard }

// First is the time of the first block of the first file; the zero time if it has none.
func (r *Reader) First() time.Time {
	if len(r.files) == 0 || r.files[0].first.First == nil {
		return time.Time{}
	}
	return *r.files[0].first.First
}
