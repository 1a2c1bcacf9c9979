package session

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

	"golang.org/x/sys/unix"

	"github.com/twtrace/twtrace/internal/event"
)

// ExitError carries an exit code of the program other than 1. An empty Msg prints
// nothing.
type ExitError struct {
	Code int
	Msg  string
}

func (e *ExitError) Error() string { return e.Msg }

// Exit codes of `-- CMD` as shells have them.
const (
	ExitNoExec   = 126 // CMD cannot be executed
	ExitNotFound = 127 // there is no such CMD
	ExitKilled   = 128 // plus the signal that killed CMD
)

// lingering is how long a trace goes on after its command, at most, for the
// connections that it has just closed; killTime is how long it waits for a command
// that it ends itself.
const (
	lingering = time.Second
	killTime  = 2 * time.Second
)

// maxOpen bounds the open connections of a job that are known.
const maxOpen = 1 << 15

// Job is a command that is run to be traced, with all that it starts. It runs as who
// runs twtrace, as under strace or perf, with its stdin.
type Job struct {
	cmd   *exec.Cmd
	done  chan struct{} // it has ended
	since atomic.Int64  // when, ns since the epoch

	open map[uint64]struct{} // its connections that have not ended, by cookie
}

// NewJob prepares a command, so that it is known whether there is one.
func NewJob(args []string, stdout, stderr io.Writer) (*Job, error) {
	path, err := exec.LookPath(args[0])
	if err != nil {
		code := ExitNoExec // a directory, for example
		if errors.Is(err, exec.ErrNotFound) || errors.Is(err, fs.ErrNotExist) {
			code = ExitNotFound
		}
		return nil, &ExitError{code, fmt.Sprintf("run %s: %v", args[0], err)}
	}
	j := &Job{cmd: exec.Command(path, args[1:]...), done: make(chan struct{}), open: make(map[uint64]struct{})}
	j.cmd.Args[0] = args[0]
	j.cmd.Stdin, j.cmd.Stdout, j.cmd.Stderr = os.Stdin, stdout, stderr
	return j, nil
}

// Start starts the command, once the hooks are attached.
func (j *Job) Start() error {
	if err := j.cmd.Start(); err != nil {
		return &ExitError{ExitNoExec, fmt.Sprintf("run %s: %v", j.cmd.Args[0], err)}
	}
	go func() {
		_ = j.cmd.Wait() // ProcessState tells
		j.since.Store(time.Now().UnixNano())
		close(j.done)
	}()
	return nil
}

// witness notes which connections of the command are open.
func (j *Job) witness(e *event.Event) {
	switch e.Kind {
	case event.Open:
		if len(j.open) < maxOpen {
			j.open[e.Cookie] = struct{}{}
		}
	case event.TimeWaitEnter, event.TimeWaitRefused, event.Close:
		delete(j.open, e.Cookie)
	}
}

// over reports whether the command has ended, and what it closed with it has come to
// an end or had its time.
func (j *Job) over() bool {
	since := j.since.Load()
	return since != 0 && (len(j.open) == 0 || time.Since(time.Unix(0, since)) > lingering)
}

// End ends a command that goes on when the trace has ended, and says how it ended if
// it did so before.
func (j *Job) End() error {
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
func (j *Job) verdict() error {
	status, ok := j.cmd.ProcessState.Sys().(syscall.WaitStatus)
	switch {
	case ok && status.Signaled():
		return &ExitError{ExitKilled + int(status.Signal()), ""}
	case j.cmd.ProcessState.ExitCode() > 0:
		return &ExitError{j.cmd.ProcessState.ExitCode(), ""}
	}
	return nil
}
