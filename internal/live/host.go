package live

import (
	"time"

	"golang.org/x/sys/unix"

	"github.com/twtrace/twtrace/internal/advice"
	"github.com/twtrace/twtrace/internal/diagnose"
	"github.com/twtrace/twtrace/internal/kernel"
	"github.com/twtrace/twtrace/internal/process"
)

var _ diagnose.Host = (*Trace)(nil)

// Space returns a network namespace whose limits are known, with them.
func (t *Trace) Space(netns uint32) (kernel.NetNS, kernel.Limits, bool) {
	k, ok := t.limits.known[netns]
	return t.limits.spaces[netns], k, ok
}

// Count reads the kernel's counters of a network namespace.
func (t *Trace) Count(ns kernel.NetNS) (advice.Counted, error) { return advice.ReadCounters(ns) }

// Sockets are those of a network namespace that are in some of the states, now.
func (t *Trace) Sockets(ns kernel.NetNS, states kernel.StateMask, fn func(kernel.Socket) error) error {
	return ns.Sockets(states, fn)
}

// MemAvailable is MemAvailable of /proc/meminfo, in bytes.
func (t *Trace) MemAvailable() (uint64, error) { return kernel.MemAvailable() }

// Processes reports whether /proc shows the processes that the hooks report.
func (t *Trace) Processes() bool { return process.Usable() == nil }

// SystemTime is how long a process was in the kernel so far.
func (t *Trace) SystemTime(pid uint32) (time.Duration, error) { return process.SystemTime(pid) }

// GoModules returns what the executable of a process is built from, if it is a Go program.
func (t *Trace) GoModules(pid uint32) ([]string, bool) { return process.GoModules(pid) }

// Runs reports whether a process is there.
func (t *Trace) Runs(pid uint32) bool { return unix.Kill(int(pid), 0) != unix.ESRCH }

// Stopped reports whether a signal or a debugger has stopped a process.
func (t *Trace) Stopped(pid uint32) bool { return process.Stopped(pid) }

// Descriptors returns how many descriptors a process has open and may have, and with
// pid 0 those of the whole host.
func (t *Trace) Descriptors(pid uint32) (used, limit uint64, err error) {
	if pid == 0 {
		return process.HostDescriptors()
	}
	return process.Descriptors(pid)
}
