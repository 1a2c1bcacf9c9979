package tracer

import (
	"fmt"
	"os"
	"unsafe"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"

	"github.com/twtrace/twtrace/internal/kernel"
)

// tracepointLink is a program on a classic tracepoint, and the perf event that it is on.
type tracepointLink struct {
	link.Link
	event *os.File
}

// attachSyscall attaches program to a classic tracepoint of a system call: its
// callback checks the number of the call first, and runs no program for others.
func attachSyscall(program *ebpf.Program, name string) (link.Link, error) {
	id, err := kernel.TracepointID("syscalls", name)
	if err != nil {
		return nil, err
	}
	attr := unix.PerfEventAttr{
		Type: unix.PERF_TYPE_TRACEPOINT, Config: id, Size: uint32(unsafe.Sizeof(unix.PerfEventAttr{})),
		Sample: 1, Sample_type: unix.PERF_SAMPLE_RAW, Wakeup: 1,
	}
	// A program runs on all CPUs, wherever its event is.
	fd, err := unix.PerfEventOpen(&attr, -1, 0, -1, unix.PERF_FLAG_FD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("open a perf event: %w", err)
	}
	event := os.NewFile(uintptr(fd), name)
	l, err := link.AttachRawLink(link.RawLinkOptions{Target: fd, Program: program, Attach: ebpf.AttachPerfEvent})
	if err != nil {
		event.Close()
		return nil, err
	}
	return &tracepointLink{l, event}, nil
}

// Close detaches the program.
func (l *tracepointLink) Close() error {
	err := l.Link.Close()
	l.event.Close()
	return err
}
