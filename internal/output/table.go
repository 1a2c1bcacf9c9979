package output

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/twtrace/twtrace/internal/clock"
)

// TableColumn is a column of a [Table]. Name is that of a [Term], or follows the
// rules of one: it is the JSON key and the CSV header, and ends in its unit.
type TableColumn struct {
	Name  string
	Width int  // at least
	Right bool // aligned to the right, as numbers are
	Wide  bool // not in Text
	Data  bool // in JSON and CSV alone
	// Drop is when the column goes where a terminal is too narrow: the highest first; one
	// with 0 stays.
	Drop int
	// Telling columns are in text only where their values differ from row to row.
	Telling bool
}

// heading returns the heading in text.
func (c *TableColumn) heading() string {
	if t, ok := FindTerm(c.Name); ok {
		return t.Heading()
	}
	return heading(c.Name)
}

// Table prints rows whose number is known, with the conventions of records.
// JSON is one object per row.
type Table struct {
	columns []TableColumn
	picked  []int // by Select, nil if there was none
	cells   []Value
	clock   clock.Clock
	width   int // of the terminal; 0 is none
}

// NewTable returns an empty table.
func NewTable(columns ...TableColumn) *Table { return &Table{columns: columns} }

// SetClock sets what prints the times of text and wide; without it they are UTC.
func (t *Table) SetClock(c clock.Clock) { t.clock = c }

// SetWidth makes text without [Table.Select] fit a terminal of so many columns.
func (t *Table) SetWidth(n int) { t.width = n }

// Select makes the table print the columns of these names or headings, in this order,
// whatever the format. Names that columns had in earlier schemas select them too.
func (t *Table) Select(names []string) error {
	picked := make([]int, 0, len(names))
	for _, n := range names {
		i := t.column(n)
		if i < 0 {
			return fmt.Errorf("no field %q%s", n, t.nearest(n))
		}
		if slices.Contains(picked, i) {
			return fmt.Errorf("field %q is named twice", n)
		}
		picked = append(picked, i)
	}
	t.picked = picked
	return nil
}

// column returns the index of the column of that name, or of the one that had it
// earlier; -1 if there is none.
func (t *Table) column(name string) int {
	i := slices.IndexFunc(t.columns, func(c TableColumn) bool { return c.Name == name })
	if i >= 0 {
		return i
	}
	i = slices.IndexFunc(t.columns, func(c TableColumn) bool { return named(name, c.Name, c.heading()) })
	if i >= 0 {
		return i
	}
	return slices.IndexFunc(t.columns, func(c TableColumn) bool {
		term, ok := FindTerm(c.Name)
		return ok && term.WasIn(name, "")
	})
}

// nearest suggests the column that was meant.
func (t *Table) nearest(typed string) string {
	best := nearestName(typed, func(yield func(name, heading string) bool) {
		for _, c := range t.columns {
			if !yield(c.Name, c.heading()) {
				return
			}
		}
	})
	if best == "" {
		return "; the fields are " + strings.Join(t.names(), ", ")
	}
	return "; did you mean " + best + "?"
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

// Write prints the table, in text and CSV with a heading even if there is no row.
// Errors are those of [Writer].
func (t *Table) Write(w io.Writer, f Format) error {
	s := sink{w: w}
	show := t.shown(f)
	switch f {
	case JSON:
		s.buf = t.appendJSON(s.buf, show)
	case CSV:
		s.buf = t.appendCSV(s.buf, show)
	default:
		s.buf = t.appendText(s.buf, show, f)
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
		if people := f == Text || f == Wide; (f != Text || !c.Wide) && (!people || !c.Data) {
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

func (t *Table) appendText(dst []byte, show []int, f Format) []byte {
	var l layout
	if f == Text && t.picked == nil {
		show = slices.DeleteFunc(slices.Clone(show), func(i int) bool { return t.columns[i].Telling && !t.differs(i) })
	}
	show, widths := t.fit(show, f)
	for n, i := range show {
		l.columns = append(l.columns, Column{Width: widths[n], Right: t.columns[i].Right})
	}
	l.start()
	for _, i := range show {
		dst = l.cell(dst, []byte(t.columns[i].heading()))
	}
	dst = append(dst, '\n')
	for r := range t.Len() {
		l.start()
		for _, i := range show {
			text := t.row(r)[i].appendText(nil, t.clock)
			if t.limited(f) {
				text = shorten(text, l.columns[l.i].Width)
			}
			dst = l.cell(dst, text)
		}
		dst = append(dst, '\n')
	}
	return dst
}

// limited reports whether there is a terminal to fit.
func (t *Table) limited(f Format) bool { return f == Text && t.width > 0 && t.picked == nil }

// differs reports whether a column has more than one value.
func (t *Table) differs(i int) bool {
	for r := range t.Len() {
		if a, b := t.row(0)[i], t.row(r)[i]; string(a.Append(nil)) != string(b.Append(nil)) {
			return true
		}
	}
	return false
}

// fit returns the columns that fit the terminal, and how wide each is for its values.
func (t *Table) fit(show []int, f Format) (fit, widths []int) {
	sum := -1
	for _, i := range show {
		c := t.columns[i]
		n := max(c.Width, len(c.heading()))
		for r := range t.Len() {
			n = max(n, width(t.row(r)[i].appendText(nil, t.clock)))
		}
		fit, widths = append(fit, i), append(widths, n)
		sum += 1 + n
	}
	for t.limited(f) && sum > t.width {
		worst := 0
		for n, i := range fit {
			if t.columns[i].Drop > t.columns[fit[worst]].Drop {
				worst = n
			}
		}
		if t.columns[fit[worst]].Drop == 0 {
			break
		}
		sum -= 1 + widths[worst]
		fit, widths = slices.Delete(fit, worst, worst+1), slices.Delete(widths, worst, worst+1)
	}
	if t.limited(f) && sum > t.width { // long names and addresses give way
		widest := slices.Index(widths, slices.Max(widths))
		for ; sum > t.width && widths[widest] > addressSteps[0]; widest = slices.Index(widths, slices.Max(widths)) {
			widths[widest]--
			sum--
		}
	}
	return fit, widths
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
