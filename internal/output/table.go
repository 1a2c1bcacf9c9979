package output

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
)

// TableColumn is a column of a [Table]. Name follows the rules of a field: it
// is the JSON key and the CSV header, and ends in its unit.
type TableColumn struct {
	Name    string
	Width   int    // least width
	Right   bool   // to the right, as numbers stand
	Wide    bool   // not in Text
	Heading string // of text; "" for the Name
}

func (c *TableColumn) heading() string { return cmp.Or(c.Heading, heading(c.Name)) }

// Table prints rows whose number is known, with the conventions of records.
// JSON is one object a row.
type Table struct {
	columns []TableColumn
	picked  []int // by Select, nil if there was none
	cells   []Value
}

// NewTable returns an empty table.
func NewTable(columns ...TableColumn) *Table { return &Table{columns: columns} }

// Select makes the table print the columns of these names, in this order,
// whatever the format.
func (t *Table) Select(names []string) error {
	picked := make([]int, 0, len(names))
	for _, n := range names {
		i := slices.IndexFunc(t.columns, func(c TableColumn) bool { return c.Name == n })
		if i < 0 {
			return fmt.Errorf("no field %q: the fields are %s", n, strings.Join(t.names(), ", "))
		}
		if slices.Contains(picked, i) {
			return fmt.Errorf("field %q is named twice", n)
		}
		picked = append(picked, i)
	}
	t.picked = picked
	return nil
}

// Add adds a row. It panics if there is not one cell for each column.
func (t *Table) Add(cells ...Value) {
	if len(cells) != len(t.columns) {
		panic(fmt.Sprintf("output: %d cells in a row of %d columns", len(cells), len(t.columns)))
	}
	t.cells = append(t.cells, cells...)
}

// Len returns the number of rows.
func (t *Table) Len() int {
	if len(t.columns) == 0 {
		return 0
	}
	return len(t.cells) / len(t.columns)
}

// Reset removes all rows.
func (t *Table) Reset() { t.cells = t.cells[:0] }

// Write prints the table. The heading is printed even if there is no row, but
// for JSON. Errors are as those of [Writer].
func (t *Table) Write(w io.Writer, f Format) error {
	s := sink{w: w}
	show := t.shown(f)
	switch f {
	case JSON:
		s.buf = t.appendJSON(s.buf, show)
	case CSV:
		s.buf = t.appendCSV(s.buf, show)
	default:
		s.buf = t.appendText(s.buf, show)
	}
	return s.Flush()
}

func (t *Table) names() []string {
	out := make([]string, len(t.columns))
	for i, c := range t.columns {
		out[i] = c.Name
	}
	return out
}

// shown returns the indices of the columns to print.
func (t *Table) shown(f Format) []int {
	if t.picked != nil {
		return t.picked
	}
	var out []int
	for i, c := range t.columns {
		if f != Text || !c.Wide {
			out = append(out, i)
		}
	}
	return out
}

// row returns the cells of row i.
func (t *Table) row(i int) []Value {
	n := len(t.columns)
	return t.cells[i*n : (i+1)*n]
}

func (t *Table) appendText(dst []byte, show []int) []byte {
	var l layout
	for _, i := range show {
		c := t.columns[i]
		n := max(c.Width, len(c.heading()))
		for r := range t.Len() {
			n = max(n, width(t.row(r)[i].appendText(nil)))
		}
		l.columns = append(l.columns, Column{Width: n, Right: c.Right})
	}
	l.begin()
	for _, i := range show {
		dst = l.cell(dst, []byte(t.columns[i].heading()))
	}
	dst = append(dst, '\n')
	for r := range t.Len() {
		l.begin()
		for _, i := range show {
			dst = l.cell(dst, t.row(r)[i].appendText(nil))
		}
		dst = append(dst, '\n')
	}
	return dst
}

func (t *Table) appendCSV(dst []byte, show []int) []byte {
	for n, i := range show {
		if n > 0 {
			dst = append(dst, ',')
		}
		dst = append(dst, t.columns[i].Name...)
	}
	dst = append(dst, '\n')
	for r := range t.Len() {
		for n, i := range show {
			if n > 0 {
				dst = append(dst, ',')
			}
			dst = appendCSV(dst, t.row(r)[i])
		}
		dst = append(dst, '\n')
	}
	return dst
}

func (t *Table) appendJSON(dst []byte, show []int) []byte {
	for r := range t.Len() {
		dst = append(dst, '{')
		from := len(dst)
		for _, i := range show {
			dst = appendMember(dst, from, t.columns[i].Name, t.row(r)[i])
		}
		dst = append(dst, '}', '\n')
	}
	return dst
}
