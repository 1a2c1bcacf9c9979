// Package process tells who a pid is, from /proc: its command name, executable,
// parent and start. Answers are cached and checked against the start time, so
// that a pid that was used again is not taken for the process that had it before.
package process

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"syscall"
)

// ErrGone says that there is no such process (any more), and none was known.
var ErrGone = errors.New("no such process")

// Info is what /proc says about a process.
type Info struct {
	PID   uint32 // thread group id
	PPID  uint32 // of the parent; 0 if there is none in this pid namespace
	Comm  string // command name of the thread group leader, its bytes unmodified
	Exe   string // path of the executable, with " (deleted)" behind it if so; "" if it may not be read or there is none
	Start uint64 // clock ticks after boot when it started; with PID the identity
	Gone  bool   // it has ended; the rest is what was known
}

// defaultMax is how many processes a Resolver remembers, unless told otherwise:
// about 0.3 KiB each.
const defaultMax = 8192

// Resolver answers who a pid is. It is not safe for concurrent use.
type Resolver struct {
	root  string
	max   int
	known map[uint32]Info
	order []uint32 // a ring of the known pids, oldest at next
	next  int
}

// NewResolver returns a resolver that remembers at most maxKnown processes, the
// last ones it learned of; 0 means a default.
func NewResolver(maxKnown int) *Resolver { return newResolver("/proc", maxKnown) }

func newResolver(root string, maxKnown int) *Resolver {
	if maxKnown <= 0 {
		maxKnown = defaultMax
	}
	return &Resolver{root: root, max: maxKnown, known: make(map[uint32]Info)}
}

// Resolve tells who pid is now or, if it has ended, who it was when it was last
// asked for. The error is ErrGone if that is not known either, or that of reading
// /proc. Each call reads one file; the executable is read once a process.
func (r *Resolver) Resolve(pid uint32) (Info, error) {
	old, ok := r.known[pid]
	now, err := readStat(r.root, pid)
	switch {
	case errors.Is(err, ErrGone) && ok:
		old.Gone = true
		r.known[pid] = old
		return old, nil
	case err != nil:
		return Info{}, err
	case ok && old.Start == now.Start && old.Comm == now.Comm:
		old.PPID = now.PPID // the parent may die first
		r.known[pid] = old
		return old, nil
	}
	now.Exe = readExe(r.root, pid) // again after a change of comm: it may be an exec
	if !ok {
		r.remember(pid)
	}
	r.known[pid] = now
	return now, nil
}

// remember makes room for pid.
func (r *Resolver) remember(pid uint32) {
	if len(r.order) < r.max {
		r.order = append(r.order, pid)
		return
	}
	delete(r.known, r.order[r.next])
	r.order[r.next] = pid
	r.next = (r.next + 1) % r.max
}

func readStat(root string, pid uint32) (Info, error) {
	name := procPath(root, pid, "stat")
	b, err := os.ReadFile(name)
	if gone(err) {
		return Info{}, fmt.Errorf("process %d: %w", pid, ErrGone)
	}
	if err != nil {
		return Info{}, fmt.Errorf("read process %d: %w", pid, err)
	}
	info, err := parseStat(b)
	if err != nil {
		return Info{}, fmt.Errorf("parse %s: %w", name, err)
	}
	info.PID = pid
	return info, nil
}

// gone tells whether err says that the process has ended: there is no such
// directory, or the read came too late (ESRCH).
func gone(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ESRCH)
}

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

// readExe is "" for kernel threads, and where another user's process may not be looked at.
func readExe(root string, pid uint32) string {
	exe, err := os.Readlink(procPath(root, pid, "exe"))
	if err != nil {
		return ""
	}
	return exe
}

func procPath(root string, pid uint32, file string) string {
	return root + "/" + strconv.FormatUint(uint64(pid), 10) + "/" + file
}
