package workload

import (
	"syscall"
	"unsafe"
)

// fork makes a child by fork() alone, as servers in C do. It waits until nobody can
// write to gate any more, closes fds and ends. Of a Go program only the forking thread
// is there in the child, with nothing of the runtime: it makes bare calls, and its
// stack must not grow.
//
//go:norace
//go:nosplit
func fork(fds []int, gate [2]int) (int, syscall.Errno) {
	pid, _, errno := syscall.RawSyscall6(syscall.SYS_CLONE, uintptr(syscall.SIGCHLD), 0, 0, 0, 0, 0)
	if errno != 0 || pid != 0 {
		return int(pid), errno
	}
	var b byte
	syscall.RawSyscall(syscall.SYS_CLOSE, uintptr(gate[1]), 0, 0)
	syscall.RawSyscall(syscall.SYS_READ, uintptr(gate[0]), uintptr(unsafe.Pointer(&b)), 1)
	for _, fd := range fds {
		syscall.RawSyscall(syscall.SYS_CLOSE, uintptr(fd), 0, 0)
	}
	for {
		syscall.RawSyscall(syscall.SYS_EXIT_GROUP, 0, 0, 0)
	}
}
