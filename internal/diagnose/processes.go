package diagnose

import (
	"cmp"
	"slices"
	"time"

	"github.com/twtrace/twtrace/internal/advice"
	"github.com/twtrace/twtrace/internal/event"
)

const (
	// maxDescribed is how many processes are asked for their descriptors.
	maxDescribed = 8
	// manySockets is how many a process must hold for that.
	manySockets = 16
)

// system is how many CPUs a process used in the kernel in the window, negative if that
// is not known.
func (d *Diagnosis) system(pid uint32, now time.Time) float64 {
	before, ok := d.old.system[pid]
	over := now.Sub(before.at)
	if !ok || over < time.Second {
		return -1
	}
	used, err := d.host.SystemTime(pid)
	if err != nil || used < before.used {
		return -1
	}
	return float64(used-before.used) / float64(over)
}

// maxAlive is how many processes of one owner are looked up, to see whether they stay.
const maxAlive = 64

// stay reports whether most of the processes are there; false if that is not known.
func (d *Diagnosis) stay(pids []uint32) bool {
	if !d.host.Processes() {
		return false
	}
	alive := 0
	for _, pid := range pids {
		if d.host.Runs(pid) {
			alive++
		}
	}
	return 2*alive > len(pids)
}

// descriptors are those of the processes that had none left, and of those that hold
// many sockets.
func (d *Diagnosis) descriptors(f *advice.Facts) []advice.Descriptors {
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
		case event.EMFILE:
			find(fail.Process).Failed += fail.N
		case event.ENFILE:
			find(event.Proc{}).Failed += fail.N
		}
	}
	if !d.host.Processes() {
		return out
	}
	for _, o := range mostOpen(f.Traffic.Owners) {
		find(o)
	}
	for i := range out {
		v := &out[i]
		v.Used, v.Limit, _ = d.host.Descriptors(v.Process.PID) // it may be gone
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
	for _, o := range many[:min(len(many), maxDescribed)] {
		out = append(out, o.Process)
	}
	return out
}
