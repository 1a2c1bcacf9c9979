package process

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"sync"
)

// parseStat reads comm, parent and start time of a /proc/PID/stat. The comm
// stands in parentheses and may hold any byte, a parenthesis or a newline too:
// the last ")" ends it (proc_pid_stat(5)).
func parseStat(b []byte) (Info, error) {
	open, end := bytes.IndexByte(b, '('), bytes.LastIndexByte(b, ')')
	if open < 0 || end < open {
		return Info{}, errors.New("no command name")
	}
	const ppid, start = 4 - 3, 22 - 3 // fields, counted from the state, the third
	fields := bytes.Fields(b[end+1:])
	if len(fields) <= start {
		return Info{}, fmt.Errorf("%d fields after the command name, want %d", len(fields), start+1)
	}
	info := Info{Comm: string(b[open+1 : end])}
	n, err := strconv.ParseUint(string(fields[ppid]), 10, 32)
	if err != nil {
		return Info{}, fmt.Errorf("parent: %w", err)
	}
	info.PPID = uint32(n)
	if info.Start, err = strconv.ParseUint(string(fields[start]), 10, 64); err != nil {
		return Info{}, fmt.Errorf("start time: %w", err)
	}
	return info, nil
}

// parseUID reads the real and the effective user id of a /proc/PID/status.
func parseUID(b []byte) (real, effective uint32, err error) {
	fields := bytes.Fields(statusField(b, "Uid:"))
	if len(fields) < 2 {
		return 0, 0, errors.New("no Uid line")
	}
	var ids [2]uint32
	for i := range ids {
		n, err := strconv.ParseUint(string(fields[i]), 10, 32)
		if err != nil {
			return 0, 0, fmt.Errorf("uid: %w", err)
		}
		ids[i] = uint32(n)
	}
	return ids[0], ids[1], nil
}

// statusField returns what follows name at the beginning of a line of a
// /proc/PID/status. The kernel escapes newlines in the command name there.
func statusField(b []byte, name string) []byte {
	for line := range bytes.Lines(b) {
		if v, ok := bytes.CutPrefix(line, []byte(name)); ok {
			return bytes.TrimSpace(v)
		}
	}
	return nil
}

// nsPerTick is how long a clock tick of /proc lasts: USER_HZ is 100 on all
// architectures that twtrace runs on.
const nsPerTick = 1e9 / 100

// StartTicks converts start_boottime of a thread group leader, in ns, to the
// start time that /proc shows to this process: in clock ticks, cut off, and in
// the time namespace of the reader.
func StartTicks(startBoottime uint64) uint64 {
	return (startBoottime + uint64(bootOffset())) / nsPerTick
}

// bootOffset is how far the boot time clock of this process's time namespace is
// ahead of the host's, in ns. 0 where the kernel has no time namespaces (5.6).
var bootOffset = sync.OnceValue(func() int64 {
	f, err := os.Open("/proc/self/timens_offsets")
	if err != nil {
		return 0
	}
	defer f.Close()
	return parseBootOffset(f)
})

func parseBootOffset(r io.Reader) int64 {
	for lines := bufio.NewScanner(r); lines.Scan(); {
		f := strings.Fields(lines.Text())
		if len(f) != 3 || f[0] != "boottime" {
			continue
		}
		sec, err1 := strconv.ParseInt(f[1], 10, 64)
		ns, err2 := strconv.ParseInt(f[2], 10, 64)
		if err1 == nil && err2 == nil {
			return sec*1e9 + ns
		}
	}
	return 0
}
