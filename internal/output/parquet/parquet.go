// Package parquet writes records as a table of Apache Parquet: a column for each
// field of the record contract, in its order and with its name. What is not known is
// null. Strings are escaped as in JSON, and lists and objects are JSON.
package parquet

import (
	"fmt"
	"io"
	"slices"
	"strconv"

	"github.com/parquet-go/parquet-go"

	"github.com/twtrace/twtrace/internal/event"
	"github.com/twtrace/twtrace/internal/output"
)

// Bounds of what is held in memory: rows that are in no column yet, and the rows of a
// group, whose columns are written at its end.
const (
	batchRows = 256
	groupRows = 128 << 10
)

// Writer writes records to one file. It is not safe for concurrent use. The file is
// none before Close.
type Writer struct {
	w      *parquet.GenericWriter[any]
	fields []*output.Field
	rows   []parquet.Row // of which used are taken
	used   int
	err    error
}

// New returns a Writer of a file that is written to w.
func New(w io.Writer) *Writer {
	fields := output.Fields()
	rows := make([]parquet.Row, batchRows)
	for i := range rows {
		rows[i] = make(parquet.Row, len(fields))
	}
	return &Writer{
		fields: fields,
		rows:   rows,
		w: parquet.NewGenericWriter[any](w, schema(fields),
			parquet.Compression(&parquet.Zstd),
			parquet.MaxRowsPerRowGroup(groupRows),
			parquet.KeyValueMetadata("twtrace.schema", strconv.Itoa(output.Schema))),
	}
}

// Write takes a record in; kinds that are no records are left out. Any error is final.
func (w *Writer) Write(e *event.Event) error {
	if w.err != nil || !e.Kind.Record() {
		return w.err
	}
	row := w.rows[w.used]
	for i, f := range w.fields {
		v := f.Value(e)
		if !v.Known() {
			row[i] = parquet.NullValue().Level(0, 0, i)
			continue
		}
		row[i] = cell(v).Level(0, 1, i)
	}
	if w.used++; w.used == len(w.rows) {
		return w.flush()
	}
	return nil
}

func (w *Writer) flush() error {
	if _, err := w.w.WriteRows(w.rows[:w.used]); err != nil {
		w.err = fmt.Errorf("write Parquet: %w", err)
	}
	w.used = 0
	return w.err
}

// Close writes what is left, and what makes the file one. It leaves the writer that
// New was given open.
func (w *Writer) Close() error {
	if w.err != nil || w.flush() != nil {
		return w.err
	}
	if err := w.w.Close(); err != nil {
		w.err = fmt.Errorf("write Parquet: %w", err)
	}
	return w.err
}

// cell is a value that is known, of the type that node gives its column.
func cell(v output.Value) parquet.Value {
	switch v.Type() {
	case output.TypeInt, output.TypeUint, output.TypeDuration, output.TypeTime:
		return parquet.Int64Value(v.Int64())
	case output.TypeFloat:
		// With as many decimals as in the other formats.
		rounded, err := strconv.ParseFloat(string(v.AppendBare(nil)), 64)
		if err != nil { // it was made of a number
			return parquet.NullValue()
		}
		return parquet.DoubleValue(rounded)
	case output.TypeBool:
		return parquet.BooleanValue(v.Uint64() != 0)
	}
	return parquet.ByteArrayValue(v.AppendBare(nil))
}

// node is the type of a column.
func node(t output.Type) parquet.Node {
	switch t {
	case output.TypeInt, output.TypeDuration:
		return parquet.Int(64)
	case output.TypeUint:
		return parquet.Uint(64)
	case output.TypeTime:
		return parquet.Timestamp(parquet.Nanosecond)
	case output.TypeFloat:
		return parquet.Leaf(parquet.DoubleType)
	case output.TypeBool:
		return parquet.Leaf(parquet.BooleanType)
	case output.TypeList, output.TypeStrings, output.TypeCounts, output.TypeDrift:
		return parquet.JSON()
	}
	return parquet.String()
}

// encoded is the node with the encoding that suits its values: times grow, and few
// strings are many.
func encoded(f *output.Field) parquet.Node {
	n := node(f.Type)
	switch {
	case f.Type == output.TypeTime:
		return parquet.Encoded(n, &parquet.DeltaBinaryPacked)
	case f.Name != "cookie" && n.Type().Kind() == parquet.ByteArray:
		return parquet.Encoded(n, &parquet.RLEDictionary)
	}
	return n
}

// table is a group whose columns stand in the order of the fields, and not of their
// names.
type table struct {
	parquet.Group
	order []*output.Field
}

func schema(fields []*output.Field) *parquet.Schema {
	t := table{Group: make(parquet.Group), order: fields}
	for _, f := range fields {
		t.Group[f.Name] = parquet.Optional(encoded(f))
	}
	return parquet.NewSchema("twtrace", t)
}

// Fields is that of a parquet.Node.
func (t table) Fields() []parquet.Field {
	sorted := t.Group.Fields()
	out := make([]parquet.Field, len(t.order))
	for i, f := range t.order {
		out[i] = sorted[slices.IndexFunc(sorted, func(s parquet.Field) bool { return s.Name() == f.Name })]
	}
	return out
}
