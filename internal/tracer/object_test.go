package tracer

import (
	"fmt"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"
)

// gaps names the holes of a type, between members and at its end.
func gaps(t *testing.T, name string, typ btf.Type) []string {
	t.Helper()
	typ = btf.UnderlyingType(typ)
	if a, ok := typ.(*btf.Array); ok {
		return gaps(t, name+"[]", a.Type)
	}
	s, ok := typ.(*btf.Struct)
	if !ok {
		return nil
	}
	var out []string
	end := uint32(0)
	for _, m := range s.Members {
		at := m.Offset.Bytes()
		if at != end {
			out = append(out, fmt.Sprintf("%d bytes before %s.%s", at-end, name, m.Name))
		}
		out = append(out, gaps(t, name+"."+m.Name, m.Type)...)
		size, err := btf.Sizeof(m.Type)
		if err != nil {
			t.Fatalf("%s.%s: %v", name, m.Name, err)
		}
		end = at + uint32(size)
	}
	if end != s.Size {
		out = append(out, fmt.Sprintf("%d bytes at the end of %s", s.Size-end, name))
	}
	return out
}

// TestNoGaps: no struct that a program hands to a map or to the ring has a byte that
// nothing writes. Kernels of 5.15 refuse a program that does so, as it happened with
// struct connecting.
func TestNoGaps(t *testing.T) {
	spec := objects(t)
	var event *btf.Struct
	if err := spec.Types.TypeByName("event", &event); err != nil {
		t.Fatal(err)
	}
	types := map[string]btf.Type{"event": event}
	for name, m := range spec.Maps {
		switch m.Type {
		case ebpf.Hash, ebpf.LRUHash, ebpf.PerCPUHash:
			types["key of "+name], types["value of "+name] = m.Key, m.Value
		}
	}
	if len(types) < 13 {
		t.Errorf("only %d types checked", len(types))
	}
	for name, typ := range types {
		for _, gap := range gaps(t, name, typ) {
			t.Error(gap)
		}
	}
	var state *btf.Struct
	if err := spec.Types.TypeByName("cpu_state", &state); err != nil {
		t.Fatal(err)
	}
	if len(gaps(t, "cpu_state", state)) == 0 {
		t.Error("the gap in cpu_state, which goes into no map, is not seen: this test sees none")
	}
}
