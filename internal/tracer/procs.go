package tracer

import (
	"unsafe"

	"github.com/cilium/ebpf"

	"github.com/twtrace/twtrace/internal/event"
	"github.com/twtrace/twtrace/internal/process"
)

// maxProcs bounds what is remembered of processes, here as in the kernel.
const maxProcs = 1 << 16

// pidShift is PROC_TGID_SHIFT of event.h.
const pidShift = 42

// procs tells who a proc id is. It asks the kernel's map once for each, so that a
// steady stream allocates nothing.
type procs struct {
	maps    []*ebpf.Map // any of them may know; an id means the same to all traces
	known   map[uint64]event.Proc
	unknown uint64 // how many were not in the map any more
}

func newProcs(maps []*ebpf.Map) procs {
	return procs{maps: maps, known: make(map[uint64]event.Proc)}
}

// of returns the process of an id. If the map has dropped it, that is its pid.
func (p *procs) of(id uint64) event.Proc {
	if id == 0 {
		return event.Proc{}
	}
	if proc, ok := p.known[id]; ok {
		return proc
	}
	proc := event.Proc{PID: uint32(id >> pidShift)}
	if raw, ok := p.find(id); ok {
		proc.Comm, proc.Who = commString(&raw.Comm), raw.who()
	} else {
		p.unknown++
	}
	if len(p.known) >= maxProcs {
		clear(p.known)
	}
	p.known[id] = proc
	return proc
}

func (p *procs) find(id uint64) (bpfProc, bool) {
	var raw bpfProc
	for _, m := range p.maps {
		if m.Lookup(id, &raw) == nil {
			return raw, true
		}
	}
	return raw, false
}

func (p *bpfProc) who() *event.Who {
	return &event.Who{Start: process.StartTicks(p.Start), UID: p.Uid, HasUID: true,
		PPID: p.Ppid, PComm: commString(&p.Pcomm), CgroupID: p.Cgroup, Followed: p.Followed != 0}
}

// commString returns the bytes before the first NUL, whatever they are.
func commString(comm *[16]int8) string {
	b := unsafe.Slice((*byte)(unsafe.Pointer(comm)), len(comm))
	for i, c := range b {
		if c == 0 {
			return string(b[:i])
		}
	}
	return string(b)
}
