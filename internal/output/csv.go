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
	for i, f := range fields {
		if i > 0 {
			w.buf = append(w.buf, ',')
		}
		w.buf = append(w.buf, f.Name...)
		w.notes = w.notes || f.Name == "event"
	}
	w.buf = append(w.buf, '\n')
	return w
}

// Write appends one row. RFC 4180 ends lines with CR LF and lets readers take
// LF alone; every reader does, and cut and awk would keep the CR in the last
// column.
func (w *csvWriter) Write(e *event.Event) error {
	isAbout := about(e)
	if !w.start(e) || isAbout && !w.notes {
		return w.err
	}
	for i, f := range w.fields {
		if i > 0 {
			w.buf = append(w.buf, ',')
		}
		if isAbout || !f.about {
			w.buf = appendCSV(w.buf, f.value(e))
		}
	}
	w.buf = append(w.buf, '\n')
	return w.done()
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
