// Package output prints records: one table of fields makes text, wide text,
// JSON, CSV, the columns of Parquet and the documentation of all of them, and
// its names are those of every other table too ([Term]).
//
// A value that is not known is absent in JSON, empty in CSV and "-" in text.
// Strings from outside (a comm, a host name) go through [Escape] first, in all
// formats, so that none of their bytes can act on a terminal, forge a column or
// a line, or be mistaken for another.
package output

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/twtrace/twtrace/internal/clock"
	"github.com/twtrace/twtrace/internal/event"
)

// Schema is the version of the record contract that this package prints. It
// grows when a field changes its name or meaning, or is removed; new fields do
// not change it.
const Schema = 2

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

// Options select how records are printed. The zero Options print text.
type Options struct {
	Format Format
	// Fields are the names of the fields to print, in this order; none means
	// the default of the format. In JSON the selection does not thin start,
	// lost and end; in CSV these rows are printed if "event" is selected.
	Fields []string
	// Clock prints the times of text and wide; JSON and CSV have UTC.
	Clock clock.Clock
	// Arrangements are what text prints if Fields is empty, the one with most columns
	// first; nil is the default. A name may have a width behind a colon: "event:12".
	Arrangements [][]string
	// Width is that of the terminal, which the lines of text without Fields fit. 0 is no
	// terminal: everything is printed, and nothing is cut.
	Width     int
	States    bool // text and wide have the columns for --states all
	Snapshots bool // text and wide have the snapshot records too
	Banner    bool // text and wide begin with the start record
	NoHeading bool // text and wide have no headings
}

// Writer prints records. It is not safe for concurrent use.
type Writer interface {
	// Write prints one record, and ignores kinds that are not records. It may
	// keep whole lines in a buffer of at most 64 KiB. Any error is final: every
	// later call returns it. For a closed pipe it satisfies
	// errors.Is(err, unix.EPIPE); a process gets that error for its stdout only
	// if it has asked for SIGPIPE (os/signal), else the signal kills it.
	Write(e *event.Event) error
	// Flush writes what is in the buffer.
	Flush() error
}

// Finisher is a [Writer] of text, which has a last line. Finish prints it if no end record
// did, and flushes.
type Finisher interface{ Finish() error }

// Measurer is a [Writer] of text, for rows that are known before the first is written:
// Measure makes the columns as wide as e needs, and no wider.
type Measurer interface{ Measure(e *event.Event) }

// New returns a Writer that prints to w. The only errors are those of
// opts: an unknown format or field.
func New(w io.Writer, opts Options) (Writer, error) {
	if int(opts.Format) >= len(formatNames) {
		return nil, fmt.Errorf("bad output format %s", opts.Format)
	}
	s := sink{w: w}
	if opts.Format == Text || opts.Format == Wide {
		return newTextOf(s, opts)
	}
	names := opts.Fields
	if len(names) == 0 {
		names = Default(opts.Format)
	}
	sel, err := lookup(names)
	if err != nil {
		return nil, err
	}
	if opts.Format == CSV {
		return newCSV(s, sel), nil
	}
	if len(opts.Fields) == 0 {
		sel = nil
	}
	return &jsonWriter{sink: s, fields: sel}, nil
}

// newTextOf returns the Writer of text or wide.
func newTextOf(s sink, opts Options) (Writer, error) {
	lists := [][]string{opts.Fields}
	if len(opts.Fields) == 0 {
		lists = defaultArrangements(opts)
	}
	layouts := make([]arrangement, len(lists))
	for i, names := range lists {
		var err error
		if layouts[i], err = parseArrangement(names); err != nil {
			return nil, err
		}
	}
	return newText(s, layouts, opts), nil
}

// Sizes of the buffer: when it is written by itself, and its capacity, which
// leaves room for one long record.
const (
	flushBytes  = 32 << 10
	bufferBytes = 64 << 10
)

// sink is the buffer of every Writer. It holds whole lines.
type sink struct {
	w   io.Writer
	buf []byte
	err error
}

// done ends a record, and writes the buffer if it is full enough.
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
		err = unix.EPIPE // the same error for every kind of pipe
	}
	if err != nil {
		s.err = fmt.Errorf("write output: %w", err)
	}
	if cap(s.buf) > bufferBytes {
		s.buf = nil // one giant record must not keep its memory
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

// insertBefore puts mark before every byte of dst[from:] that is a or b, as both
// JSON and CSV quote.
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
