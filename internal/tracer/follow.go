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

// follow has the roots followed, and what they have started already. The hooks see
// what is started from now on, so a process is missed only if its parent was started
// after the roots were put in, and ended before the list of processes was read.
func (t *Tracer) follow(roots []Root) error {
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
		if err := t.followOne(r.PID, bpfFollow{Start: start, ChildrenOnly: number(r.Children)}); err != nil {
			return err
		}
	}
	for found := true; found; {
		all, err := process.All()
		if err != nil {
			return fmt.Errorf("follow processes: %w", err)
		}
		if found, err = t.followChildren(all); err != nil {
			return err
		}
	}
	return nil
}

// followChildren follows those of all whose parent is followed, and tells whether
// there was one that was not before.
func (t *Tracer) followChildren(all []process.Info) (found bool, err error) {
	for _, p := range all {
		if t.follows(p.PID, p.Start) || !t.followsPID(p.PPID) {
			continue
		}
		found = true
		if err := t.followOne(p.PID, bpfFollow{Start: process.HostTicks(p.Start)}); err != nil {
			return false, err
		}
	}
	return found, nil
}

func (t *Tracer) followOne(pid uint32, f bpfFollow) error {
	if err := t.coll.Maps[bpfMapFollowed].Put(pid, &f); err != nil {
		return fmt.Errorf("follow process %d: %w", pid, err)
	}
	return nil
}

// Follows reports whether p is one of the processes that are followed.
func (t *Tracer) Follows(p event.Proc) bool {
	return len(t.options.Follow) > 0 && p.Start() != 0 && t.follows(p.PID, p.Start())
}

// follows compares starts as followed_entry() in follow.h does.
func (t *Tracer) follows(pid uint32, start uint64) bool {
	var f bpfFollow
	start = process.HostTicks(start)
	return t.coll.Maps[bpfMapFollowed].Lookup(pid, &f) == nil &&
		f.ChildrenOnly == 0 && start <= f.Start+1 && f.Start <= start+1
}

func (t *Tracer) followsPID(pid uint32) bool {
	var f bpfFollow
	err := t.coll.Maps[bpfMapFollowed].Lookup(pid, &f)
	return !errors.Is(err, ebpf.ErrKeyNotExist)
}

func number(b bool) uint32 {
	if b {
		return 1
	}
	return 0
}
