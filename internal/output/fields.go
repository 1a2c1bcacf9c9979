package output

import (
	"fmt"
	"iter"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/xrash/smetrics"
	"golang.org/x/sys/unix"

	"github.com/twtrace/twtrace/internal/clock"
	"github.com/twtrace/twtrace/internal/event"
)

// Field is one field of a record. Name is its JSON key and its CSV header.
type Field struct {
	Name string
	Doc  string   // one sentence for the documentation, in Markdown
	On   string   // the records that can have it; "" is every one about a connection
	Type Type     // of its value, where it is known
	Enum []string // its values, if it has a fixed set
	Was  []Old    // what else it was called, in earlier schemas
	Column

	value    func(e *event.Event) Value
	at       func(e *event.Event) any                               // a pointer to where Decode stores it; nil if it follows from others
	text     func(dst []byte, e *event.Event, c clock.Clock) []byte // a shorter form in Text, or nil
	alsoWide bool                                                   // Wide prints text too
	full     int                                                    // width in Wide, if text makes it shorter
	short    string                                                 // the heading, if it is not made of the name
	about    bool                                                   // only start or end have it
	instead  string                                                 // of a column of text: the fields that the other formats have for it
}

// Column is the layout of a field in a text table.
type Column struct {
	Width int  // at least
	Max   int  // maximum width of a column that grows; 0 is Width
	Right bool // aligned to the right
}

// Value returns the field's value in e; TypeNone if it is not known.
func (f *Field) Value(e *event.Event) Value { return f.value(e) }

// Fields returns the table of fields, in the order of JSON, CSV and Parquet.
func Fields() []*Field { return slices.Clone(all) }

// Default returns the names of the fields that a format prints by default.
func Default(f Format) []string {
	switch f {
	case Text:
		return bare(textArrangements[0])
	case Wide:
		return slices.Clone(wideFields)
	}
	return names(all)
}

// ParseFields parses a list of fields, as --fields takes it: by their names or by their
// headings, in any case: "pid,COMM".
func ParseFields(list string, f Format) ([]string, error) {
	sel := strings.Split(list, ",")
	for i := range sel {
		sel[i] = strings.TrimSpace(sel[i])
	}
	fields, err := lookup(sel)
	if err != nil {
		return nil, err
	}
	for _, x := range fields {
		if x.instead != "" && (f == JSON || f == CSV) {
			return nil, fmt.Errorf("field %q is one of text; %v has %s", x.Name, f, x.instead)
		}
	}
	return names(fields), nil
}

// lookup returns the fields of these names.
func lookup(sel []string) ([]*Field, error) {
	out := make([]*Field, 0, len(sel))
	for i, n := range sel {
		f := find(n)
		if f == nil {
			return nil, fmt.Errorf("no field %q%s", n, nearest(n, slices.Concat(all, textOnly)))
		}
		if slices.Contains(out, f) {
			return nil, fmt.Errorf("field %q is named twice", sel[i])
		}
		out = append(out, f)
	}
	return out, nil
}

// find returns the field of that name or heading, or the one that had it in an earlier
// schema; nil if there is none.
func find(name string) *Field {
	if f := byName[name]; f != nil {
		return f
	}
	for _, f := range slices.Concat(all, textOnly) {
		if named(name, f.Name, f.heading()) {
			return f
		}
	}
	return nil
}

// named reports whether what was typed is a name or a heading, in capitals or not; that of
// a time may have its zone.
func named(typed, name, heading string) bool {
	typed, _, _ = strings.Cut(typed, "(")
	return strings.EqualFold(typed, name) || strings.EqualFold(typed, heading)
}

// nearest suggests the field that was meant, and says where all are.
func nearest(typed string, fields []*Field) string {
	best := nearestName(typed, func(yield func(name, heading string) bool) {
		for _, f := range fields {
			if !yield(f.Name, f.heading()) {
				return
			}
		}
	})
	if best == "" {
		return "; the first line of -o csv has all names"
	}
	return "; did you mean " + best + "?"
}

// nearestName returns the name of those in pairs of a name and a heading that is most like
// what was typed; "" if none is.
func nearestName(typed string, pairs iter.Seq2[string, string]) string {
	typed = strings.ToLower(typed)
	best, least := "", len(typed)/3+2 // a letter in three may be wrong
	for name, heading := range pairs {
		for _, n := range []string{name, strings.ToLower(heading)} {
			d := smetrics.WagnerFischer(typed, n, 1, 1, 1)
			if min(len(typed), len(n)) > 2 && (strings.HasPrefix(n, typed) || strings.HasPrefix(typed, n)) {
				d = min(d, 1)
			}
			if d < least && typed != "" {
				best, least = name, d
			}
		}
	}
	return best
}

// heading is that of the field in text.
func (f *Field) heading() string { return f.Term().Heading() }

// byName is the table of fields by their names, earlier ones included.
var byName = func() map[string]*Field {
	m := make(map[string]*Field, len(all))
	for _, f := range all {
		for _, old := range f.Was {
			if old.In == inRecords {
				m[old.Name] = f
			}
		}
	}
	for _, f := range all {
		m[f.Name] = f
	}
	return m
}()

func names(fields []*Field) []string {
	out := make([]string, len(fields))
	for i, f := range fields {
		out[i] = f.Name
	}
	return out
}

// all is the table: the fields of connections, of storms, then those of start and end.
var all = join(connFields, stormFields, startFields, endFields)

func join(parts ...[]Field) []*Field {
	var out []*Field
	for _, p := range parts {
		for i := range p {
			p[i].about = p[i].On == "start" || p[i].On == "end"
			out = append(out, &p[i])
		}
	}
	return out
}

// uintOf is a number of which 0 means "not known".
func uintOf[T ~uint8 | ~uint16 | ~uint32 | ~uint64](n T) Value {
	if n == 0 {
		return Value{}
	}
	return Uint(uint64(n))
}

// nanosOf is a duration of which 0 means "not known".
func nanosOf(ns int64) Value {
	if ns == 0 {
		return Value{}
	}
	return Nanos(ns)
}

// errnoOf is the name of an errno, or its number where it has none.
func errnoOf(n uint16) Value {
	if n == 0 {
		return Value{}
	}
	if s := unix.ErrnoName(syscall.Errno(n)); s != "" {
		return Word(s)
	}
	return Word(strconv.Itoa(int(n)))
}
