package kernel

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// ErrNoTracepoint is the error for a tracepoint that this kernel does not have.
var ErrNoTracepoint = errors.New("this kernel has no such tracepoint")

// tracefsPaths are the usual mount points of tracefs.
var tracefsPaths = []string{"/sys/kernel/tracing", "/sys/kernel/debug/tracing"}

// TracepointID returns the number of a tracepoint for perf_event_open(). It reads it
// from tracefs; where that is not mounted, from a mount of its own that has no path
// and ends with the call, which needs CAP_SYS_ADMIN. The error is ErrNoTracepoint if
// the kernel has no such tracepoint, or none at all.
func TracepointID(group, name string) (uint64, error) {
	path := "events/" + group + "/" + name + "/id"
	id, err := tracepointID(path)
	if err != nil {
		return 0, fmt.Errorf("find tracepoint %s:%s: %w", group, name, err)
	}
	return id, nil
}

func tracepointID(path string) (uint64, error) {
	for _, dir := range tracefsPaths {
		if _, err := os.Stat(dir + "/events"); err == nil {
			f, err := os.Open(dir + "/" + path)
			return readID(f, err)
		}
	}
	mount, err := detachedTracefs()
	if errors.Is(err, unix.ENODEV) {
		return 0, ErrNoTracepoint
	}
	if err != nil {
		return 0, err
	}
	defer unix.Close(mount)
	fd, err := unix.Openat(mount, path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return readID(nil, err)
	}
	return readID(os.NewFile(uintptr(fd), path), nil)
}

// readID reads and closes the file of a tracepoint's number, if err is nil.
func readID(f *os.File, err error) (uint64, error) {
	if errors.Is(err, os.ErrNotExist) {
		return 0, ErrNoTracepoint
	}
	if err != nil {
		return 0, err
	}
	defer f.Close()
	text, err := io.ReadAll(f)
	if err != nil {
		return 0, err
	}
	return strconv.ParseUint(string(bytes.TrimSpace(text)), 10, 64)
}

// detachedTracefs returns a descriptor of the root of tracefs.
func detachedTracefs() (int, error) {
	fs, err := unix.Fsopen("tracefs", unix.FSOPEN_CLOEXEC)
	if err != nil {
		return -1, err
	}
	defer unix.Close(fs)
	if err := unix.FsconfigCreate(fs); err != nil {
		return -1, err
	}
	return unix.Fsmount(fs, unix.FSMOUNT_CLOEXEC, 0)
}
