package tracer

import (
	"encoding/binary"
	"maps"
	"os"
	"slices"
	"testing"

	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/btf"
)

// lastHelper is the youngest helper of Linux 5.15, the oldest kernel that is promised.
// Helpers have ever higher numbers.
const lastHelper = asm.FnTaskPtRegs

// anyHelper is younger than all that there are.
const anyHelper = asm.BuiltinFunc(1 << 20)

// shape is a kernel by what of its types is otherwise than here.
type shape struct {
	name   string
	helper asm.BuiltinFunc // the youngest that it has
	change func(t *testing.T, types *btf.Spec)
}

var shapes = []shape{
	{name: "this kernel", change: func(*testing.T, *btf.Spec) {}, helper: anyHelper},
	{name: "a limit outside of netns_ipv4, 5.18 to 6.0", helper: anyHelper, change: func(t *testing.T, types *btf.Spec) {
		row := structOf(t, types, "inet_timewait_death_row")
		member(t, types, "netns_ipv4", "tcp_death_row").Type = &btf.Pointer{Target: row}
	}},
	{name: "5.15", helper: lastHelper, change: func(t *testing.T, types *btf.Spec) {
		*member(t, types, "inet_timewait_death_row", "tw_refcount") = btf.Member{Name: "tw_count", Type: typedefOf(t, types, "atomic_t")}
		ns := structOf(t, types, "ns_common")
		ns.Members = slices.DeleteFunc(ns.Members, func(m btf.Member) bool { return m.Name == "__ns_ref" || m.Name == "" })
		ns.Members = append(ns.Members, btf.Member{Name: "count", Type: typedefOf(t, types, "refcount_t")})
		var helpers *btf.Enum
		if err := types.TypeByName("bpf_func_id", &helpers); err != nil {
			t.Fatal(err)
		}
		helpers.Values = slices.DeleteFunc(helpers.Values, func(v btf.EnumValue) bool { return v.Value > uint64(lastHelper) })
	}},
	{name: "no MPTCP", helper: anyHelper, change: func(t *testing.T, types *btf.Spec) {
		structOf(t, types, "mptcp_sock").Name = "gone"
	}},
}

func structOf(t *testing.T, types *btf.Spec, name string) *btf.Struct {
	t.Helper()
	var s *btf.Struct
	if err := types.TypeByName(name, &s); err != nil {
		t.Fatal(err)
	}
	return s
}

func typedefOf(t *testing.T, types *btf.Spec, name string) *btf.Typedef {
	t.Helper()
	var d *btf.Typedef
	if err := types.TypeByName(name, &d); err != nil {
		t.Fatal(err)
	}
	return d
}

func member(t *testing.T, types *btf.Spec, of, name string) *btf.Member {
	t.Helper()
	s := structOf(t, types, of)
	i := slices.IndexFunc(s.Members, func(m btf.Member) bool { return m.Name == name })
	if i < 0 {
		t.Skipf("this kernel has %s.%s otherwise", of, name)
	}
	return &s.Members[i]
}

// TestShapes relocates all programs for kernels of other shapes than the one that runs:
// what is left of a program after the branches that are not this kernel's has no access to
// what the kernel lacks, and calls no helper younger than it.
func TestShapes(t *testing.T) {
	kernel, err := btf.LoadKernelSpec()
	if err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal(err)
		}
		t.Skip(err) // without this kernel's types there is nothing to change
	}
	for _, s := range shapes {
		t.Run(s.name, func(t *testing.T) {
			types := kernel.Copy()
			s.change(t, types)
			builder, err := btf.NewBuilder(nil, nil)
			if err != nil {
				t.Fatal(err)
			}
			all, young := 0, 0
			spec := objects(t)
			for name, p := range spec.Programs {
				if skipped(t, name, types) {
					continue
				}
				relocate(t, p.Instructions, types, spec.ByteOrder, builder)
				for _, i := range reachable(p.Instructions) {
					all++
					if i.Constant == btf.COREBadRelocationSentinel {
						t.Errorf("%s needs what this kernel lacks: %v", name, i)
					}
					if i.IsBuiltinCall() && asm.BuiltinFunc(i.Constant) > lastHelper {
						young++
						if asm.BuiltinFunc(i.Constant) > s.helper {
							t.Errorf("%s calls %v", name, asm.BuiltinFunc(i.Constant))
						}
					}
				}
			}
			t.Logf("%d instructions, %d calls of helpers younger than 5.15", all, young)
			if all < 5000 || (young > 0) != (s.helper > lastHelper) {
				t.Errorf("%d instructions can be reached, %d call younger helpers", all, young)
			}
		})
	}
}

