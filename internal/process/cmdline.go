package process

import (
	"fmt"
	"strings"
)

// cmdlineMax is how many bytes of a command line are read: it may have megabytes.
const cmdlineMax = 4096

// Cmdline returns the arguments of a process, the first 4096 bytes of them. They
// are what the process wants them to be, and may hold secrets: nothing reads them
// unasked. start is that of a Key; 0 takes whoever has the pid. The error is
// ErrGone if the process has ended, ErrForeign if /proc is not usable, or that of
// reading. Kernel threads and zombies have no arguments.
func Cmdline(pid uint32, start uint64) ([]string, error) {
	if err := Usable(); err != nil {
		return nil, err
	}
	return cmdline("/proc", pid, start)
}

func cmdline(root string, pid uint32, start uint64) ([]string, error) {
	var reads uint64
	d, err := openProcess(root, pid, &reads)
	if err != nil {
		return nil, err
	}
	defer d.close()
	info, err := d.stat()
	if err != nil {
		return nil, err
	}
	if start != 0 && info.Start != start {
		return nil, fmt.Errorf("process %d started at tick %d, not %d: %w", pid, info.Start, start, ErrGone)
	}
	b, err := d.read("cmdline", cmdlineMax)
	if err != nil {
		return nil, err
	}
	s := strings.TrimSuffix(string(b), "\x00")
	if s == "" {
		return nil, nil
	}
	return strings.Split(s, "\x00"), nil
}
