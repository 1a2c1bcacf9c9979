// Package output prints records: one table of fields makes text, wide text,
// JSON, CSV and the documentation of all four.
//
// The names in the table are the JSON keys, the CSV headers and, in capitals,
// the headings of text (without the suffix _ns, for text prints durations for
// people). What is not known is absent in JSON, empty in CSV and "-" in text.
// Strings from outside (a comm, a host name) go through [Escape] first, in all
// formats, so no byte of theirs can act on a terminal, forge a column or a
// line, or be mistaken for another.
package output

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/twtrace/twtrace/internal/event"
)

// Schema is the version of the record contract that this package prints. It
// grows when a field changes its meaning or goes; new fields do not change it.
const Schema = 1

// Format is a way to print records.
type Format uint8

// The formats.
const (
	Text Format = iota // aligned columns, the fields that answer "who, where, why"
	Wide               // aligned columns, more fields, nothing shortened
	JSON               // one object a line
	CSV                // RFC 4180 with a header line
)

var formatNames = [...]string{Text: "text", Wide: "wide", JSON: "json", CSV: "csv"}

func (f Format) String() string {
	if int(f) < len(formatNames) {
		return formatNames[f]
	}
	return fmt.Sprintf("format(%d)", uint8(f))
}

// ParseFormat returns the format of that name, as -o takes it.
func ParseFormat(name string) (Format, error) {
	for i, n := range formatNames {
		if n == name {
			return Format(i), nil
		}
	}
	return 0, fmt.Errorf("bad output format %q: use %s", name, strings.Join(formatNames[:], ", "))
}

// Options say how records are printed. The zero Options print text.
type Options struct {
	Format Format
	// Fields are the names of the fields to print, in this order; none means
	// the default of the format. In JSON the selection does not thin start,
	// lost and end; in CSV these rows are printed if "event" is selected.
	Fields []string
}

// Writer prints records. It is not safe for concurrent use.
type Writer interface {
	// Write prints one record; kinds that are no records are left out. It may
	// keep what it printed in a buffer of at most 64 KiB, always whole lines.
	// Any error is final, and is returned by every call after it. A closed pipe
	// satisfies errors.Is(err, unix.EPIPE); a process gets that error for its
	// stdout only if it has asked for SIGPIPE (os/signal), else it is killed.
	Write(e *event.Event) error
	// Flush writes what is in the buffer.
	Flush() error
}

// New returns a Writer that prints to w. The only errors are those of
// opts: an unknown format or field.
func New(w io.Writer, opts Options) (Writer, error) {
	if int(opts.Format) >= len(formatNames) {
		return nil, fmt.Errorf("bad output format %s", opts.Format)
	}
	names := opts.Fields
	if len(names) == 0 {
		names = Default(opts.Format)
	}
	sel, err := lookup(names)
	if err != nil {
		return nil, err
	}
	s := sink{w: w}
	switch opts.Format {
	case JSON:
		if len(opts.Fields) == 0 {
			sel = nil
		}
		return &jsonWriter{sink: s, fields: sel}, nil
	case CSV:
		return newCSV(s, sel), nil
	default:
		return newText(s, sel, opts.Format == Wide), nil
	}
}

// Sizes of the buffer: when it is written by itself, and its capacity, which
// leaves room for one long record.
const (
	flushBytes  = 32 << 10
	bufferBytes = 64 << 10
)

// sink is the buffer behind every Writer. Lines are appended to buf, and go
// out in whole lines.
type sink struct {
	w   io.Writer
	buf []byte
	err error
}

// done ends a record: it writes the buffer if it is full enough.
func (s *sink) done() error {
	if len(s.buf) >= flushBytes {
		return s.Flush()
	}
	return s.err
}

// Flush writes the buffer.
func (s *sink) Flush() error {
	if s.err != nil || len(s.buf) == 0 {
		return s.err
	}
	_, err := s.w.Write(s.buf)
	if errors.Is(err, io.ErrClosedPipe) {
		err = unix.EPIPE // one name for it, whatever kind of pipe w is
	}
	if err != nil {
		s.err = fmt.Errorf("write output: %w", err)
	}
	if cap(s.buf) > bufferBytes {
		s.buf = nil // one giant record must not hold its memory for ever
	} else {
		s.buf = s.buf[:0]
	}
	return s.err
}

// start makes room for a record and reports whether it is to be printed.
func (s *sink) start(e *event.Event) bool {
	if s.err != nil || !e.Kind.Record() {
		return false
	}
	if s.buf == nil {
		s.buf = make([]byte, 0, bufferBytes)
	}
	return true
}

// about reports whether e is about the trace itself, not about a connection.
func about(e *event.Event) bool {
	return e.Kind == event.Start || e.Kind == event.Lost || e.Kind == event.End
}

// insertBefore puts mark before every byte of dst[from:] that is a or b: how
// both JSON and CSV quote.
func insertBefore(dst []byte, from int, mark, a, b byte) []byte {
	tail := dst[from:]
	n := bytes.Count(tail, []byte{a})
	if b != a {
		n += bytes.Count(tail, []byte{b})
	}
	if n == 0 {
		return dst
	}
	old := len(dst)
	for range n {
		dst = append(dst, 0)
	}
	for r, w := old-1, len(dst)-1; r >= from; r-- {
		c := dst[r]
		dst[w] = c
		w--
		if c == a || c == b {
			dst[w] = mark
			w--
		}
	}
	return dst
}
