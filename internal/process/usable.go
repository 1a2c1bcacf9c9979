package process

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"sync"
)

// initialPIDNS is the inode number of the pid namespace that every kernel since
// 3.8 boots with: PROC_PID_INIT_INO.
const initialPIDNS = 0xEFFFFFFC

// Usable returns nil if /proc shows the processes of the host under the ids that the
// kernel's hooks report. It does not in a container with its own pids, nor where /proc
// is mounted for another pid namespace: the error, which matches ErrForeign, says why.
// A Resolver then answers only from the Key, because the same pid is another process
// in /proc.
func Usable() error { return usableProc() }

var usableProc = sync.OnceValue(func() error { return usable("/proc", os.Getpid()) })

func usable(root string, pid int) error {
	self, err := os.Readlink(root + "/self")
	if err != nil {
		return fmt.Errorf("%w: find this process: %w", ErrForeign, err)
	}
	if self != strconv.Itoa(pid) {
		return fmt.Errorf("%w: this process is %d there and %d here", ErrForeign, atoi(self), pid)
	}
	var reads uint64
	d, err := openProcess(root, uint32(pid), &reads)
	if err != nil {
		return fmt.Errorf("%w: find this process: %w", ErrForeign, err)
	}
	defer d.close()
	if ns := d.namespace("pid"); ns != initialPIDNS {
		return fmt.Errorf("%w: this process is in pid namespace %d, not the initial one", ErrForeign, ns)
	}
	b, err := d.read("status", 4096)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrForeign, err)
	}
	if ids := bytes.Fields(statusField(b, "NSpid:")); len(ids) != 1 {
		return fmt.Errorf("%w: this process has %d ids", ErrForeign, len(ids))
	}
	return nil
}

// atoi is for a message: it returns 0 if s is not a number.
func atoi(s string) int {
	n, _ := strconv.Atoi(s)
	return n
}
