package tracer

import (
	"errors"
	"fmt"

	"github.com/cilium/ebpf"

	"github.com/twtrace/twtrace/internal/event"
	"github.com/twtrace/twtrace/internal/process"
)

// Root is a process that is followed: it and all that it starts.
type Root struct {
	PID      uint32
	Children bool // not the process itself
}

// followed are the processes that the hooks follow; see follow.h.
type followed struct {
	m interface {
		Lookup(key, value any) error
		Put(key, value any) error
	}
}

// follow has the roots followed, and what they have started already. The hooks see
// what is started from now on, so a process is missed only if its parent was started
// after the roots were put in, and ended before the list of processes was read.
func (f followed) follow(roots []Root) error {
	if len(roots) == 0 {
		return nil
	}
	if err := process.Usable(); err != nil {
		return fmt.Errorf("follow processes: %w", err)
	}
	for _, r := range roots {
		start, err := process.StartOf(r.PID)
		if err != nil {
			return fmt.Errorf("follow process %d: %w", r.PID, err)
		}
		if err := f.followOne(r.PID, bpfFollow{Start: start, ChildrenOnly: number(r.Children)}); err != nil {
			return err
		}
	}
	for found := true; found; {
		all, err := process.All()
		if err != nil {
			return fmt.Errorf("follow processes: %w", err)
		}
		if found, err = f.followChildren(all); err != nil {
			return err
		}
	}
	return nil
}

// followChildren follows those of all whose parent is followed, and reports
// whether one of them was not before.
func (f followed) followChildren(all []process.Info) (found bool, err error) {
	for _, p := range all {
		if f.has(p.PID, p.Start) || !f.hasPID(p.PPID) {
			continue
		}
		found = true
		if err := f.followOne(p.PID, bpfFollow{Start: process.HostTicks(p.Start)}); err != nil {
			return false, err
		}
	}
	return found, nil
}

func (f followed) followOne(pid uint32, entry bpfFollow) error {
	if err := f.m.Put(pid, &entry); err != nil {
		return fmt.Errorf("follow process %d: %w", pid, err)
	}
	return nil
}

// Follows reports whether p is one of the processes that are followed.
func (t *Tracer) Follows(p event.Proc) bool {
	return len(t.options.Follow) > 0 && p.Start() != 0 && t.followed().has(p.PID, p.Start())
}

func (t *Tracer) followed() followed { return followed{t.coll.Maps[bpfMapFollowed]} }

// has compares starts as is_followed() in follow.h does.
func (f followed) has(pid uint32, start uint64) bool {
	var entry bpfFollow
	start = process.HostTicks(start)
	return f.m.Lookup(pid, &entry) == nil &&
		entry.ChildrenOnly == 0 && start <= entry.Start+1 && entry.Start <= start+1
}

func (f followed) hasPID(pid uint32) bool {
	var entry bpfFollow
	return !errors.Is(f.m.Lookup(pid, &entry), ebpf.ErrKeyNotExist)
}

func number(b bool) uint32 {
	if b {
		return 1
	}
	return 0
}
