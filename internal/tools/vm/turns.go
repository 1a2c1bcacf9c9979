package main

import (
	"io"
	"net"
	"os"
	"os/exec"
	"time"

	"golang.org/x/sys/unix"
)

// Up to qemu 8.0, of emulated CPUs that count instructions the first may use up the time
// until the next timer, and the others get what it leaves: nothing while it waits for them
// with neither a pause nor a halt, as kernels up to 6.4 do when they bring up a CPU. An
// interruption from outside, and be it for nothing, makes it the next one's turn.
const (
	turn      = 20 * time.Millisecond
	interrupt = "stop\ncont\n" // to the monitor
)

// monitorArgs are qemu's for a monitor on the first of exec.Cmd's ExtraFiles.
var monitorArgs = []string{"-chardev", "socket,id=turns,fd=3", "-mon", "chardev=turns"}

// monitor gives cmd, not yet started, one end of a connection and returns the other.
func monitor(cmd *exec.Cmd) (net.Conn, error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("socketpair", err)
	}
	cmd.ExtraFiles = []*os.File{os.NewFile(uintptr(fds[0]), "monitor")}
	ours := os.NewFile(uintptr(fds[1]), "monitor")
	defer ours.Close()
	return net.FileConn(ours)
}

// takeTurns interrupts the guest again and again until it is gone.
func takeTurns(monitor net.Conn) {
	defer monitor.Close()
	go io.Copy(io.Discard, monitor) // it repeats what it receives
	for {
		if _, err := io.WriteString(monitor, interrupt); err != nil {
			return
		}
		time.Sleep(turn)
	}
}
