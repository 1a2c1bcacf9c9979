package tracer

import (
	"unsafe"

	"github.com/twtrace/twtrace/internal/event"
	"github.com/twtrace/twtrace/internal/process"
)

// maxProcs is how many processes are remembered here: of those that are not used for long,
// the kernel's map is asked again, which has more of them.
const maxProcs = int(bpfSharedPROCS_MAX) / 8

// pidShift is where in a proc id its pid is.
const pidShift = bpfSharedPROC_TGID_SHIFT

// procs knows who a proc id is. It asks the kernel's map once for each, so that a
// steady stream allocates nothing.
type procs struct {
	maps    []lookup // any of them may know; an id means the same to all traces
	known   *process.Cache[uint64, event.Proc]
	unknown uint64 // how many were not in the map any more
}

func newProcs(maps ...lookup) procs {
	return procs{maps: maps, known: process.NewCache[uint64, event.Proc](maxProcs)}
}

// of returns the process of an id. If the map has dropped it, that is its pid.
func (p *procs) of(id uint64) event.Proc {
	if id == 0 {
		return event.Proc{}
	}
	if proc, ok := p.known.Get(id); ok {
		return proc
	}
	proc := event.Proc{PID: uint32(id >> pidShift)}
	if raw, ok := p.find(id); ok {
		proc.Comm, proc.Who = commString(&raw.Comm), raw.who()
	} else {
		p.unknown++
	}
	p.known.Put(id, proc)
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
