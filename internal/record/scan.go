package record

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

var errNoHeader = errors.New("no header of a block")

// Damage is a part of a file that could not be read.
type Damage struct {
	File   string
	Offset int64 // of its first byte
	Bytes  int64 // how many; 0 if nothing is there that could be counted
	What   string
	Lost   uint64 // records that were in it, if they can be counted
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

// scanner finds the blocks of a file, past whatever is no block. It holds little
// more than one of them.
type scanner struct {
	in  io.Reader
	win []byte // what was read and not taken yet
	buf []byte // the memory of win
	off int64  // of win in the file
	eof bool
	err error // of reading, but for io.EOF

	bad   int64 // where the damage begins that is being passed, -1 if there is none
	short bool  // a block there is longer than the file
	torn  Header
}

func newScanner(in io.Reader) *scanner { return &scanner{in: in, bad: -1} }

// fill has at least n bytes in win, unless the file is shorter.
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

// next returns the next block that is whole; frame is valid until the next call.
// What had to be passed before it is in damage, nil if there was none. At the end
// of the file the error is io.EOF, and damage is what stands there in vain.
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

// ending is what to call damage at the end of a file.
func (s *scanner) ending() string {
	if s.short {
		return "the last block is torn"
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

// block looks at the block that win begins with. The error is io.EOF where there
// is nothing left, io.ErrUnexpectedEOF if the file ends in the block, whose header
// is returned if there is one.
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
	begin := 8 + int(n)
	if !s.fill(begin) {
		return 0, h, nil, io.ErrUnexpectedEOF
	}
	h, sum, err := parseHeader(s.win[8:begin])
	if err != nil {
		return 0, h, nil, err
	}
	size = begin + h.Bytes
	if !s.fill(size) {
		return 0, h, nil, io.ErrUnexpectedEOF
	}
	frame = s.win[begin:size]
	if !checks(s.win[8:begin], frame, sum) {
		return 0, Header{}, nil, errNoHeader
	}
	return size, h, frame, nil
}

// resync goes on to where the next block may begin.
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
