package kernel

import (
	"bytes"
	"testing"

	"github.com/cilium/ebpf/btf"
)

// kernelTypes are made-up types of a kernel: a struct with those members.
func kernelTypes(t *testing.T, name string, members ...string) *btf.Spec {
	t.Helper()
	s := &btf.Struct{Name: name, Size: uint32(4 * len(members))}
	for i, m := range members {
		s.Members = append(s.Members, btf.Member{Name: m, Type: &btf.Int{Name: "int", Size: 4}, Offset: btf.Bits(32 * i)})
	}
	b, err := btf.NewBuilder([]btf.Type{s}, nil)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := b.Marshal(nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	spec, err := btf.LoadSpecFromReader(bytes.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	return spec
}

func TestTimeWaitCountedAtBirth(t *testing.T) {
	for _, tt := range []struct {
		types   *btf.Spec
		atBirth bool
		known   bool
	}{
		{kernelTypes(t, "inet_timewait_sock", "tw_state", "tw_kill", "tw_tos"), false, true}, // before 5.18
		{kernelTypes(t, "inet_timewait_sock", "tw_state", "tw_tos"), true, true},
		{kernelTypes(t, "sock", "sk_state"), false, false},
	} {
		if got, err := TimeWaitCountedAtBirth(tt.types); got != tt.atBirth || (err == nil) != tt.known {
			t.Errorf("%v: %v, %v", tt, got, err)
		}
	}
}
