package output

import (
	"bytes"

	"github.com/twtrace/twtrace/internal/event"
)

type csvWriter struct {
	sink
	fields []*Field
	notes  bool // print start, lost and end: "event" tells them from the others
}

func newCSV(s sink, fields []*Field) *csvWriter {
	w := &csvWriter{sink: s, fields: fields}
	for _, f := range fields {
		w.notes = w.notes || f.Name == "event"
	}
	w.buf = appendHeader(w.buf, fields)
	return w
}

// AppendCSVHeader appends the line that stands before the rows of [AppendCSV].
func AppendCSVHeader(dst []byte) []byte { return appendHeader(dst, all) }

func appendHeader(dst []byte, fields []*Field) []byte {
	for i, f := range fields {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(dst, f.Name...)
	}
	return append(dst, '\n')
}

// Write appends one row. RFC 4180 ends lines with CR LF and lets readers take
// LF alone; every reader does, and cut and awk would keep the CR in the last
// column.
func (w *csvWriter) Write(e *event.Event) error {
	if !w.start(e) || about(e) && !w.notes {
		return w.err
	}
	w.buf = appendRow(w.buf, w.fields, e)
	return w.done()
}

// AppendCSV appends e as one row of all fields, and the end of the line.
func AppendCSV(dst []byte, e *event.Event) []byte { return appendRow(dst, all, e) }

func appendRow(dst []byte, fields []*Field, e *event.Event) []byte {
	isAbout := about(e)
	for i, f := range fields {
		if i > 0 {
			dst = append(dst, ',')
		}
		if isAbout || !f.about {
			dst = appendCSV(dst, f.value(e))
		}
	}
	return append(dst, '\n')
}

// appendCSV appends v, in quotes where RFC 4180 wants them. There are no line
// ends in it: Escape has them.
func appendCSV(dst []byte, v Value) []byte {
	from := len(dst)
	dst = v.Append(dst)
	if v.typ != TypeString && v.typ != TypeProse && v.nested == nil {
		return dst
	}
	if !bytes.ContainsAny(dst[from:], "\",") {
		return dst
	}
	dst = append(dst, 0)
	copy(dst[from+1:], dst[from:])
	dst[from] = '"'
	return append(insertBefore(dst, from+1, '"', '"', '"'), '"')
}
