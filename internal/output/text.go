package output

import "github.com/twtrace/twtrace/internal/event"

// textWriter prints a heading, then a line a record. Remarks about the trace
// itself (start, lost, end) are lines that begin with "#".
type textWriter struct {
	sink
	fields  []*Field
	wide    bool
	headed  bool
	layout  layout
	scratch []byte
}

func newText(s sink, fields []*Field, wide bool) *textWriter {
	w := &textWriter{sink: s, fields: fields, wide: wide}
	for _, f := range fields {
		c := f.Column
		c.Width = max(c.Width, len(heading(f.Name)))
		if wide {
			c.Width = max(c.Width, f.full)
		}
		w.layout.columns = append(w.layout.columns, c)
	}
	return w
}

// Write appends the lines of e. The heading comes after the start remark, so
// that it is next to the rows, or before the first record if there is none.
func (w *textWriter) Write(e *event.Event) error {
	if !w.start(e) {
		return w.err
	}
	if !w.headed && e.Kind != event.Start {
		w.head()
	}
	switch {
	case !about(e):
		w.row(e)
	default:
		w.buf = appendRemark(w.buf, e)
	}
	if !w.headed {
		w.head()
	}
	return w.done()
}

// Flush writes the buffer. Where nothing was printed, it is the heading: "none"
// should not look like "no answer".
func (w *textWriter) Flush() error {
	if !w.headed && w.err == nil {
		w.head()
	}
	return w.sink.Flush()
}

func (w *textWriter) head() {
	w.headed = true
	w.layout.begin()
	for _, f := range w.fields {
		w.scratch = append(w.scratch[:0], heading(f.Name)...)
		w.buf = w.layout.cell(w.buf, w.scratch)
	}
	w.buf = append(w.buf, '\n')
}

func (w *textWriter) row(e *event.Event) {
	w.layout.begin()
	for _, f := range w.fields {
		if f.text != nil && !w.wide {
			w.scratch = f.text(w.scratch[:0], e)
		} else {
			w.scratch = f.value(e).appendText(w.scratch[:0])
		}
		w.buf = w.layout.cell(w.buf, w.scratch)
	}
	w.buf = append(w.buf, '\n')
}

// layout puts cells into columns, for a stream whose rows are not known
// beforehand: a column grows to the widest cell seen, up to its Max, and a
// cell wider than that pushes the ones after it only as far as it must.
type layout struct {
	columns []Column
	i       int // the next column
	at      int // where the line is
	want    int // where it would be with no cell too wide
}

// begin begins a line.
func (l *layout) begin() { l.i, l.at, l.want = 0, 0, 0 }

// cell appends the next cell of the line.
func (l *layout) cell(dst, text []byte) []byte {
	c := &l.columns[l.i]
	last := l.i == len(l.columns)-1
	n := width(text)
	if n > c.Width {
		c.Width = max(c.Width, min(n, c.Max))
	}
	if l.i > 0 {
		dst = append(dst, ' ')
		l.at++
		l.want++
	}
	l.i++
	l.want += c.Width
	pad := max(l.want-l.at-n, 0)
	l.at += pad + n
	if c.Right {
		return append(appendSpaces(dst, pad), text...)
	}
	dst = append(dst, text...)
	if last {
		return dst // no space at the end of a line
	}
	return appendSpaces(dst, pad)
}

func appendSpaces(dst []byte, n int) []byte {
	for range n {
		dst = append(dst, ' ')
	}
	return dst
}
