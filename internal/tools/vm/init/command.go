package main

import (
	"fmt"
	"os"
	"os/exec"
	"slices"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/twtrace/twtrace/internal/tools/vm/plan"
)

// environment is what every command gets, before what the plan adds.
var environment = []string{
	"HOME=/root",
	"LANG=C.UTF-8",
	"PATH=" + searchPath,
	"TERM=dumb",
	"TMPDIR=/tmp",
	"USER=root",
}

const searchPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// Exit codes as shells give them.
const (
	exitNotFound = 127
	exitSignal   = 128 // and the signal's number
)

// runCommand runs a command with the console for its output, and reports on
// the console how it ended. Whatever it left running is killed.
func runCommand(c plan.Command, env []string) (code int, err error) {
	if err := os.Setenv("PATH", searchPath); err != nil {
		return 0, err
	}
	file, err := exec.LookPath(c.Path)
	if err != nil {
		fmt.Println("init:", err)
		return exitNotFound, nil
	}
	if err := os.MkdirAll(c.Dir, 0o755); err != nil {
		return 0, err
	}
	null, err := os.Open(os.DevNull)
	if err != nil {
		return 0, err
	}
	defer null.Close()

	fmt.Printf("\n%s%s\n", plan.RunMark, c.Path)
	begin := time.Now()
	pid, err := syscall.ForkExec(file, append([]string{c.Path}, c.Args...), &syscall.ProcAttr{
		Dir:   c.Dir,
		Env:   slices.Concat(environment, env, c.Env),
		Files: []uintptr{null.Fd(), os.Stdout.Fd(), os.Stderr.Fd()},
		Sys:   &syscall.SysProcAttr{Setsid: true},
	})
	if err != nil {
		fmt.Printf("init: run %s: %v\n", file, err)
		return exitNotFound, nil
	}
	code, err = reap(pid)
	if err != nil {
		return 0, err
	}
	fmt.Printf("\n%s%d\ninit: %s: exit %d after %.1f s\n", plan.EndMark, code, c.Path, code, time.Since(begin).Seconds())
	return code, nil
}

// reap waits for a child, and for the orphans that process 1 inherits
// meanwhile. Once the child is gone it kills what is left, so that the next
// command finds the guest empty.
func reap(child int) (code int, err error) {
	for {
		var status unix.WaitStatus
		pid, err := unix.Wait4(-1, &status, 0, nil)
		switch {
		case err == unix.EINTR:
		case err == unix.ECHILD:
			return code, nil
		case err != nil:
			return 0, fmt.Errorf("wait for process %d: %w", child, err)
		case pid == child:
			code = exitStatus(status)
			if err := unix.Kill(-1, unix.SIGKILL); err != nil && err != unix.ESRCH {
				return 0, fmt.Errorf("kill what process %d left: %w", child, err)
			}
		}
	}
}

func exitStatus(s unix.WaitStatus) int {
	if s.Signaled() {
		return exitSignal + int(s.Signal())
	}
	return s.ExitStatus()
}
