package output

import (
	"time"

	"github.com/twtrace/twtrace/internal/event"
)

// textWriter prints a heading, then one line per record. A row always stands under its
// heading: where a value needs a wider column, or the clock changes between summer and
// winter time, the heading is printed again. Remarks about the trace itself (lost, end,
// and start if asked for) are lines that start with "#".
type textWriter struct {
	sink
	shape
	headed bool
	from   int // where the last heading stands in the buffer
	until  int // where that ends, 0 if it is written or has rows
	cells  [][]byte
	tally  tally
}

func newText(s sink, layouts []arrangement, opts Options) *textWriter {
	w := &textWriter{sink: s, shape: newShape(layouts, opts)}
	w.choose()
	return w
}

// Write appends the lines of e. The heading follows the start remark, next to the
// rows, or precedes the first record if there is no start remark.
func (w *textWriter) Write(e *event.Event) error {
	if !w.start(e) {
		return w.err
	}
	w.tally.add(e)
	switch {
	case e.Kind == event.Start && !w.opts.Banner, e.Kind == event.Snapshot && !w.opts.Snapshots:
	case e.Kind == event.Start:
		w.buf = appendStart(w.buf, e, w.opts.Clock)
	case about(e):
		w.head(e)
		w.until = 0
		w.buf = appendRemark(w.buf, e, &w.tally, w.opts)
	default:
		w.row(e)
	}
	if !w.headed {
		w.head(e)
	}
	return w.done()
}

// Flush writes the buffer. If nothing was printed, it prints the heading: "none"
// must not look like "no answer".
func (w *textWriter) Flush() error {
	if !w.headed && w.err == nil {
		w.head(&event.Event{})
	}
	w.until = 0
	return w.sink.Flush()
}

// Finish prints the last line where no end record came, as for a part of a recording.
func (w *textWriter) Finish() error {
	if w.err == nil && !w.tally.ended {
		w.buf = appendPart(w.buf, &w.tally, w.opts.Width)
	}
	return w.Flush()
}

// Measure makes the columns as wide as the values of e need, and no wider, for rows that
// are known before the first is written.
func (w *textWriter) Measure(e *event.Event) {
	w.measure(func(f *Field) int { return width(w.cell(nil, f, e)) })
}

// head prints the heading, if it is due before e.
func (w *textWriter) head(e *event.Event) {
	w.rezone(e)
	if w.headed {
		return
	}
	w.headed = true
	if w.opts.NoHeading {
		return
	}
	if w.until > 0 && w.until == len(w.buf) {
		w.buf = w.buf[:w.from] // nothing stands under that one
	}
	w.from = len(w.buf)
	cells := make([][]byte, len(w.columns))
	for i, c := range w.columns {
		cells[i] = []byte(w.heading(c.field))
	}
	w.buf = w.appendLine(w.buf, cells)
	w.until = len(w.buf)
}

// rezone has the heading printed again if it names another zone than that of e.
func (w *textWriter) rezone(e *event.Event) {
	if t := time.Unix(0, e.Time); e.Time != 0 {
		if w.dated() && w.opts.Clock.Zone(t) != w.opts.Clock.Zone(w.at) {
			w.headed = false
		}
		w.at = t
		if !w.headed {
			w.choose()
		}
	}
}

// row prints a record. Its values may change the widths, and with them the columns.
func (w *textWriter) row(e *event.Event) {
	w.rezone(e)
	w.fill(e)
	for w.grow(w.cells) {
		w.headed = !w.choose() && w.headed
		w.fill(e)
	}
	w.head(e)
	w.until = 0
	w.buf = w.appendLine(w.buf, w.cells)
}

// fill puts the values of e into the cells.
func (w *textWriter) fill(e *event.Event) {
	for len(w.cells) < len(w.columns) {
		w.cells = append(w.cells, nil)
	}
	w.cells = w.cells[:len(w.columns)]
	for i := range w.columns {
		w.cells[i] = w.cell(w.cells[i][:0], w.columns[i].field, e)
	}
}

// cell appends what stands in a column.
func (w *textWriter) cell(dst []byte, f *Field, e *event.Event) []byte {
	if f.text != nil && (w.opts.Format == Text || f.alsoWide) {
		return f.text(dst, e, w.opts.Clock)
	}
	return f.value(e).appendText(dst, w.opts.Clock)
}
