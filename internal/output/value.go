package output

import (
	"math"
	"net/netip"
	"slices"
	"strconv"
	"time"

	"github.com/twtrace/twtrace/internal/clock"
	"github.com/twtrace/twtrace/internal/event"
)

// Type is the type of a value; it decides how each format prints it.
type Type uint8

// The types.
const (
	TypeNone     Type = iota // not known
	TypeString               // a string from outside; escaped
	TypeProse                // the same, but text keeps its spaces: for the last column of a table
	TypeWord                 // one of our own words
	TypeInt                  // a signed number
	TypeUint                 // an unsigned number
	TypeFloat                // a number with a fixed count of decimals
	TypeDuration             // nanoseconds; a number in JSON and CSV
	TypeTime                 // nanoseconds since the epoch; RFC 3339
	TypeHex                  // a number in lower-case hex; a string in JSON
	TypeBool                 // true and false in JSON and CSV, yes and no in text
	TypeAddr                 // an IP address
	TypeList                 // []string
	TypeStrings              // map[string]string
	TypeCounts               // map[string]uint64
	TypeDrift                // []event.Drift
)

// Value is one value of a record or of a table cell. The zero Value is "not
// known". Values of the simple types allocate nothing.
type Value struct {
	typ      Type
	decimals uint8
	num      uint64
	str      string
	addr     netip.Addr
	nested   any
}

// String is a string from outside; the empty string is not known.
func String(s string) Value { return stringValue(TypeString, s) }

// Prose is a sentence; text prints its spaces as they are.
func Prose(s string) Value { return stringValue(TypeProse, s) }

// Word is a word of our own, that needs no escaping.
func Word(s string) Value { return stringValue(TypeWord, s) }

// Int is a number that is known.
func Int(n int64) Value { return Value{typ: TypeInt, num: uint64(n)} }

// Uint is a number that is known.
func Uint(n uint64) Value { return Value{typ: TypeUint, num: n} }

// Float is a number printed with that many decimals; NaN and infinity are not
// known.
func Float(f float64, decimals uint8) Value {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return Value{}
	}
	return Value{typ: TypeFloat, num: math.Float64bits(f), decimals: decimals}
}

// Nanos is a duration in ns that is known. A field of that type has a name
// that ends in _ns.
func Nanos(ns int64) Value { return Value{typ: TypeDuration, num: uint64(ns)} }

// Time is a time in ns since the epoch; 0 is not known.
func Time(ns int64) Value {
	if ns == 0 {
		return Value{}
	}
	return Value{typ: TypeTime, num: uint64(ns)}
}

// Hex is a number, as ss prints a cookie; 0 is not known.
func Hex(n uint64) Value {
	if n == 0 {
		return Value{}
	}
	return Value{typ: TypeHex, num: n}
}

// Bool is a truth value that is known.
func Bool(b bool) Value {
	if b {
		return Value{typ: TypeBool, num: 1}
	}
	return Value{typ: TypeBool}
}

// Addr is an IP address, an IPv4-mapped one as IPv4, without a zone: that is a
// name of this host's, and no part of the address. The zero Addr is not known.
func Addr(a netip.Addr) Value {
	if !a.IsValid() {
		return Value{}
	}
	return Value{typ: TypeAddr, addr: a.Unmap().WithZone("")}
}

// List is a list of strings from outside, known even if it is empty.
func List(s []string) Value { return Value{typ: TypeList, nested: s} }

func stringValue(t Type, s string) Value {
	if s == "" {
		return Value{}
	}
	return Value{typ: t, str: s}
}

// Type returns the type of v, TypeNone if v is not known.
func (v Value) Type() Type { return v.typ }

// Known reports whether v is known.
func (v Value) Known() bool { return v.typ != TypeNone }

// Uint64 returns the number, the time or the duration in ns, or 1 for true.
func (v Value) Uint64() uint64 { return v.num }

// Int64 is Uint64 for the signed types.
func (v Value) Int64() int64 { return int64(v.num) }

// Float64 returns a value of TypeFloat.
func (v Value) Float64() float64 { return math.Float64frombits(v.num) }

// Append appends v as CSV has it, but for the quotes; nothing if it is not
// known. Lists are a;b and maps k=v;k=v.
func (v Value) Append(dst []byte) []byte {
	switch v.typ {
	case TypeString, TypeProse:
		return appendCSVString(dst, v.str)
	case TypeList, TypeStrings, TypeCounts, TypeDrift:
		return v.appendCompact(dst, ";=")
	}
	return v.appendScalar(dst)
}

