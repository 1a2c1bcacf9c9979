// Package netns makes network namespaces and runs code in them.
package netns

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"
)

// NS is a network namespace that nothing but this process knows: a file
// descriptor keeps it, and it is gone when the process is.
type NS struct {
	file *os.File
	inum uint32
}

// New makes a network namespace whose loopback device is up. It needs
// CAP_SYS_ADMIN.
func New() (*NS, error) {
	var ns NS
	err := onThread(func() error {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("make a network namespace: %w", err)
		}
		file, err := os.Open("/proc/thread-self/ns/net")
		if err != nil {
			return err
		}
		ns.file = file
		return LinkUp("lo")
	})
	if err == nil {
		err = ns.stat()
	}
	if err != nil {
		return nil, errors.Join(err, ns.Close())
	}
	return &ns, nil
}

func (n *NS) stat() error {
	var st unix.Stat_t
	if err := unix.Fstat(int(n.file.Fd()), &st); err != nil {
		return fmt.Errorf("stat a network namespace: %w", err)
	}
	n.inum = uint32(st.Ino)
	return nil
}

// Path names the namespace to other processes, for as long as this one lives.
func (n *NS) Path() string {
	return fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), n.file.Fd())
}

// Inum returns the inode number that identifies the namespace.
func (n *NS) Inum() uint32 { return n.inum }

// Do runs f on a thread that is in the namespace. Other goroutines that f
// starts are not.
func (n *NS) Do(f func() error) error { return In(n.Path(), f) }

// Sysctl sets a sysctl of the namespace, such as net.ipv4.tcp_tw_reuse.
func (n *NS) Sysctl(name, value string) error {
	path := "/proc/sys/" + strings.ReplaceAll(name, ".", "/")
	err := n.Do(func() error { return os.WriteFile(path, []byte(value), 0) })
	if err != nil {
		return fmt.Errorf("set %s to %s: %w", name, value, err)
	}
	return nil
}

// Close gives the namespace up; the kernel removes it once the last process and
// socket in it are gone.
func (n *NS) Close() error {
	if n.file == nil {
		return nil
	}
	return n.file.Close()
}

// In runs f on a thread that is in the namespace at path; "" is the one
// that the caller is in.
func In(path string, f func() error) error {
	if path == "" {
		return f()
	}
	ns, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("open network namespace: %w", err)
	}
	defer ns.Close()
	return onThread(func() error {
		if err := unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("enter network namespace %s: %w", path, err)
		}
		return f()
	})
}

// onThread runs f, which may change the network namespace of its thread, and
// undoes that, even when f panics or ends the goroutine.
func onThread(f func() error) (err error) {
	runtime.LockOSThread()
	home, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		runtime.UnlockOSThread()
		return fmt.Errorf("open this thread's network namespace: %w", err)
	}
	defer home.Close()
	defer func() {
		back := unix.Setns(int(home.Fd()), unix.CLONE_NEWNET)
		if back == nil {
			runtime.UnlockOSThread()
			return
		}
		// The thread stays locked, so that no other goroutine runs in the
		// wrong namespace.
		err = errors.Join(err, fmt.Errorf("leave network namespace: %w", back))
	}()
	return f()
}

// LinkUp brings a device of the calling thread's network namespace up.
func LinkUp(dev string) error {
	ifr, err := unix.NewIfreq(dev)
	if err != nil {
		return fmt.Errorf("bring %s up: %w", dev, err)
	}
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("bring %s up: %w", dev, err)
	}
	defer unix.Close(fd)
	err = unix.IoctlIfreq(fd, unix.SIOCGIFFLAGS, ifr)
	if err == nil {
		ifr.SetUint16(ifr.Uint16() | unix.IFF_UP)
		err = unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, ifr)
	}
	if err != nil {
		return fmt.Errorf("bring %s up: %w", dev, err)
	}
	return nil
}
