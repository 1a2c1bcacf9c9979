package output

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/twtrace/twtrace/internal/event"
)

// Field is one field of a record. Name is its JSON key and its CSV header.
type Field struct {
	Name string
	Doc  string   // one sentence for the documentation, in Markdown
	On   string   // the records that can have it; "" is every one about a connection
	Type Type     // of its value, where it is known
	Enum []string // its values, if it has a fixed set
	Column

	value func(e *event.Event) Value
	at    func(e *event.Event) any                // a pointer to where Decode puts it; nil if it follows from others
	text  func(dst []byte, e *event.Event) []byte // a shorter form in Text, or nil
	full  int                                     // width in Wide, if text makes it shorter
	about bool                                    // only start or end have it
}

// Column is how a field or a cell stands in a text table.
type Column struct {
	Width int  // least width
	Max   int  // where a column that grows stops growing; 0 is Width
	Right bool // to the right
}

// Value returns the field's value in e; TypeNone if it is not known.
func (f *Field) Value(e *event.Event) Value { return f.value(e) }

// heading returns the heading of a field or column: text prints durations for
// people, so the unit in the name is not said.
func heading(name string) string {
	return strings.ToUpper(strings.TrimSuffix(name, "_ns"))
}

// What text and wide print unless told otherwise. An IPv4 record of text is
// under 80 columns as a rule and never over 100.
var (
	textFields = []string{"time", "event", "pid", "comm", "lport", "raddr", "rport", "life_ns", "reason"}
	wideFields = []string{"time", "event", "netns", "cookie", "pid", "comm", "owner", "role", "closer",
		"closer_pid", "closer_comm", "uid", "ppid", "pcomm", "unit", "container", "laddr", "lport", "raddr", "rport", "life_ns", "state_ns",
		"remaining_ns", "timestamps", "reason", "call", "errno"}
)

// Fields returns the table of fields, in the order of JSON and CSV.
func Fields() []*Field { return slices.Clone(all) }

// Default returns the names of the fields that a format prints by default.
func Default(f Format) []string {
	switch f {
	case Text:
		return slices.Clone(textFields)
	case Wide:
		return slices.Clone(wideFields)
	}
	return names(all)
}

// ParseFields parses a list of field names, as --fields takes it: "pid,comm".
func ParseFields(list string) ([]string, error) {
	sel := strings.Split(list, ",")
	for i := range sel {
		sel[i] = strings.TrimSpace(sel[i])
	}
	if _, err := lookup(sel); err != nil {
		return nil, err
	}
	return sel, nil
}

// lookup returns the fields of these names.
func lookup(sel []string) ([]*Field, error) {
	out := make([]*Field, 0, len(sel))
	for i, n := range sel {
		f := find(n)
		if f == nil {
			return nil, fmt.Errorf("no field %q: the fields are %s", n, strings.Join(names(all), ", "))
		}
		if slices.Contains(sel[:i], n) {
			return nil, fmt.Errorf("field %q is named twice", n)
		}
		out = append(out, f)
	}
	return out, nil
}

func find(name string) *Field {
	i := slices.IndexFunc(all, func(f *Field) bool { return f.Name == name })
	if i < 0 {
		return nil
	}
	return all[i]
}

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

// shortTime is the time of day; the date stands in the start remark.
func shortTime(dst []byte, e *event.Event) []byte {
	if e.Time == 0 {
		return append(dst, '-')
	}
	t := time.Unix(0, e.Time).UTC()
	return appendDigits(append(appendClock(dst, t), '.'), t.Nanosecond()/int(time.Millisecond), 3)
}

// shortEvent says tw_enter for time_wait_enter, and so on; --event takes both.
func shortEvent(dst []byte, e *event.Event) []byte {
	s := e.Kind.String()
	if rest, ok := strings.CutPrefix(s, "time_wait_"); ok {
		return append(append(dst, "tw_"...), rest...)
	}
	return append(dst, s...)
}

// whyText is the reason, and on fail, which has none, the errno. On storms it is
// followed by the severity and the ports in use.
func whyText(dst []byte, e *event.Event) []byte {
	if s := e.Storm; s != nil {
		dst = append(append(dst, e.Reason.String()...), ',')
		dst = append(dst, s.Severity.String()...)
		if s.Usable > 0 {
			dst = append(append(dst, ','), Percent(s.Used, s.Usable)...)
		}
		return dst
	}
	if e.Kind == event.Fail && e.Reason == event.ReasonNone {
		return errnoOf(e.Errno).appendText(dst)
	}
	return Word(e.Reason.String()).appendText(dst)
}