// appendScalar appends the types that print the same in all formats but text.
func (v Value) appendScalar(dst []byte) []byte {
	switch v.typ {
	case TypeWord:
		return append(dst, v.str...)
	case TypeInt, TypeDuration:
		return strconv.AppendInt(dst, int64(v.num), 10)
	case TypeUint:
		return strconv.AppendUint(dst, v.num, 10)
	case TypeFloat:
		return strconv.AppendFloat(dst, v.Float64(), 'f', int(v.decimals), 64)
	case TypeTime:
		return appendTime(dst, int64(v.num))
	case TypeHex:
		return strconv.AppendUint(dst, v.num, 16)
	case TypeBool:
		return strconv.AppendBool(dst, v.num != 0)
	case TypeAddr:
		return v.addr.AppendTo(dst)
	}
	return dst
}

// appendText appends v as a cell of text, "-" if it is not known or empty; c prints times.
func (v Value) appendText(dst []byte, c clock.Clock) []byte {
	from := len(dst)
	switch v.typ {
	case TypeString:
		dst = appendCell(dst, v.str)
	case TypeProse:
		dst = Escape(dst, v.str)
	case TypeDuration:
		dst = AppendDuration(dst, int64(v.num))
	case TypeTime:
		dst = c.AppendFull(dst, time.Unix(0, int64(v.num)))
	case TypeBool:
		if v.num != 0 {
			dst = append(dst, "yes"...)
		} else {
			dst = append(dst, "no"...)
		}
	case TypeList, TypeStrings, TypeCounts, TypeDrift:
		dst = v.appendCompact(dst, ";= ")
	default:
		dst = v.appendScalar(dst)
	}
	if len(dst) == from {
		dst = append(dst, '-')
	}
	return dst
}

// appendCompact appends a nested value on one line; also are the bytes that
// mean something there, and are escaped inside the items.
func (v Value) appendCompact(dst []byte, also string) []byte {
	from := len(dst)
	next := func() {
		if len(dst) > from {
			dst = append(dst, ';')
		}
	}
	switch n := v.nested.(type) {
	case []string:
		for _, s := range n {
			next()
			dst = escape(dst, s, also)
		}
	case map[string]string:
		for _, k := range sortedKeys(n) {
			next()
			dst = append(escape(dst, k, also), '=')
			dst = escape(dst, n[k], also)
		}
	case map[string]uint64:
		for _, k := range sortedKeys(n) {
			next()
			dst = append(escape(dst, k, also), '=')
			dst = strconv.AppendUint(dst, n[k], 10)
		}
	case []event.Drift:
		for _, d := range n {
			next()
			dst = append(dst, "netns="...)
			dst = strconv.AppendUint(dst, uint64(d.NetNS), 10)
			dst = append(dst, ",births="...)
			dst = strconv.AppendInt(dst, d.Births, 10)
			dst = append(dst, ",reused="...)
			dst = strconv.AppendInt(dst, d.Reused, 10)
			dst = append(dst, ",refused="...)
			dst = strconv.AppendInt(dst, d.Refused, 10)
			dst = append(dst, ",alive="...)
			dst = strconv.AppendInt(dst, d.Alive, 10)
		}
	}
	return dst
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// appendTime appends ns since the epoch as RFC 3339 in UTC, always with nine
// digits of the second.
func appendTime(dst []byte, ns int64) []byte {
	t := time.Unix(0, ns).UTC()
	y, m, d := t.Date()
	dst = append(appendDigits(dst, y, 4), '-')
	dst = append(appendDigits(dst, int(m), 2), '-')
	dst = append(appendDigits(dst, d, 2), 'T')
	dst = appendClock(dst, t)
	return append(appendDigits(append(dst, '.'), t.Nanosecond(), 9), 'Z')
}

// appendClock appends HH:MM:SS.
func appendClock(dst []byte, t time.Time) []byte {
	h, m, s := t.Clock()
	dst = append(appendDigits(dst, h, 2), ':')
	dst = append(appendDigits(dst, m, 2), ':')
	return appendDigits(dst, s, 2)
}

// appendDigits appends n >= 0 with digits digits.
func appendDigits(dst []byte, n, digits int) []byte {
	for range digits {
		dst = append(dst, '0')
	}
	for i := len(dst) - 1; n > 0 && i >= len(dst)-digits; i-- {
		dst[i] = byte('0' + n%10)
		n /= 10
	}
	return dst
}
