package sandbox

import (
	"errors"
	"fmt"
	"runtime"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/twtrace/twtrace/internal/kernel"
)

// LaunchCaps are what the tracer needs to start a speaker again: to become another user and
// group, and to end a process of that user. Without CAP_KILL the kernel does not end the
// speaker with the tracer either (PR_SET_PDEATHSIG asks for the same right); the end of their
// socket pair still does.
var LaunchCaps = kernel.CapSet(unix.CAP_SETUID, unix.CAP_SETGID, unix.CAP_KILL)

// Drop leaves the tracer the capabilities in keep, on all its threads, as far as it has
// them. Programs that it executes get none, whoever owns them: the bounding set is empty.
// There is no way back. Call it once the hooks are attached and the sockets are bound.
//
// It needs CAP_SETPCAP, and a program without cgo: otherwise the error is
// errors.ErrUnsupported, and nothing is dropped.
func Drop(keep kernel.Caps) error {
	own, err := kernel.Capabilities()
	if err != nil {
		return err
	}
	if err := noNewPrivs(prctlProcess); err != nil {
		if errors.Is(err, unix.ENOTSUP) {
			return fmt.Errorf("drop capabilities on all threads of a program with cgo: %w", errors.ErrUnsupported)
		}
		return err
	}
	if err := emptyBoundingSet(prctlProcess); err != nil {
		return err
	}
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	data := capData(keep & own)
	_, _, errno := syscall.AllThreadsSyscall(unix.SYS_CAPSET,
		uintptr(unsafe.Pointer(&header)), uintptr(unsafe.Pointer(&data[0])), 0)
	runtime.KeepAlive(&header)
	runtime.KeepAlive(&data)
	if errno != 0 {
		return fmt.Errorf("drop capabilities: %w", errno)
	}
	return nil
}
