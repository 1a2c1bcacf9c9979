package main

import (
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// The kernel's own complaints, from Documentation/admin-guide/tainted-kernels.rst.
const (
	taintDied       = 1 << 7
	taintWarned     = 1 << 9
	taintSoftLockup = 1 << 14
)

// taint returns what the kernel complained about since it started.
func taint() uint64 {
	b, err := os.ReadFile("/proc/sys/kernel/tainted")
	if err != nil {
		return 0
	}
	t, _ := strconv.ParseUint(strings.TrimSpace(string(b)), 10, 64)
	return t & (taintDied | taintWarned | taintSoftLockup)
}

// kernelLog is what the kernel says from when it was opened.
type kernelLog struct{ fd int }

func openKernelLog() (*kernelLog, error) {
	fd, err := unix.Open("/dev/kmsg", unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open the kernel log: %w", err)
	}
	if _, err := unix.Seek(fd, 0, unix.SEEK_END); err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("go to the end of the kernel log: %w", err)
	}
	return &kernelLog{fd}, nil
}

// print prints the messages that are still in the kernel's buffer.
func (l *kernelLog) print() {
	buf := make([]byte, 8192) // a record is never longer
	for {
		n, err := unix.Read(l.fd, buf)
		switch {
		case err == unix.EINTR || err == unix.EPIPE: // EPIPE: overwritten, go on
			continue
		case err != nil || n <= 0:
			return
		}
		// "prio,seq,time_us,flags;text"
		if _, text, ok := strings.Cut(string(buf[:n]), ";"); ok {
			text, _, _ = strings.Cut(text, "\n")
			fmt.Println(text)
		}
	}
}
