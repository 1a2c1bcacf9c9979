// Package kernel says what this host is: its network namespaces with their
// limits, counters and sockets, its clocks, and what it lets a tracer do. It
// reads /proc, /sys and sock_diag, and changes nothing. It holds no namespace
// open between calls, so that none outlives its last process because of us.
package kernel

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"strconv"

	"golang.org/x/sys/unix"
)

// NetNS is a network namespace. It holds no descriptor: the namespace may be
// gone by the time it is used, and then every method says so.
type NetNS struct {
	Inum uint32 // inode number of the nsfs file, as in net:[4026531833]
	Name string // its `ip netns` name, "" if it has none
	PID  int    // a process that was alive in it, 0 if none is known
	path string // how to open it
}

// threadNS is the namespace of the calling thread, which need not be the one
// of the process: setns works on threads.
const threadNS = "/proc/thread-self/ns/net"

// Path returns a path that opens the namespace, fit for `nsenter --net=`.
func (n NetNS) Path() string { return n.path }

// String names n as people do: by its `ip netns` name, or as readlink prints it.
func (n NetNS) String() string {
	if n.Name != "" {
		return n.Name
	}
	return "net:[" + strconv.FormatUint(uint64(n.Inum), 10) + "]"
}

// CurrentNetNS returns the namespace of the calling thread. Its PID is a
// process that will outlive this one where there is one: 1, else the parent.
func CurrentNetNS() (NetNS, error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()

	inum, err := netNSInum(threadNS)
	if err != nil {
		return NetNS{}, fmt.Errorf("read the network namespace of this thread: %w", err)
	}
	n := NetNS{Inum: inum, path: fmt.Sprintf("/proc/%d/task/%d/ns/net", os.Getpid(), unix.Gettid())}
	for _, pid := range []int{1, os.Getppid(), os.Getpid()} {
		path := procNS(pid)
		if i, err := netNSInum(path); err == nil && i == inum {
			n.PID, n.path = pid, path
			break
		}
	}
	mounts, err := netNSMounts()
	if err != nil {
		return NetNS{}, err
	}
	for _, m := range mounts {
		if m.Inum == inum && m.Name != "" {
			n.Name = m.Name
			break
		}
	}
	return n, nil
}

// errNoReturn is what Do returns when fn ended its goroutine, as t.FailNow does.
var errNoReturn = errors.New("the function did not return")

// Do runs fn on a locked thread that is in n. It joins n only if the calling
// thread is elsewhere, and so needs no privilege for the current namespace;
// joining needs CAP_SYS_ADMIN. What fn starts with `go` runs outside of n.
func (n NetNS) Do(fn func() error) error {
	runtime.LockOSThread()
	if inum, err := netNSInum(threadNS); err == nil && inum == n.Inum {
		defer runtime.UnlockOSThread()
		return fn()
	}
	runtime.UnlockOSThread()

	fd, err := n.open()
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return joined(fd, n, fn)
}

// joined runs fn on a thread of its own that has joined the namespace at fd. If
// the way back fails, the goroutine ends with its thread locked, and the
// runtime throws the thread away instead of giving it to other goroutines.
func joined(fd int, n NetNS, fn func() error) error {
	result := make(chan error, 1)
	go func() {
		err := errNoReturn
		defer func() { result <- err }()

		runtime.LockOSThread()
		home, e := openFile(threadNS)
		if e != nil {
			runtime.UnlockOSThread()
			err = fmt.Errorf("open this thread's network namespace: %w", e)
			return
		}
		defer unix.Close(home)
		if e := unix.Setns(fd, unix.CLONE_NEWNET); e != nil {
			runtime.UnlockOSThread()
			err = fmt.Errorf("join network namespace %s: %w", n, e)
			if errors.Is(e, unix.EPERM) {
				err = fmt.Errorf("%w (needs root, or CAP_SYS_ADMIN)", err)
			}
			return
		}
		defer func() {
			if e := unix.Setns(home, unix.CLONE_NEWNET); e != nil {
				err = errors.Join(err, fmt.Errorf("leave network namespace %s: %w", n, e))
				return
			}
			runtime.UnlockOSThread()
		}()
		err = fn()
	}()
	return <-result
}

// open opens n and makes sure that it is still n that stands at its path.
func (n NetNS) open() (int, error) {
	if n.path == "" {
		return -1, fmt.Errorf("open network namespace %s: no path to it is known", n)
	}
	fd, err := openFile(n.path)
	if err != nil {
		return -1, fmt.Errorf("open network namespace %s: %w", n, err)
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		unix.Close(fd)
		return -1, fmt.Errorf("stat %s: %w", n.path, err)
	}
	if uint32(st.Ino) != n.Inum {
		unix.Close(fd)
		return -1, fmt.Errorf("network namespace %s is gone: %s is net:[%d] now: %w", n, n.path, st.Ino, os.ErrNotExist)
	}
	return fd, nil
}

// openFile opens path for setns, as a plain descriptor that the runtime's
// poller never sees.
func openFile(path string) (int, error) {
	for {
		fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return -1, &os.PathError{Op: "open", Path: path, Err: err}
		}
		return fd, nil
	}
}

// netNSInum returns the inode number of the namespace file at path.
func netNSInum(path string) (uint32, error) {
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return 0, &os.PathError{Op: "stat", Path: path, Err: err}
	}
	return uint32(st.Ino), nil
}

func procNS(pid int) string { return "/proc/" + strconv.Itoa(pid) + "/ns/net" }
