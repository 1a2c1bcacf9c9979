package process

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// SystemTime returns how long the process has run in the kernel.
func SystemTime(pid uint32) (time.Duration, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	const stime = 15 - 3 // fields, counted from the state, the third
	fields := bytes.Fields(b[bytes.LastIndexByte(b, ')')+1:])
	if len(fields) <= stime {
		return 0, fmt.Errorf("parse /proc/%d/stat: %d fields", pid, len(fields))
	}
	n, err := strconv.ParseUint(string(fields[stime]), 10, 63)
	if err != nil {
		return 0, fmt.Errorf("parse /proc/%d/stat: %w", pid, err)
	}
	return time.Duration(n) * (time.Second / userHz), nil
}

// Usage returns the time of CPUs that a process has used, and its resident memory in bytes.
func Usage(pid uint32) (cpu time.Duration, resident uint64, err error) {
	// The CPU clock of a process, as clock_getcpuclockid(3) names it.
	const scheduler = 2
	var ts unix.Timespec
	if err := unix.ClockGettime(int32(^pid)<<3|scheduler, &ts); err != nil {
		return 0, 0, fmt.Errorf("read the CPU clock of %d: %w", pid, err)
	}
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
	if err != nil {
		return 0, 0, err
	}
	fields := bytes.Fields(b)
	if len(fields) < 2 {
		return 0, 0, fmt.Errorf("parse /proc/%d/statm: %d fields", pid, len(fields))
	}
	pages, err := strconv.ParseUint(string(fields[1]), 10, 64)
	if err != nil {
		return 0, 0, fmt.Errorf("parse /proc/%d/statm: %w", pid, err)
	}
	return time.Duration(ts.Nano()), pages * uint64(os.Getpagesize()), nil
}

// Stopped reports whether the process does not run because a signal or a debugger stopped it.
func Stopped(pid uint32) bool {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	fields := bytes.Fields(b[bytes.LastIndexByte(b, ')')+1:])
	return len(fields) > 0 && bytes.ContainsAny(fields[0], "Tt")
}

// Descriptors returns how many files the process has open, and the limit.
func Descriptors(pid uint32) (used, limit uint64, err error) {
	dir := fmt.Sprintf("/proc/%d/", pid)
	b, err := os.ReadFile(dir + "limits")
	if err != nil {
		return 0, 0, err
	}
	if limit, err = parseOpenFiles(b); err != nil {
		return 0, 0, fmt.Errorf("parse %slimits: %w", dir, err)
	}
	f, err := os.Open(dir + "fd")
	if err != nil {
		return 0, 0, err
	}
	defer f.Close()
	// Since 6.2 the size of the directory is the number of its entries.
	if info, err := f.Stat(); err == nil && info.Size() > 0 {
		return uint64(info.Size()), limit, nil
	}
	names, err := f.Readdirnames(-1)
	return uint64(len(names)), limit, err
}

// parseOpenFiles parses the soft limit of open files of a /proc/PID/limits.
func parseOpenFiles(b []byte) (uint64, error) {
	for line := range bytes.Lines(b) {
		if rest, ok := bytes.CutPrefix(line, []byte("Max open files")); ok {
			fields := bytes.Fields(rest)
			if len(fields) < 2 {
				break
			}
			return strconv.ParseUint(string(fields[0]), 10, 64)
		}
	}
	return 0, errors.New("no limit of open files")
}

// HostDescriptors returns how many files the host has open, and the limit.
func HostDescriptors() (used, limit uint64, err error) {
	b, err := os.ReadFile("/proc/sys/fs/file-nr")
	if err != nil {
		return 0, 0, err
	}
	var free uint64
	if _, err := fmt.Sscan(string(b), &used, &free, &limit); err != nil {
		return 0, 0, fmt.Errorf("parse file-nr: %w", err)
	}
	return used - free, limit, nil
}