// skipped reports whether the hook table leaves a program out on a kernel.
func skipped(t *testing.T, name string, types *btf.Spec) bool {
	t.Helper()
	i := slices.IndexFunc(hooks, func(h hook) bool { return h.program == name })
	return i >= 0 && hooks[i].probe(types) == errArgs
}

// relocate does what the library does when it loads a program.
func relocate(t *testing.T, insns asm.Instructions, types *btf.Spec, order binary.ByteOrder, builder *btf.Builder) {
	t.Helper()
	var relos []*btf.CORERelocation
	var at []*asm.Instruction
	for i := range insns {
		if r := btf.CORERelocationMetadata(&insns[i]); r != nil {
			relos, at = append(relos, r), append(at, &insns[i])
		}
	}
	fixups, err := btf.CORERelocate(relos, []*btf.Spec{types}, order, builder.Add)
	if err != nil {
		t.Fatal(err)
	}
	for i, f := range fixups {
		if err := f.Apply(at[i]); err != nil {
			t.Fatalf("%v: %v", relos[i], err)
		}
	}
}

// flow is a place in a program, and the registers that hold a constant of a relocation.
type flow struct {
	at    int
	known [11]bool
	value [11]int64
}

// set is the flow after an instruction that writes to a register.
func (f flow) set(i *asm.Instruction) flow {
	if r := i.Dst; r < asm.R10 {
		f.known[r] = btf.CORERelocationMetadata(i) != nil && (i.OpCode.IsDWordLoad() ||
			i.OpCode.ALUOp() == asm.Mov && i.OpCode.Source() == asm.ImmSource)
		f.value[r] = 0
		if f.known[r] {
			f.value[r] = i.Constant
		}
	}
	return f
}

// reachable returns what a program may run. Of a branch that a relocation decides, that is
// one way only, as it is to the verifier.
func reachable(insns asm.Instructions) []*asm.Instruction {
	place, index, function := make([]int, len(insns)), make(map[int]int), make(map[string]int)
	for i, at := 0, 0; i < len(insns); i++ {
		place[i], index[at] = at, i
		at += int(insns[i].Width())
		if name := insns[i].Symbol(); name != "" {
			function[name] = i
		}
	}
	found := make(map[int]bool)
	seen := make(map[flow]bool)
	for todo := []flow{{}}; len(todo) > 0; {
		f := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		if seen[f] {
			continue
		}
		seen[f], found[f.at] = true, true
		i := &insns[f.at]
		next, jump := f, f
		next.at++
		switch op := i.OpCode; {
		case !op.Class().IsJump():
			todo = append(todo, next.set(i))
			continue
		case op.JumpOp() == asm.Exit:
			continue
		case op.JumpOp() == asm.Call:
			if i.IsFunctionCall() {
				todo = append(todo, flow{at: function[i.Reference()]})
			}
			for r := asm.R0; r <= asm.R5; r++ {
				next.known[r], next.value[r] = false, 0
			}
			todo = append(todo, next)
			continue
		}
		jump.at = index[place[f.at]+1+int(i.Offset)]
		taken, decided := decide(f, i)
		if !decided || taken {
			todo = append(todo, jump)
		}
		if !decided || !taken {
			todo = append(todo, next)
		}
	}
	out := make([]*asm.Instruction, 0, len(found))
	for _, at := range slices.Sorted(maps.Keys(found)) {
		out = append(out, &insns[at])
	}
	return out
}

// decide says which way a branch goes, if a constant of a relocation decides that.
func decide(f flow, i *asm.Instruction) (taken, decided bool) {
	op := i.OpCode
	if op.JumpOp() == asm.Ja {
		return true, true
	}
	if op.Source() != asm.ImmSource || !f.known[i.Dst] {
		return false, false
	}
	switch op.JumpOp() {
	case asm.JEq:
		return f.value[i.Dst] == i.Constant, true
	case asm.JNE:
		return f.value[i.Dst] != i.Constant, true
	}
	return false, false
}
