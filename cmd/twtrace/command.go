package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/urfave/cli/v2"
	"golang.org/x/sys/unix"

	"github.com/twtrace/twtrace/internal/event"
	"github.com/twtrace/twtrace/internal/tracer"
)

// Exit codes of `-- CMD` as shells have them.
const (
	exitNoExec   = 126 // CMD cannot be executed
	exitNotFound = 127 // there is no such CMD
	exitKilled   = 128 // plus the signal that killed CMD
)

// lingering is how long a trace goes on after its command, at most, for the
// connections that it has just closed; ending is how long it waits for a command
// that it ends itself.
const (
	lingering = time.Second
	killTime  = 2 * time.Second
)

// job is a command that is run to be traced, with all that it starts. It runs as who
// runs twtrace, as under strace or perf, with its stdin.
type job struct {
	cmd   *exec.Cmd
	done  chan struct{} // it has ended
	since atomic.Int64  // when, ns since the epoch

	open map[uint64]struct{} // its connections that have not ended, by cookie
}

// jobArgs returns what stands behind "--" on the command line, nil if nothing does.
func jobArgs(c *cli.Context) ([]string, error) {
	args := c.Args().Slice()
	if len(args) == 0 {
		return nil, nil
	}
	// The library does not tell whether there was a "--".
	all, _ := c.App.Metadata[metaArgs].([]string)
	if i := len(all) - len(args) - 1; i < 0 || all[i] != "--" {
		return nil, usagef("unexpected argument %q: %s takes flags, and behind -- a command to run", args[0], c.Command.Name)
	}
	return args, nil
}

// metaArgs is where the app keeps its command line.
const metaArgs = "args"

// parseJob returns the command behind "--", not yet started, nil if there is none.
// Its stdout is stdout, its stderr that of twtrace.
func parseJob(c *cli.Context, stdout io.Writer) (*job, error) {
	args, err := jobArgs(c)
	if err != nil || args == nil {
		return nil, err
	}
	return newJob(args, stdout, c.App.ErrWriter)
}

// newJob prepares a command, so that it is known whether there is one.
func newJob(args []string, stdout, stderr io.Writer) (*job, error) {
	path, err := exec.LookPath(args[0])
	if errors.Is(err, fs.ErrPermission) {
		return nil, exitError{exitNoExec, fmt.Sprintf("run %s: %v", args[0], err)}
	}
	if err != nil {
		return nil, exitError{exitNotFound, fmt.Sprintf("run %s: %v", args[0], err)}
	}
	j := &job{cmd: exec.Command(path, args[1:]...), done: make(chan struct{}), open: make(map[uint64]struct{})}
	j.cmd.Args[0] = args[0]
	j.cmd.Stdin, j.cmd.Stdout, j.cmd.Stderr = os.Stdin, stdout, stderr
	return j, nil
}

// jobRoot has the tracer follow what this process starts from now on.
func jobRoot() tracer.Root { return tracer.Root{PID: uint32(os.Getpid()), Children: true} }

// start starts the command, once the hooks are attached.
func (j *job) start() error {
	if err := j.cmd.Start(); err != nil {
		return exitError{exitNoExec, fmt.Sprintf("run %s: %v", j.cmd.Args[0], err)}
	}
	go func() {
		_ = j.cmd.Wait() // ProcessState tells
		j.since.Store(time.Now().UnixNano())
		close(j.done)
	}()
	return nil
}

// witness notes which connections of the command are open.
func (j *job) witness(e *event.Event) {
	switch e.Kind {
	case event.Open:
		if len(j.open) < maxEarly {
			j.open[e.Cookie] = struct{}{}
		}
	case event.TimeWaitEnter, event.TimeWaitRefused, event.Close:
		delete(j.open, e.Cookie)
	}
}

// over reports whether the command has ended, and what it closed with it has come to
// an end or had its time.
func (j *job) over() bool {
	since := j.since.Load()
	return since != 0 && (len(j.open) == 0 || time.Since(time.Unix(0, since)) > lingering)
}

// end ends a command that goes on when the trace has ended, and says how it ended if
// it did so before.
func (j *job) end() error {
	if j.cmd.Process == nil {
		return nil
	}
	select {
	case <-j.done:
		return j.verdict()
	default:
	}
	_ = j.cmd.Process.Signal(unix.SIGTERM) // it may have ended by now
	select {
	case <-j.done:
	case <-time.After(killTime):
	}
	return nil
}

// verdict is the exit code of the command as that of twtrace.
func (j *job) verdict() error {
	status, ok := j.cmd.ProcessState.Sys().(syscall.WaitStatus)
	switch {
	case ok && status.Signaled():
		return exitError{exitKilled + int(status.Signal()), ""}
	case j.cmd.ProcessState.ExitCode() > 0:
		return exitError{j.cmd.ProcessState.ExitCode(), ""}
	}
	return nil
}
