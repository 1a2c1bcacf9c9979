package sandbox

import (
	"errors"
	"fmt"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/twtrace/twtrace/internal/kernel"
)

// onThread runs fn on a thread of its own, which ends with it: whatever fn sheds there, no
// other goroutine lacks. It does not wait for fn.
//
// That thread is never the process's first, whose rights the kernel takes for those of the
// process, and which the runtime cannot end.
func onThread(fn func()) {
	go func() {
		runtime.LockOSThread()
		if unix.Gettid() != unix.Getpid() {
			fn()
			return // still locked: the runtime ends the thread
		}
		locked := make(chan struct{})
		go func() {
			runtime.LockOSThread()
			close(locked)
			fn()
		}()
		<-locked // until then this goroutine keeps the first thread
		runtime.UnlockOSThread()
	}()
}

// prctl is the system call on this thread, or on all of them.
type prctl func(option int, arg2, arg3 uintptr) error

func prctlThread(option int, arg2, arg3 uintptr) error {
	return unix.Prctl(option, arg2, arg3, 0, 0)
}

func prctlProcess(option int, arg2, arg3 uintptr) error {
	if _, _, errno := syscall.AllThreadsSyscall6(unix.SYS_PRCTL, uintptr(option), arg2, arg3, 0, 0, 0); errno != 0 {
		return errno
	}
	return nil
}

// emptyBoundingSet removes all capabilities from the bounding set, so that no program that
// is executed from here on has any, not even one with a setuid bit or file capabilities. It
// needs CAP_SETPCAP unless the set is empty already.
func emptyBoundingSet(call prctl) error {
	for capability := 0; ; capability++ {
		has, err := unix.PrctlRetInt(unix.PR_CAPBSET_READ, uintptr(capability), 0, 0, 0)
		if errors.Is(err, unix.EINVAL) {
			return nil // the last that this kernel knows was before
		}
		if err != nil {
			return fmt.Errorf("read the bounding set of capabilities: %w", err)
		}
		if has == 0 {
			continue
		}
		if err := call(unix.PR_CAPBSET_DROP, uintptr(capability), 0); err != nil {
			return fmt.Errorf("empty the bounding set of capabilities, which needs CAP_SETPCAP: %w", err)
		}
	}
}

// noNewPrivs forbids that an executed program has more rights than who executes it.
func noNewPrivs(call prctl) error {
	if err := call(unix.PR_SET_NO_NEW_PRIVS, 1, 0); err != nil {
		return fmt.Errorf("set no_new_privs: %w", err)
	}
	return nil
}

// capData is the argument of capset(2): permitted and effective are c, and nothing is
// inheritable, which empties the ambient set, too.
func capData(c kernel.Caps) [2]unix.CapUserData {
	low, high := uint32(c), uint32(c>>32)
	return [2]unix.CapUserData{{Permitted: low, Effective: low}, {Permitted: high, Effective: high}}
}

// shed takes from this thread what an executed program could inherit: capabilities that are
// inheritable or ambient, the bounding set, and the right to gain any.
func shed() error {
	if err := emptyBoundingSet(prctlThread); err != nil {
		return err
	}
	own, err := kernel.Capabilities()
	if err != nil {
		return err
	}
	data := capData(own)
	if err := unix.Capset(&unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}, &data[0]); err != nil {
		return fmt.Errorf("empty the inheritable set of capabilities: %w", err)
	}
	return noNewPrivs(prctlThread)
}
