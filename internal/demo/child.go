package demo

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

// Main turns this program into a process of the demo if it was started as one, and
// does not return then. Call it first in main, and in the TestMain of tests that run
// the demo.
//
// Started by anyone but a running copy of the same program it returns, and the command
// is as unknown as it is to the command line: see startedByDemo.
func Main() {
	if len(os.Args) != 2 || os.Args[1] != command || !startedByDemo() {
		return
	}
	socket := os.NewFile(parentFD, "parent")
	unix.CloseOnExec(parentFD)
	var r role
	in := json.NewDecoder(socket)
	if err := in.Decode(&r); err != nil {
		os.Exit(1) // the parent has ended
	}
	work, err := r.prepare()
	answer := reply{}
	if err != nil {
		answer.Err = err.Error()
	}
	if json.NewEncoder(socket).Encode(answer) != nil || err != nil {
		os.Exit(1)
	}
	go func() {
		_, _ = io.Copy(io.Discard, socket) // until the parent ends, however it does
		os.Exit(0)
	}()
	work()
}

// startedByDemo reports whether the parent of this process is a copy of the same
// program that made the socket at parentFD.
func startedByDemo() bool {
	peer, err := unix.GetsockoptUcred(parentFD, unix.SOL_SOCKET, unix.SO_PEERCRED)
	if err != nil || int(peer.Pid) != os.Getppid() {
		return false // of a socket pair the peer is who made it
	}
	own, err := os.Stat("/proc/self/exe")
	if err != nil {
		return false
	}
	parent, err := os.Stat(fmt.Sprintf("/proc/%d/exe", peer.Pid))
	return err == nil && os.SameFile(own, parent)
}

// prepare names the process and returns what it does from then on, on this thread. It
// works with bare system calls: Go's dialer tries again where it finds no port, and
// turns keep-alive on.
func (r role) prepare() (work func(), err error) {
	runtime.LockOSThread()
	for _, who := range []string{"self", "thread-self"} { // what ps shows, and what the kernel's events show
		if err := os.WriteFile("/proc/"+who+"/comm", []byte(r.Comm), 0); err != nil {
			return nil, fmt.Errorf("name the process: %w", err)
		}
	}
	if !r.Listen.IsValid() {
		return r.connect, nil
	}
	listener, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("make a socket: %w", err)
	}
	at := &unix.SockaddrInet4{Port: int(r.Listen.Port()), Addr: r.Listen.Addr().As4()}
	if err := unix.Bind(listener, at); err != nil {
		return nil, fmt.Errorf("bind %s: %w", r.Listen, err)
	}
	if err := unix.Listen(listener, unix.SOMAXCONN); err != nil {
		return nil, fmt.Errorf("listen on %s: %w", r.Listen, err)
	}
	return func() { accept(listener) }, nil
}

// accept accepts connections, one after the other, and closes each once its client
// has: the client has the TIME_WAIT.
func accept(listener int) {
	for {
		fd, _, err := unix.Accept4(listener, unix.SOCK_CLOEXEC)
		if err != nil {
			continue // interrupted, or the client is gone already
		}
		awaitEOF(fd)
		unix.Close(fd)
	}
}

// connect opens Rate connections a second and closes each.
func (r role) connect() {
	to := &unix.SockaddrInet4{Port: int(r.Connect.Port()), Addr: r.Connect.Addr().As4()}
	start := time.Now()
	for i := 0; ; i++ {
		time.Sleep(time.Until(start.Add(time.Duration(float64(i) / r.Rate * float64(time.Second)))))
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			continue
		}
		// That no port is left is what the demo shows.
		if unix.Connect(fd, to) == nil && unix.Shutdown(fd, unix.SHUT_WR) == nil {
			awaitEOF(fd)
		}
		unix.Close(fd)
	}
}

// awaitEOF reads until the peer has closed its end.
func awaitEOF(fd int) {
	var b [64]byte
	for {
		if n, err := unix.Read(fd, b[:]); err != unix.EINTR && (err != nil || n <= 0) {
			return
		}
	}
}
