package monitor

import (
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// usage is how much processor time this process has used, up to a moment.
type usage struct {
	at  time.Time
	cpu time.Duration
}

// since returns how many CPUs were used since it was called last.
func (u *usage) since() float64 {
	before := *u
	u.at, u.cpu = time.Now(), ownCPU()
	return float64(u.cpu-before.cpu) / float64(u.at.Sub(before.at))
}

// ownCPU is the processor time this process has used.
func ownCPU() time.Duration {
	var ru unix.Rusage
	if unix.Getrusage(unix.RUSAGE_SELF, &ru) != nil {
		return 0
	}
	return time.Duration(ru.Utime.Nano() + ru.Stime.Nano())
}

// residentMemory is the memory this process holds, in bytes; 0 if unknown.
func residentMemory() uint64 {
	b, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0
	}
	fields := strings.Fields(string(b))
	if len(fields) < 2 {
		return 0
	}
	pages, _ := strconv.ParseUint(fields[1], 10, 64)
	return pages * uint64(os.Getpagesize())
}
