// Package eventtest makes events for tests by reflection, so that a field that is
// added to [event.Event] is in them at once, and none can be forgotten.
package eventtest

import (
	"fmt"
	"net/netip"
	"reflect"
	"strings"

	"github.com/twtrace/twtrace/internal/event"
)

// Leaf is one thing that an event can say: a field of it, or of what it points to.
type Leaf struct {
	Path  string // "Process.Who.Exe"
	index [][]int
	kind  event.Kind
}

// Leaves returns all of them, in the order of the fields.
func Leaves() []Leaf {
	return leaves(nil, reflect.TypeFor[event.Event](), "", nil)
}

// leaves appends those of a struct.
func leaves(dst []Leaf, t reflect.Type, path string, index [][]int) []Leaf {
	for i := range t.NumField() {
		f := t.Field(i)
		name := strings.TrimPrefix(path+"."+f.Name, ".")
		at := append(index[:len(index):len(index)], f.Index)
		inner := f.Type
		if inner.Kind() == reflect.Pointer {
			inner = inner.Elem()
		}
		if inner.Kind() == reflect.Struct && inner != reflect.TypeFor[netip.AddrPort]() {
			dst = leaves(dst, inner, name, at)
			continue
		}
		dst = append(dst, Leaf{Path: name, index: at, kind: kindOf(name)})
	}
	return dst
}

// kindOf is a kind of event that can have the leaf.
func kindOf(path string) event.Kind {
	first, _, _ := strings.Cut(path, ".")
	switch first {
	case "Start":
		return event.Start
	case "End":
		return event.End
	case "Storm":
		return event.StormUpdate
	case "Count", "Stage":
		return event.Lost
	case "Call", "Errno":
		return event.Fail
	}
	return event.TimeWaitEnter
}

// Event returns an event of a kind that can have the leaf, and says nothing else but
// its time.
func (l Leaf) Event() event.Event {
	e := event.Event{Time: 1795385647_912345678, Kind: l.kind}
	switch l.kind {
	case event.Start:
		e.Start = new(event.StartInfo)
	case event.End:
		e.End = new(event.EndInfo)
	case event.StormUpdate:
		e.Storm = event.NewStorm()
	}
	return e
}

// Set sets the leaf to a value that is not its zero, and makes what it is in.
func (l Leaf) Set(e *event.Event) {
	v := reflect.ValueOf(e).Elem()
	for _, index := range l.index {
		if v.Kind() == reflect.Pointer {
			if v.IsNil() {
				v.Set(reflect.New(v.Type().Elem()))
			}
			v = v.Elem()
		}
		v = v.FieldByIndex(index)
	}
	fill(v, l.Path)
}

// Get returns the value of the leaf, nil if what it is in is not there.
func (l Leaf) Get(e *event.Event) any {
	v := reflect.ValueOf(e).Elem()
	for _, index := range l.index {
		if v.Kind() == reflect.Pointer {
			if v.IsNil() {
				return nil
			}
			v = v.Elem()
		}
		v = v.FieldByIndex(index)
	}
	return v.Interface()
}

// fill sets v to a value of its type that is known wherever it is printed.
func fill(v reflect.Value, path string) {
	n := 0 // small, and not the same for all
	for _, c := range path {
		n = (n*31 + int(c)) % 97
	}
	switch v.Interface().(type) {
	case netip.AddrPort:
		v.Set(reflect.ValueOf(netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 1, byte(n)}), uint16(n+1))))
		return
	case event.Kind:
		v.Set(reflect.ValueOf(event.TimeWaitExit))
		return
	case event.Tri:
		v.Set(reflect.ValueOf(event.No))
		return
	case []event.Drift:
		v.Set(reflect.ValueOf([]event.Drift{{NetNS: 1, Births: -2, Reused: 3, Refused: 4, Alive: -5}}))
		return
	}
	switch v.Kind() {
	case reflect.Uint8: // an enumeration
		v.SetUint(uint64(1 + n%2))
	case reflect.Uint16: // an errno
		v.SetUint(uint64(1 + n))
	case reflect.Uint32, reflect.Uint64:
		v.SetUint(uint64(1 + n))
	case reflect.Int, reflect.Int64:
		v.SetInt(int64(1 + n))
	case reflect.Float64:
		v.SetFloat(float64(n) + 0.5)
	case reflect.Bool:
		v.SetBool(true)
	case reflect.String:
		v.SetString(fmt.Sprintf("na\u202eme %d \"\\ \xff", n))
	case reflect.Slice: // of strings
		v.Set(reflect.ValueOf([]string{"a;b", "\x00 \"\\"}))
	case reflect.Map:
		if v.Type().Elem().Kind() == reflect.String {
			v.Set(reflect.ValueOf(map[string]string{"k=\n": "v\xff"}))
		} else {
			v.Set(reflect.ValueOf(map[string]uint64{"ring": uint64(1 + n)}))
		}
	default:
		panic(fmt.Sprintf("eventtest: no value for %s, a %s", path, v.Type()))
	}
}
