package process

import (
	"errors"
	"fmt"
	"os"
	"strconv"
)

// StartOf returns when a process started, in clock ticks after the host's boot. The
// error is ErrGone if there is none.
func StartOf(pid uint32) (uint64, error) {
	var reads uint64
	info, err := readStat("/proc", pid, &reads)
	if err != nil {
		return 0, err
	}
	return HostTicks(info.Start), nil
}

// HostTicks converts a start time that /proc shows to this process to one of the
// host's time namespace, where the hooks are.
func HostTicks(start uint64) uint64 { return start - uint64(bootOffset()/nsPerTick) }

// All returns the processes there are: PID, PPID, Start and Comm of each.
func All() ([]Info, error) { return listAll("/proc") }

func listAll(root string) ([]Info, error) {
	dir, err := os.Open(root)
	if err != nil {
		return nil, fmt.Errorf("list processes: %w", err)
	}
	defer dir.Close()
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return nil, fmt.Errorf("list processes: %w", err)
	}
	var out []Info
	var reads uint64
	for _, name := range names {
		pid, err := strconv.ParseUint(name, 10, 32)
		if err != nil {
			continue // no process
		}
		info, err := readStat(root, uint32(pid), &reads)
		if errors.Is(err, ErrGone) {
			continue
		}
		if err != nil {
			return nil, err
		}
		out = append(out, info)
	}
	return out, nil
}
