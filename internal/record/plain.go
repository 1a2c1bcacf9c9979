package record

import (
	"bufio"
	"errors"
	"fmt"
	"io"

	"github.com/twtrace/twtrace/internal/event"
)

// plainReader reads records without blocks: what -o json prints.
type plainReader struct {
	lines *bufio.Scanner
	n     int
}

// maxLine is the maximum length of a record in bytes.
const maxLine = 1 << 20

func (r *Reader) openPlain(in *input) error {
	lines := bufio.NewScanner(in.scan)
	lines.Buffer(make([]byte, 0, 64<<10), maxLine)
	in.plain = &plainReader{lines: lines}
	var e event.Event
	if !in.plain.next() {
		return fmt.Errorf("its first line is too long or unreadable")
	}
	if err := r.dec.Decode(in.plain.lines.Bytes(), &e); err != nil || e.Kind == event.KindNone {
		return errors.New("it is neither a twtrace trace file nor records in JSON")
	}
	if e.Kind != event.Start {
		return errors.New("its first record is not a start record: record all fields, from the start")
	}
	r.start = e
	return knownSchema(e.Start)
}

// Read returns the rest of the file, for readers without blocks.
func (s *scanner) Read(b []byte) (int, error) {
	if len(s.win) == 0 && !s.fill(1) {
		if s.err != nil {
			return 0, s.err
		}
		return 0, io.EOF
	}
	n := copy(b, s.win)
	s.skip(n)
	return n, nil
}

func (p *plainReader) next() bool {
	p.n++
	return p.lines.Scan()
}

func (r *Reader) readPlain(in *input, e *event.Event) (ok bool, err error) {
	if !in.plain.next() {
		if err := in.plain.lines.Err(); err != nil {
			return false, fmt.Errorf("%s: line %d: %w", in.name, in.plain.n, err)
		}
		if r.end == nil {
			r.damaged(Damage{File: in.name, What: "it has no end record: twtrace was killed, or is still writing"})
		}
		in.close()
		r.files = r.files[1:]
		return false, nil
	}
	line := in.plain.lines.Bytes()
	if len(line) == 0 {
		return false, nil
	}
	if err := r.dec.Decode(line, e); err != nil {
		r.damaged(Damage{File: in.name, What: fmt.Sprintf("line %d: %v", in.plain.n, err), Lost: 1})
		return false, nil
	}
	return true, nil
}
