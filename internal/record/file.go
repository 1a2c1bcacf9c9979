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
	size   int64    // bytes of the complete blocks
	blocks int
	part   int
	base   uint64 // records of the recording before the file
	torn   bool   // the last block is incomplete, and stays so
	plain  Plain
	buf    []byte
}

// put writes a block in one write. After a failure the file ends with the last complete
// block. The first block of a file has the start record and all limits.
func (f *partFile) put(b block, start *event.Event, limits *limitsBook) error {
	if err := f.assemble(b, start, limits); err != nil {
		return err
	}
	if _, err := f.w.Write(f.buf); err != nil {
		if f.file == nil {
			return err
		}
		whole := fmt.Sprintf("the file is complete up to record %d", b.Before)
		if cut := f.rewind(); cut != nil {
			f.torn, whole = true, "its last block is truncated"
		}
		return fmt.Errorf("%w; %s", err, whole)
	}
	f.blocks++
	f.size += int64(len(f.buf))
	return nil
}

// assemble sets buf to the bytes of a block.
func (f *partFile) assemble(b block, start *event.Event, limits *limitsBook) (err error) {
	if f.plain != NotPlain {
		f.buf = append(f.preamble(f.buf[:0], b, start), b.frame...)
		return nil
	}
	h := b.Header
	h.Part, h.Block, h.Limits = f.part, f.blocks, limits.groups(b.limits)
	if f.blocks == 0 {
		f.base = h.Before
		all := limits.all
		if b.all != nil {
			all = b.all
		}
		h.Clock, h.Start, h.Limits = clock, output.AppendJSON(nil, start), limits.groups(all)
	}
	if h.Base = f.base; len(b.limits) > 0 {
		h.read(b.read)
	}
	f.buf, err = appendBlock(f.buf[:0], &h, b.frame)
	return err
}

// preamble appends what a plain file starts with: the header in CSV, and the start record,
// so that each file can be read alone. The first file has it among its records.
func (f *partFile) preamble(dst []byte, b block, start *event.Event) []byte {
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

// rewind removes the part of a block whose write failed.
func (f *partFile) rewind() error {
	if err := f.file.Truncate(f.size); err != nil {
		return err
	}
	_, err := f.file.Seek(f.size, io.SeekStart)
	return err
}

// close syncs the file to disk and closes it.
func (f *partFile) close() error {
	if f.file == nil {
		return nil
	}
	return errors.Join(sync(f.file), f.file.Close())
}

// sync syncs a file to disk: a file for a post-mortem must survive a crash of its host.
func sync(file *os.File) error {
	err := file.Sync()
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.EROFS) { // not a file that can be synced
		return nil
	}
	return err
}
