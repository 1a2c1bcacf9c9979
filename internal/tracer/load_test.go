package tracer

import (
	"testing"
	"unsafe"

	"github.com/cilium/ebpf"

	"github.com/twtrace/twtrace/internal/event"
	"github.com/twtrace/twtrace/internal/filter"
	"github.com/twtrace/twtrace/internal/process"
)

func objects(t testing.TB) *ebpf.CollectionSpec {
	t.Helper()
	spec, err := loadBpf()
	if err != nil {
		t.Fatal(err)
	}
	return spec
}

// variable is the value of a variable of the object.
func variable[T any](t *testing.T, spec *ebpf.CollectionSpec, name string) (v T) {
	t.Helper()
	if err := spec.Variables[name].Get(&v); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return v
}

// TestSizes: the owner table is a power of two, its mask is one less, and the maps of what
// is switched off have one entry.
func TestSizes(t *testing.T) {
	for _, tt := range []struct {
		options                                        Options
		conns, spill, ring, parked, connecting, follow uint32
	}{
		{Options{}, 524288, 45056, 8 << 20, 65536, 1, 1},
		{Options{MaxConns: 1}, 1, 1, 8 << 20, 65536, 1, 1},
		{Options{MaxConns: 1000, Buffer: 5000}, 1024, 125, 8192, 65536, 1, 1},
		{Options{MaxConns: 1024, Buffer: 1, Syscalls: true}, 1024, 128, 4096, 65536, 16384, 1},
		{Options{MaxConns: 1 << 25, Follow: []Root{{}}}, 1 << 25, 1 << 22, 8 << 20, 65536, 1, 65536},
	} {
		spec := objects(t)
		if err := tt.options.configure(spec, Fentry); err != nil {
			t.Fatal(err)
		}
		for name, want := range map[string]uint32{
			bpfMapTwtraceConns: tt.conns, bpfMapTwtraceSpill: tt.spill, bpfMapEvents: tt.ring,
			bpfMapParkedMinis: tt.parked, bpfMapConnecting: tt.connecting, bpfMapFollowed: tt.follow,
		} {
			if got := spec.Maps[name].MaxEntries; got != want {
				t.Errorf("%+v: %s has %d entries, want %d", tt.options, name, got, want)
			}
		}
		if got := variable[uint32](t, spec, bpfVarSlotMask); got != tt.conns-1 {
			t.Errorf("%+v: the mask of %d slots is %d", tt.options, tt.conns, got)
		}
	}
	spec := objects(t)
	delete(spec.Programs, bpfProgKfreeSkbAny)
	if err := (Options{}).configure(spec, Fentry); err != nil {
		t.Fatal(err)
	}
	if n := spec.Maps[bpfMapParkedMinis].MaxEntries; n != 1 {
		t.Errorf("%d parked sockets are found by tuple where nothing searches for them", n)
	}
}

// TestKnobs: what the options say arrives in the constants of the programs.
func TestKnobs(t *testing.T) {
	f := &filter.Filter{PIDs: filter.Set[uint32]{Items: []uint32{42}}}
	for _, tt := range []struct {
		options  Options
		without  string // a program that this kernel cannot have
		all      bool
		byTuple  bool
		connect  bool
		filtered bool
	}{
		{Options{}, "", false, true, true, false},
		{Options{AllStates: true}, bpfProgKfreeSkbAny, true, false, true, false},
		{Options{Filter: f}, bpfProgExitConnect, false, true, false, true},
	} {
		spec := objects(t)
		delete(spec.Programs, tt.without)
		if err := tt.options.configure(spec, Fentry); err != nil {
			t.Fatal(err)
		}
		rules := variable[bpfFilterRules](t, spec, bpfVarFilter)
		if got := variable[bool](t, spec, bpfVarAllStates); got != tt.all {
			t.Errorf("%+v: all_states is %v", tt.options, got)
		}
		if got := variable[bool](t, spec, bpfVarFindParkedByTuple); got != tt.byTuple {
			t.Errorf("%+v: find_parked_by_tuple is %v", tt.options, got)
		}
		if got := variable[int64](t, spec, bpfVarNrConnect); (got != 0) != tt.connect {
			t.Errorf("%+v: nr_connect is %d", tt.options, got)
		}
		if got := variable[bool](t, spec, bpfVarSeesRefusals); !got {
			t.Errorf("%+v: the trampolines see refusals", tt.options)
		}
		if got := rules.PidsLen == 1 && rules.Pids[0] == 42; got != tt.filtered {
			t.Errorf("%+v: the filter is %+v", tt.options, rules)
		}
	}
}

