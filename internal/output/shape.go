package output

import (
	"slices"
	"strconv"
	"strings"
	"time"
)

// arrangement is one choice of columns.
type arrangement []column

// column is a field in an arrangement, with the width it has there.
type column struct {
	field *Field
	width int // that its longest usual value takes
}

// parseArrangement makes an arrangement of fields, each with a width of its own behind a
// colon if that of the field does not fit there: "event:12".
func parseArrangement(names []string) (arrangement, error) {
	fields, err := lookup(bare(names))
	if err != nil {
		return nil, err
	}
	out := make(arrangement, len(fields))
	for i, f := range fields {
		_, w, _ := strings.Cut(names[i], ":")
		n, _ := strconv.Atoi(w) // without a width it is 0
		out[i] = column{f, n}
	}
	return out, nil
}

// bare returns the names of an arrangement without widths.
func bare(names []string) []string {
	out := make([]string, len(names))
	for i, n := range names {
		out[i], _, _ = strings.Cut(n, ":")
	}
	return out
}

// shape is how the columns stand: which ones, and how wide each is. Widths are fixed, for
// the usual values, and grow for others.
type shape struct {
	opts    Options
	layouts []arrangement // the one with most columns first
	columns arrangement   // the one in use
	layout  layout
	grown   map[*Field]int // that values have needed
	exact   bool           // widths are those of the values alone
	at      time.Time      // whose zone the heading names
}

func newShape(layouts []arrangement, opts Options) shape {
	return shape{opts: opts, layouts: layouts, grown: make(map[*Field]int), at: time.Now()}
}

// Addresses grow in steps, so that few headings are enough: IPv4, what most of IPv6
// takes, and all of it.
var addressSteps = []int{15, 26, 39}

// enough is how much of an address is shown before a column is dropped in its favour.
const enough = 22

// limited reports whether there is a terminal that the lines have to fit.
func (s *shape) limited() bool {
	return s.opts.Width > 0 && s.opts.Format == Text && len(s.opts.Fields) == 0
}

// wanted is the width of a column, as far as values have shown.
func (s *shape) wanted(c column) int {
	n := len(c.field.heading())
	if s.ofDay(c.field) {
		n = len(s.heading(c.field))
	}
	if s.exact {
		return max(n, s.grown[c.field])
	}
	n = max(n, c.width, s.grown[c.field])
	if c.width == 0 {
		n = max(n, c.field.Width)
		if s.opts.Format == Wide {
			n = max(n, c.field.full)
		}
	}
	if s.opts.Format == Wide && c.field.Type == TypeTime {
		n = max(len(s.opts.Clock.AppendFull(nil, s.at)), s.grown[c.field])
	}
	return n
}

// sum is how wide a line is, with addresses of at most so many columns.
func (s *shape) sum(a arrangement, address int) int {
	n := len(a) - 1
	for _, c := range a {
		w := s.wanted(c)
		if c.field.Type == TypeAddr {
			w = min(w, max(address, addressSteps[0]))
		}
		n += w
	}
	return n
}

// choose picks the columns that fit: the most of them that show whole addresses, else the
// most with addresses that are cut little. The last arrangement is for when none fits. It
// reports whether that differs from before.
func (s *shape) choose() bool {
	columns, widths := s.columns, s.layout.columns
	best, address := len(s.layouts)-1, addressSteps[0]
	if !s.limited() {
		best, address = 0, addressSteps[len(addressSteps)-1]
	} else {
		for _, n := range []int{addressSteps[len(addressSteps)-1], enough} {
			last := len(s.layouts)
			if n != enough {
				last = max(last-1, 1) // an address is not worth what the smallest lacks
			}
			i := slices.IndexFunc(s.layouts[:last], func(a arrangement) bool { return s.sum(a, n) <= s.opts.Width })
			if i >= 0 {
				best, address = i, n
				break
			}
		}
		for address < addressSteps[len(addressSteps)-1] && s.sum(s.layouts[best], address+1) <= s.opts.Width {
			address++
		}
	}
	s.columns = s.layouts[best]
	s.layout = layout{columns: make([]Column, len(s.columns))}
	for i, c := range s.columns {
		w := s.wanted(c)
		if c.field.Type == TypeAddr {
			w = min(w, max(address, addressSteps[0]))
		}
		s.layout.columns[i] = Column{Width: w, Max: w, Right: c.field.Right}
	}
	return !slices.Equal(columns, s.columns) || !slices.Equal(widths, s.layout.columns)
}

// grow makes columns wider for cells that need it, and reports whether one changed.
func (s *shape) grow(cells [][]byte) bool {
	changed := false
	for i, c := range s.columns {
		if i == len(s.columns)-1 && !c.field.Right {
			continue // nothing stands behind it
		}
		n := width(cells[i])
		if n <= s.layout.columns[i].Width || s.limited() && c.field.Type == TypeString {
			continue
		}
		n = min(n, max(c.field.Max, c.field.Width, c.width))
		if c.field.Type == TypeAddr && !s.exact {
			n = addressSteps[slices.IndexFunc(addressSteps, func(step int) bool { return step >= n })]
		}
		if n > s.wanted(c) {
			s.grown[c.field] = n
			changed = true
		}
	}
	return changed
}

// measure makes columns as wide as the cells of a row need.
func (s *shape) measure(of func(*Field) int) {
	s.exact = true
	for _, c := range s.layouts[0] {
		n := of(c.field)
		if s.limited() && c.field.Type == TypeString {
			n = min(n, c.field.Width)
		}
		s.grown[c.field] = max(s.grown[c.field], min(n, max(c.field.Max, c.field.Width)))
	}
}

// minLast is the least that the last column of a terminal has.
const minLast = 8

// appendLine appends cells as a line. On a terminal nothing is longer than its column, and
// no line than the screen, unless that is too narrow for everything.
func (s *shape) appendLine(dst []byte, cells [][]byte) []byte {
	s.layout.start()
	for i, text := range cells {
		if s.limited() {
			n := s.layout.columns[i].Width
			if i == len(cells)-1 {
				n = max(s.opts.Width-s.layout.at-min(i, 1), minLast)
			}
			text = shorten(text, max(n, 1))
		}
		dst = s.layout.cell(dst, text)
	}
	return append(dst, '\n')
}

// ofDay reports whether a field is printed as a time of day.
func (s *shape) ofDay(f *Field) bool { return f.Type == TypeTime && s.opts.Format == Text }

// heading is that of a field. A time of day needs a zone.
func (s *shape) heading(f *Field) string {
	if s.ofDay(f) {
		return s.opts.Clock.Heading(f.heading(), s.at)
	}
	return f.heading()
}

// dated reports whether a heading names the zone.
func (s *shape) dated() bool {
	return slices.ContainsFunc(s.columns, func(c column) bool { return s.ofDay(c.field) })
}
