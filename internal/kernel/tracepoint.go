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

// ErrNoTracepoint is returned for a tracepoint that this kernel does not have.
var ErrNoTracepoint = errors.New("this kernel has no such tracepoint")

// tracefsPaths are where tracefs is mounted, if it is.
var tracefsPaths = []string{"/sys/kernel/tracing", "/sys/kernel/debug/tracing"}

// TracepointID returns the number by which perf_event_open() knows a tracepoint. It
// stands in tracefs; where that is not mounted, it is looked at through a mount that
// no path leads to and that ends with the call. The error is ErrNoTracepoint if the
// kernel has no such tracepoint, or none at all; the mount takes CAP_SYS_ADMIN.
func TracepointID(group, name string) (uint64, error) {
	path := "events/" + group + "/" + name + "/id"
	id, err := tracepointID(path)
	if err != nil {
		return 0, fmt.Errorf("look up tracepoint %s:%s: %w", group, name, err)
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
