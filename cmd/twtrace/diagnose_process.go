package main

import (
	"cmp"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/twtrace/twtrace/internal/advice"
	"github.com/twtrace/twtrace/internal/event"
	"github.com/twtrace/twtrace/internal/process"
)

const (
	// mostDescribed is how many processes are asked for their descriptors.
	mostDescribed = 8
	// manySockets is how many a process must hold for that.
	manySockets = 16
)

// system is how many CPUs a process used in the kernel of late, negative if that is
// not known.
func (d *diagnosis) system(pid uint32, now time.Time) float64 {
	before, ok := d.old.system[pid]
	over := now.Sub(before.at)
	if !ok || over < time.Second {
		return -1
	}
	used, err := process.SystemTime(pid)
	if err != nil || used < before.used {
		return -1
	}
	return float64(used-before.used) / float64(over)
}

// mostAlive is how many processes of one owner are looked for, to see whether they
// stay.
const mostAlive = 64

// stay tells whether most of the processes are there. Of those in a recording that
// is not known.
func (d *diagnosis) stay(pids []uint32) bool {
	if d.limits.tape != nil || process.Usable() != nil {
		return false
	}
	alive := 0
	for _, pid := range pids {
		if unix.Kill(int(pid), 0) != unix.ESRCH {
			alive++
		}
	}
	return 2*alive > len(pids)
}

// descriptors are those of the processes that had none left, and of those that hold
// many sockets.
func (d *diagnosis) descriptors(f *advice.Facts) []advice.Descriptors {
	var out []advice.Descriptors
	find := func(p event.Proc) *advice.Descriptors {
		i := slices.IndexFunc(out, func(v advice.Descriptors) bool { return v.Process.PID == p.PID })
		if i < 0 {
			i = len(out)
			out = append(out, advice.Descriptors{Process: p})
		}
		return &out[i]
	}
	for _, fail := range f.Traffic.Fails {
		switch fail.Errno {
		case emfile:
			find(fail.Process).Failed += fail.N
		case enfile:
			find(event.Proc{}).Failed += fail.N
		}
	}
	if d.limits.tape != nil || process.Usable() != nil {
		return out
	}
	for _, o := range mostOpen(f.Traffic.Owners) {
		find(o)
	}
	for i := range out {
		v := &out[i]
		if v.Process.Known() {
			v.Used, v.Limit, _ = process.Descriptors(v.Process.PID) // it may be gone
		} else {
			v.Used, v.Limit, _ = process.HostDescriptors()
		}
	}
	slices.SortStableFunc(out, func(a, b advice.Descriptors) int {
		return cmp.Or(cmp.Compare(b.Failed, a.Failed), cmp.Compare(b.Share(), a.Share()))
	})
	return out
}

// mostOpen are the processes that hold most connections.
func mostOpen(owners []advice.Owner) []event.Proc {
	var many []advice.Owner
	for _, o := range owners {
		if o.Established >= manySockets && o.Process.Known() {
			many = append(many, o)
		}
	}
	slices.SortStableFunc(many, func(a, b advice.Owner) int { return cmp.Compare(b.Established, a.Established) })
	var out []event.Proc
	for _, o := range many[:min(len(many), mostDescribed)] {
		out = append(out, o.Process)
	}
	return out
}
