package clipboard

import (
	"bytes"
	"fmt"
	"iter"
	"os"
	"strconv"
	"strings"
)

// ancestor is a process above this one, as /proc has it.
type ancestor struct {
	pid, parent int
	comm        string
	uid, gid    uint32
}

// maxAncestors bounds the way up: the kernel may use a pid again meanwhile.
const maxAncestors = 64

// ancestors yields the processes above pid, each with the one below it, from the nearest
// up, as far as they can be read.
func ancestors(pid int) iter.Seq2[ancestor, ancestor] {
	return func(yield func(below, above ancestor) bool) {
		below, ok := readProcess(pid)
		for range maxAncestors {
			if !ok || below.parent <= 0 {
				return
			}
			var above ancestor
			if above, ok = readProcess(below.parent); !ok || !yield(below, above) {
				return
			}
			below = above
		}
	}
}

// readProcess reads /proc/PID/status; ok is false if that is not possible.
func readProcess(pid int) (p ancestor, ok bool) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return p, false
	}
	p.pid = pid
	for line := range strings.Lines(string(b)) {
		name, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ":")
		value = strings.TrimPrefix(value, "\t")
		switch name {
		case "Name":
			p.comm = value
		case "PPid":
			p.parent, err = strconv.Atoi(value)
		case "Uid":
			p.uid, err = effective(value)
		case "Gid":
			p.gid, err = effective(value)
		}
		if err != nil {
			return p, false
		}
	}
	return p, true
}

// effective is the second of the four ids of a line: real, effective, saved, file system.
func effective(ids string) (uint32, error) {
	fields := strings.Fields(ids)
	if len(fields) < 2 {
		return 0, strconv.ErrSyntax
	}
	n, err := strconv.ParseUint(fields[1], 10, 32)
	return uint32(n), err
}

// environ is a process's environment as it was started with, as far as it is of use to
// a client of a multiplexer.
func (p ancestor) environ() []string {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", p.pid))
	if err != nil {
		return nil
	}
	var out []string
	for v := range bytes.SplitSeq(b, []byte{0}) {
		switch name, _, _ := strings.Cut(string(v), "="); name {
		case "TMUX", "TMUX_PANE", "TMUX_TMPDIR", "STY", "SCREENDIR", "TERM", "HOME", "LANG", "LC_ALL", "LC_CTYPE":
			out = append(out, string(v))
		}
	}
	return out
}
