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

// parseStat parses comm, parent and start time of a /proc/PID/stat. The comm is in
// parentheses and may contain any byte, even a parenthesis or a newline: the last ")"
// ends it (proc_pid_stat(5)).
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

// parseUID parses the real user id, the first of four, of a /proc/PID/status.
func parseUID(b []byte) (uint32, error) {
	fields := bytes.Fields(statusField(b, "Uid:"))
	if len(fields) < 2 {
		return 0, errors.New("no Uid line")
	}
	n, err := strconv.ParseUint(string(fields[0]), 10, 32)
	if err != nil {
		return 0, fmt.Errorf("uid: %w", err)
	}
	return uint32(n), nil
}

// statusField returns the rest of the line of a /proc/PID/status that starts with
// name. The kernel escapes newlines in the command name there.
func statusField(b []byte, name string) []byte {
	for line := range bytes.Lines(b) {
		if v, ok := bytes.CutPrefix(line, []byte(name)); ok {
			return bytes.TrimSpace(v)
		}
	}
	return nil
}

// userHz is USER_HZ, how many clock ticks of /proc a second has: 100 on all
// architectures that twtrace runs on. nsPerTick is how long one lasts.
const (
	userHz    = 100
	nsPerTick = 1e9 / userHz
)

// StartTicks converts start_boottime of a thread group leader, in ns, to its start
// time in /proc of this process: in clock ticks, rounded down, and in the time
// namespace of this process.
func StartTicks(startBoottime uint64) uint64 {
	return (startBoottime + uint64(bootOffset())) / nsPerTick
}

// bootOffset is how far the boot time clock of this process's time namespace is
// ahead of the host's, in ns. It is 0 before 5.6, which has no time namespaces.
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
