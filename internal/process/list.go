package process

import (
	"errors"
	"fmt"
	"os"
	"strconv"
)

// StartOf returns when a process started, in clock ticks after the host's boot. The
// error is ErrGone if there is no such process.
func StartOf(pid uint32) (uint64, error) {
	var reads uint64
	info, err := readStat("/proc", pid, &reads)
	if err != nil {
		return 0, err
	}
	return HostTicks(info.Start), nil
}

// HostTicks converts a start time in /proc of this process to one of the host's time
// namespace, which the hooks use.
func HostTicks(start uint64) uint64 { return start - uint64(bootOffset()/nsPerTick) }

// All returns the processes there are: PID, PPID, Start and Comm of each.
func All() ([]Info, error) { return listAll("/proc") }

func listAll(root string) ([]Info, error) {
	pids, err := listPIDs(root)
	if err != nil {
		return nil, err
	}
	var out []Info
	var reads uint64
	for _, pid := range pids {
		info, err := readStat(root, pid, &reads)
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

// listPIDs returns the ids of all processes in a /proc, in no order.
func listPIDs(root string) ([]uint32, error) {
	dir, err := os.Open(root)
	if err != nil {
		return nil, fmt.Errorf("list processes: %w", err)
	}
	defer dir.Close()
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return nil, fmt.Errorf("list processes: %w", err)
	}
	var pids []uint32
	for _, name := range names {
		if pid, err := strconv.ParseUint(name, 10, 32); err == nil {
			pids = append(pids, uint32(pid))
		}
	}
	return pids, nil
}
