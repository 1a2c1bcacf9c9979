package output

import (
	"strconv"

	"github.com/twtrace/twtrace/internal/event"
)

type jsonWriter struct {
	sink
	fields []*Field // nil for all
	enc    Encoder
}

// Write appends one object and a newline. It allocates nothing once the buffer
// is there, but for start and end records.
func (w *jsonWriter) Write(e *event.Event) error {
	if !w.start(e) {
		return w.err
	}
	if w.fields == nil || about(e) {
		w.buf = w.enc.AppendJSON(w.buf, e)
	} else {
		w.buf = appendObject(w.buf, w.fields, e)
	}
	w.buf = append(w.buf, '\n')
	return w.done()
}

// AppendJSON appends e as one JSON object with every field that is known.
func AppendJSON(dst []byte, e *event.Event) []byte {
	return appendObject(dst, all, e)
}

func appendObject(dst []byte, fields []*Field, e *event.Event) []byte {
	dst = append(dst, '{')
	from := len(dst)
	isAbout := about(e)
	for _, f := range fields {
		if isAbout || !f.about {
			dst = appendMember(dst, from, f.Name, f.value(e))
		}
	}
	return append(dst, '}')
}

// appendMember appends a member of the object whose members begin at from;
// nothing if v is not known.
func appendMember(dst []byte, from int, name string, v Value) []byte {
	if v.typ == TypeNone {
		return dst
	}
	if len(dst) > from {
		dst = append(dst, ',')
	}
	dst = append(append(append(dst, '"'), name...), '"', ':')
	return v.AppendJSON(dst)
}

// AppendBare appends v as JSON has it, but for the quotes of a string; nothing if it
// is not known.
func (v Value) AppendBare(dst []byte) []byte {
	if v.typ == TypeString || v.typ == TypeProse {
		return Escape(dst, v.str)
	}
	if v.nested != nil {
		return v.appendNested(dst)
	}
	return v.appendScalar(dst)
}

// AppendJSON appends v as a JSON value; nothing if it is not known.
func (v Value) AppendJSON(dst []byte) []byte {
	switch v.typ {
	case TypeString, TypeProse:
		return appendJSONString(dst, v.str)
	case TypeWord, TypeTime, TypeHex, TypeAddr:
		return append(v.appendScalar(append(dst, '"')), '"')
	case TypeList, TypeStrings, TypeCounts, TypeDrift:
		return v.appendNested(dst)
	}
	return v.appendScalar(dst)
}

// appendJSONString escapes s, then quotes the result: after Escape nothing but
// the quote and the backslash needs it.
func appendJSONString(dst []byte, s string) []byte {
	dst = append(dst, '"')
	from := len(dst)
	dst = Escape(dst, s)
	return append(insertBefore(dst, from, '\\', '\\', '"'), '"')
}

func (v Value) appendNested(dst []byte) []byte {
	switch n := v.nested.(type) {
	case []string:
		dst = append(dst, '[')
		for i, s := range n {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = appendJSONString(dst, s)
		}
		return append(dst, ']')
	case map[string]string:
		return appendMap(dst, n, appendJSONString)
	case map[string]uint64:
		return appendMap(dst, n, func(dst []byte, u uint64) []byte {
			return strconv.AppendUint(dst, u, 10)
		})
	case []event.Drift:
		dst = append(dst, '[')
		for i, d := range n {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = append(dst, `{"netns":`...)
			dst = strconv.AppendUint(dst, uint64(d.NetNS), 10)
			dst = append(dst, `,"births":`...)
			dst = strconv.AppendInt(dst, d.Births, 10)
			dst = append(dst, `,"reused":`...)
			dst = strconv.AppendInt(dst, d.Reused, 10)
			dst = append(dst, `,"refused":`...)
			dst = strconv.AppendInt(dst, d.Refused, 10)
			dst = append(dst, `,"alive":`...)
			dst = strconv.AppendInt(dst, d.Alive, 10)
			dst = append(dst, '}')
		}
		return append(dst, ']')
	}
	return append(dst, "null"...)
}

// appendMap appends m as an object, its keys sorted.
func appendMap[V any](dst []byte, m map[string]V, value func([]byte, V) []byte) []byte {
	dst = append(dst, '{')
	for i, k := range sortedKeys(m) {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(appendJSONString(dst, k), ':')
		dst = value(dst, m[k])
	}
	return append(dst, '}')
}
