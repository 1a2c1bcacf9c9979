package tracer

import (
	"reflect"
	"testing"

	"github.com/cilium/ebpf"

	"github.com/twtrace/twtrace/internal/event"
	"github.com/twtrace/twtrace/internal/process"
)

// memoryMap is a map of the kernel, in memory.
type memoryMap struct {
	size    uint32
	entries map[any]any
	closed  bool
}

func newMemoryMap(size uint32) *memoryMap { return &memoryMap{size: size, entries: make(map[any]any)} }

func (m *memoryMap) MaxEntries() uint32 { return m.size }

func (m *memoryMap) Close() error { m.closed = true; return nil }

func (m *memoryMap) Lookup(key, value any) error {
	v, ok := m.entries[key]
	if !ok {
		return ebpf.ErrKeyNotExist
	}
	reflect.ValueOf(value).Elem().Set(reflect.ValueOf(v))
	return nil
}

func (m *memoryMap) Put(key, value any) error {
	m.entries[key] = reflect.ValueOf(value).Elem().Interface()
	return nil
}

// TestOwners finds a connection where the hooks put it: at its cookie, a quarter of the
// table further and so on, or in the spill; of two traces, in either.
func TestOwners(t *testing.T) {
	table, other, spill, procs := newMemoryMap(1024), newMemoryMap(8), newMemoryMap(10), newMemoryMap(10)
	o := &Owners{conns: owned{tables: []lookup{table, other}, spills: []lookup{spill}}, procs: newProcs(procs)}
	id := uint64(42)<<pidShift | 9
	procs.entries[id] = bpfProc{Tgid: 42, Comm: comm("curl"), Start: 1e9}
	at := func(cookie uint64, role bpfRole) bpfConn {
		return bpfConn{Key: cookie, Role: uint8(role), Side: uint8(bpfSideSIDE_LOCAL), Origin: id, Established: 100, Closed: 400, Rearms: 3}
	}
	table.entries[uint32(5)] = at(5, bpfRoleROLE_CLIENT)
	table.entries[uint32(6)] = at(1024+6, bpfRoleROLE_CLIENT)  // another's place
	table.entries[uint32(6+256)] = at(6, bpfRoleROLE_SERVER)   // its second choice
	table.entries[uint32(7+3*256)] = at(7, bpfRoleROLE_SERVER) // its last
	other.entries[uint32(0)] = at(8, bpfRoleROLE_CLIENT)
	spill.entries[uint64(9)] = at(9, bpfRoleROLE_CLIENT)
	table.entries[uint32(10)] = at(10, 77) // of a later version
	for _, tt := range []struct {
		cookie uint64
		role   event.Role
	}{{5, event.Client}, {1024 + 6, event.Client}, {6, event.Server}, {7, event.Server}, {8, event.Client}, {9, event.Client}} {
		e := event.Event{Cookie: tt.cookie}
		if !o.Find(&e) {
			t.Errorf("%d is not found", tt.cookie)
			continue
		}
		who := e.Opener
		if tt.role == event.Server {
			who = e.Accepter
		}
		if e.Role != tt.role || who.PID != 42 || who.Comm != "curl" || e.Closer != event.LocalSide || e.Life != 300 || e.Rearms != 3 {
			t.Errorf("%d: %+v", tt.cookie, e)
		}
	}
	for _, cookie := range []uint64{10, 11, 6 + 256} {
		if e := (event.Event{Cookie: cookie}); o.Find(&e) {
			t.Errorf("%d is found: %+v", cookie, e)
		}
	}
	if o.Traces() != 2 {
		t.Errorf("%d traces", o.Traces())
	}
	if o.Close(); !table.closed || !other.closed || !spill.closed || !procs.closed {
		t.Error("not all maps are closed")
	}
}

// TestFollow: who is followed, and that a child of one of them is found among the
// processes there are, whatever their order, but not another that has its pid.
func TestFollow(t *testing.T) {
	m := newMemoryMap(10)
	f := followed{m}
	host := func(ticks uint64) uint64 { return ticks + ticksApart(t) } // as /proc shows it here
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(f.followOne(10, bpfFollow{Start: 1000}))
	must(f.followOne(20, bpfFollow{Start: 1000, ChildrenOnly: 1}))
	all := []process.Info{
		{PID: 12, PPID: 11, Start: host(1002)},
		{PID: 11, PPID: 10, Start: host(1001)},
		{PID: 21, PPID: 20, Start: host(1001)},
		{PID: 30, PPID: 1, Start: host(1001)},
	}
	rounds := 0
	for found := true; found; rounds++ {
		var err error
		found, err = f.followChildren(all)
		must(err)
	}
	if rounds != 3 {
		t.Errorf("%d rounds, want one for each generation and a last one", rounds)
	}
	for _, tt := range []struct {
		pid   uint32
		start uint64
		want  bool
	}{
		{10, 1000, true}, {10, 1001, true}, {10, 999, true}, {10, 1002, false}, {10, 998, false},
		{11, 1001, true}, {12, 1002, true}, {21, 1001, true}, {20, 1000, false}, {30, 1001, false},
	} {
		if got := f.has(tt.pid, host(tt.start)); got != tt.want {
			t.Errorf("process %d of tick %d: %v", tt.pid, tt.start, got)
		}
	}
	if err := f.follow([]Root{{PID: 1 << 30}}); err == nil {
		t.Error("a process that does not exist is followed")
	}
	must(f.follow(nil))
}

// ticksApart is how many ticks later a process starts by this process's /proc than by the host's.
func ticksApart(t *testing.T) uint64 {
	t.Helper()
	const tick = 1 << 40
	return tick - process.HostTicks(tick)
}