// TestMapTypes: keys and values in Go are as large as in C.
func TestMapTypes(t *testing.T) {
	spec := objects(t)
	for name, want := range map[string][2]uintptr{
		bpfMapTwtraceConns: {unsafe.Sizeof(uint32(0)), unsafe.Sizeof(bpfConn{})},
		bpfMapTwtraceSpill: {unsafe.Sizeof(uint64(0)), unsafe.Sizeof(bpfConn{})},
		bpfMapTwtraceProcs: {unsafe.Sizeof(uint64(0)), unsafe.Sizeof(bpfProc{})},
		bpfMapFollowed:     {unsafe.Sizeof(uint32(0)), unsafe.Sizeof(bpfFollow{})},
		bpfMapTallies:      {unsafe.Sizeof(uint32(0)), unsafe.Sizeof(bpfTally{})},
		bpfMapLosses:       {unsafe.Sizeof(uint32(0)), unsafe.Sizeof(uint64(0))},
		bpfMapCpus:         {unsafe.Sizeof(uint32(0)), unsafe.Sizeof(bpfCpuState{})},
	} {
		m := spec.Maps[name]
		if got := [2]uintptr{uintptr(m.KeySize), uintptr(m.ValueSize)}; got != want {
			t.Errorf("%s has keys and values of %v bytes, want %v", name, got, want)
		}
	}
	if n := spec.Maps[bpfMapTwtraceProcs].MaxEntries; n < 2*uint32(maxProcs) { // those that are forgotten here are asked for there
		t.Errorf("%d processes in the kernel, %d here", n, maxProcs)
	}
	if n := spec.Maps[bpfMapLosses].MaxEntries; n != uint32(bpfLossLOSS_MAX) {
		t.Errorf("%d counters of losses, %d here", n, bpfLossLOSS_MAX)
	}
}

// TestTicks: the kernel side makes the same ticks of a start time as /proc does.
func TestTicks(t *testing.T) {
	const ns = 5 * uint64(bpfSharedNS_PER_TICK)
	for _, n := range []uint64{1, 7, 100} {
		if got := process.StartTicks(ns+n*uint64(bpfSharedNS_PER_TICK)) - process.StartTicks(ns); got != n {
			t.Errorf("%d ticks of the kernel side are %d of /proc", n, got)
		}
	}
}

// TestEndReasons: the order in which ends are counted is that of enum why.
func TestEndReasons(t *testing.T) {
	for i, r := range endReasons {
		if why := bpfWhyWHY_EXPIRED + bpfWhy(i); reasons[why] != r {
			t.Errorf("end %d is %v, and %v in the samples", i, r, reasons[why])
		}
	}
	if len(endReasons) != int(bpfWhyWHY_MAX-bpfWhyWHY_EXPIRED) {
		t.Errorf("%d reasons for ends, %d in the kernel", len(endReasons), bpfWhyWHY_MAX-bpfWhyWHY_EXPIRED)
	}
	var e Ends
	e[3] = 5
	if e.By(event.Reset) != 5 || e.By(event.Syn) != 0 || e.By(event.PassiveClose) != 0 || e.Total() != 5 {
		t.Errorf("%v", e)
	}
}
