package record

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

var errNoHeader = errors.New("not a block header")

// Damage is a part of a file that cannot be read.
type Damage struct {
	File   string
	Offset int64 // of its first byte
	Bytes  int64 // how many; 0 if there are none to count
	What   string
	Lost   uint64 // records that were in it, 0 if that is unknown
}

func (d Damage) String() string {
	s := d.File + ": " + d.What
	if d.Bytes > 0 {
		s += fmt.Sprintf(" (%d bytes at %d)", d.Bytes, d.Offset)
	}
	switch d.Lost {
	case 0:
	case 1:
		s += ": 1 record is lost"
	default:
		s += fmt.Sprintf(": %d records are lost", d.Lost)
	}
	return s
}

// scanner finds the blocks of a file, and skips everything else. It holds little more
// than one of them.
type scanner struct {
	in  io.Reader
	win []byte // what was read and not yet used
	buf []byte // the memory of win
	off int64  // of win in the file
	eof bool
	err error // of reading, other than io.EOF

	bad   int64 // where the present damage starts, -1 if there is none
	short bool  // the file ends within a block there
	torn  Header
}

func newScanner(in io.Reader) *scanner { return &scanner{in: in, bad: -1} }

// fill reads until win has n bytes, and reports whether it has: not if the file is
// shorter.
func (s *scanner) fill(n int) bool {
	for len(s.win) < n && !s.eof {
		if cap(s.win) < max(n, 64<<10) {
			if cap(s.buf) < 2*n {
				s.buf = make([]byte, max(2*n, 256<<10))
			}
			s.win = s.buf[:copy(s.buf, s.win)]
		}
		m, err := s.in.Read(s.win[len(s.win):cap(s.win)])
		s.win = s.win[:len(s.win)+m]
		if err != nil {
			s.eof = true
			if !errors.Is(err, io.EOF) {
				s.err = err
			}
		}
	}
	return len(s.win) >= n
}

func (s *scanner) skip(n int) {
	s.win = s.win[n:]
	s.off += int64(n)
}

// next returns the next complete block; frame is valid until the next call. damage is
// what it skipped before the block, nil if nothing. At the end of the file the error is
// io.EOF, and damage is what it skipped at the end.
func (s *scanner) next() (h Header, frame []byte, damage *Damage, err error) {
	for {
		size, h, frame, err := s.block()
		switch {
		case err == nil:
			damage := s.passed("damaged")
			s.skip(size)
			return h, frame, damage, nil
		case s.err != nil:
			return h, nil, nil, s.err
		case errors.Is(err, io.EOF):
			return h, nil, s.passed(s.ending()), io.EOF
		}
		if newer := (*NewerError)(nil); errors.As(err, &newer) && s.off == 0 {
			return h, nil, nil, err
		}
		if s.bad < 0 {
			s.bad, s.short, s.torn = s.off, errors.Is(err, io.ErrUnexpectedEOF), h
		}
		s.resync()
	}
}

// ending describes damage at the end of a file.
func (s *scanner) ending() string {
	if s.short {
		return "the last block is truncated"
	}
	return "damaged"
}

func (s *scanner) passed(what string) *Damage {
	if s.bad < 0 {
		return nil
	}
	d := &Damage{Offset: s.bad, Bytes: s.off - s.bad, What: what}
	s.bad = -1
	return d
}

// block reads the block at the start of win. The error is io.EOF if nothing is left, and
// io.ErrUnexpectedEOF if the file ends within the block; then it returns its header, if
// that is complete.
func (s *scanner) block() (size int, h Header, frame []byte, err error) {
	if !s.fill(8) {
		if len(s.win) == 0 {
			return 0, h, nil, io.EOF
		}
		return 0, h, nil, io.ErrUnexpectedEOF
	}
	n := binary.LittleEndian.Uint32(s.win[4:])
	if !bytes.HasPrefix(s.win, magic) || n > maxHeader {
		return 0, h, nil, errNoHeader
	}
	body := 8 + int(n)
	if !s.fill(body) {
		return 0, h, nil, io.ErrUnexpectedEOF
	}
	h, sum, err := parseHeader(s.win[8:body])
	if err != nil {
		return 0, h, nil, err
	}
	size = body + h.Bytes
	if !s.fill(size) {
		return 0, h, nil, io.ErrUnexpectedEOF
	}
	frame = s.win[body:size]
	if !checks(s.win[8:body], frame, sum) {
		return 0, Header{}, nil, errNoHeader
	}
	return size, h, frame, nil
}

// resync skips to where the next block may start.
func (s *scanner) resync() {
	s.skip(1)
	for {
		if i := bytes.Index(s.win, magic); i >= 0 {
			s.skip(i)
			return
		}
		if s.eof {
			s.skip(len(s.win))
			return
		}
		keep := min(len(s.win), len(magic)-1)
		s.skip(len(s.win) - keep)
		s.fill(keep + 1)
	}
}
