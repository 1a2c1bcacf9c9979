// Package kernel reads facts about this host: its network namespaces with their
// limits, counters and sockets, its clocks, and which rights a tracer has. It reads
// /proc, /sys, sock_diag and ctnetlink, and changes nothing but, on request, the
// statistics of BPF programs. It holds no namespace open between calls, so that none
// outlives its last process because of twtrace.
package kernel

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"strconv"

	"golang.org/x/sys/unix"
)

// NetNS is a network namespace. It holds no descriptor: the namespace may be gone
// when a method needs it, and then the method returns an error that says so.
type NetNS struct {
	Inum uint32 // inode number of the nsfs file, as in net:[4026531833]
	Name string // its `ip netns` name, "" if it has none
	PID  int    // a process that was alive in it, 0 if none is known
	path string // how to open it

	Recorded bool // it is one of a recording, and may be of another host
	Home     bool // of a recorded one: the shell that started the recording was in it
}

// threadNS is the namespace of the calling thread, which need not be the one
// of the process: setns works on threads.
const threadNS = "/proc/thread-self/ns/net"

// String returns the `ip netns` name of n or, if it has none, net:[INODE].
func (n NetNS) String() string {
	if n.Name != "" {
		return n.Name
	}
	return "net:[" + strconv.FormatUint(uint64(n.Inum), 10) + "]"
}

// CurrentNetNS returns the namespace of the calling thread. Its PID is that of a
// process that will outlive this one if possible: 1, else the parent.
func CurrentNetNS() (NetNS, error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()

	inum, err := nsInum(threadNS)
	if err != nil {
		return NetNS{}, fmt.Errorf("read the network namespace of this thread: %w", err)
	}
	n := NetNS{Inum: inum, path: fmt.Sprintf("/proc/%d/task/%d/ns/net", os.Getpid(), unix.Gettid())}
	for _, pid := range []int{1, os.Getppid(), os.Getpid()} {
		path := procNS(pid)
		if i, err := nsInum(path); err == nil && i == inum {
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

// errNoReturn is the error of Do if fn ended its goroutine, as t.FailNow does.
var errNoReturn = errors.New("the function did not return")

// Do runs fn on a locked thread that is in n. It joins n only if the calling
// thread is elsewhere, and so needs no privilege for the current namespace;
// joining needs CAP_SYS_ADMIN. Goroutines that fn starts run outside n.
func (n NetNS) Do(fn func() error) error {
	runtime.LockOSThread()
	if inum, err := nsInum(threadNS); err == nil && inum == n.Inum {
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

// joined runs fn on a thread of its own that has joined the namespace at fd. If the
// thread cannot return to its namespace, the goroutine ends with its thread locked,
// and the runtime ends the thread instead of giving it to other goroutines.
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
				err = fmt.Errorf("%w: run as root, or with CAP_SYS_ADMIN", err)
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

// open opens n, and checks that its path still leads to n.
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

// nsInum returns the inode number of the namespace file at path.
func nsInum(path string) (uint32, error) {
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return 0, &os.PathError{Op: "stat", Path: path, Err: err}
	}
	return uint32(st.Ino), nil
}

func procNS(pid int) string { return "/proc/" + strconv.Itoa(pid) + "/ns/net" }
