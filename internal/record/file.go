package record

import (
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"

	"github.com/twtrace/twtrace/internal/event"
	"github.com/twtrace/twtrace/internal/output"
)

// partFile is one file of a recording, being written.
type partFile struct {
	w      io.Writer
	file   *os.File // nil if w is a pipe
	name   string   // in its directory
	size   int64    // of the blocks that were written whole
	blocks int
	part   int
	base   uint64 // records of the recording before the file
	torn   bool   // the last block is not whole, and stays so
	plain  Plain
	buf    []byte
}

// put writes a block, in one write. After a failure the file ends with the last
// block that is whole. The first block of a file has the start record, and all limits.
func (f *partFile) put(b block, start *event.Event, limits map[uint32]map[string]string) error {
	if err := f.assemble(b, start, limits); err != nil {
		return err
	}
	if _, err := f.w.Write(f.buf); err != nil {
		if f.file == nil {
			return err
		}
		whole := fmt.Sprintf("the file is whole up to record %d", b.Before)
		if cut := f.rewind(); cut != nil {
			f.torn, whole = true, "its last block is torn"
		}
		return fmt.Errorf("%w; %s", err, whole)
	}
	f.blocks++
	f.size += int64(len(f.buf))
	return nil
}

// assemble makes buf what is to be written of a block.
func (f *partFile) assemble(b block, start *event.Event, limits map[uint32]map[string]string) (err error) {
	if f.plain != NotPlain {
		f.buf = append(f.begin(f.buf[:0], b, start), b.frame...)
		return nil
	}
	h := b.Header
	h.Part, h.Block, h.Limits = f.part, f.blocks, groups(b.limits)
	if f.blocks == 0 {
		f.base = h.Before
		h.Clock, h.Start, h.Limits = clock, output.AppendJSON(nil, start), groups(limits)
	}
	h.Base = f.base
	f.buf, err = appendBlock(f.buf[:0], &h, b.frame)
	return err
}

// begin appends what a plain file begins with: CSV has a header, and each file but the
// first, which has it anyway, the start record, so that it can be read alone.
func (f *partFile) begin(dst []byte, b block, start *event.Event) []byte {
	if f.blocks > 0 {
		return dst
	}
	if f.plain == CSV {
		dst = output.AppendCSVHeader(dst)
	}
	switch {
	case b.Before == 0:
		return dst
	case f.plain == CSV:
		return output.AppendCSV(dst, start)
	}
	return append(output.AppendJSON(dst, start), '\n')
}

// rewind takes away what was written of a block that failed.
func (f *partFile) rewind() error {
	if err := f.file.Truncate(f.size); err != nil {
		return err
	}
	_, err := f.file.Seek(f.size, io.SeekStart)
	return err
}

// close has the file on the disk before it closes it.
func (f *partFile) close() error {
	if f.file == nil {
		return nil
	}
	return errors.Join(sync(f.file), f.file.Close())
}

// sync has a file on the disk: one for a post-mortem is no use in the page cache of a
// host that dies.
func sync(file *os.File) error {
	err := file.Sync()
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.EROFS) { // no file that can be synced
		return nil
	}
	return err
}
