package view

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"sync/atomic"
	"syscall"
	"time"

	tea "charm.land/bubbletea/v2"
	"golang.org/x/sys/unix"
)

// jobControl lets the program end and stop as the shell's jobs do, with the
// terminal in order meanwhile.
type jobControl struct {
	signals chan os.Signal
	resumed chan os.Signal
	ending  atomic.Bool // a signal to end has come
}

func newJobControl() *jobControl {
	j := &jobControl{signals: make(chan os.Signal, 4), resumed: make(chan os.Signal, 1)}
	signal.Notify(j.signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGTSTP)
	return j
}

// watch sends the program what signals mean, until ctx is done. A second signal to
// end does so at once: the first gives them back to the system.
func (j *jobControl) watch(ctx context.Context, p *tea.Program) {
	defer signal.Stop(j.signals)
	for {
		select {
		case <-ctx.Done():
			return
		case s := <-j.signals:
			if s == syscall.SIGTSTP {
				p.Send(suspendMsg{})
				continue
			}
			signal.Stop(j.signals)
			j.ending.Store(true)
			p.Send(quitMsg{hangup: s == syscall.SIGHUP})
		}
	}
}

// suspendMsg asks for a stop until the shell continues the program.
type suspendMsg struct{}

// resumedMsg says that it did.
type resumedMsg struct{ err error }

// suspend gives the terminal back, stops, and takes the terminal again.
func (j *jobControl) suspend() tea.Cmd {
	return tea.Exec(stopSelf{j}, func(err error) tea.Msg { return resumedMsg{err} })
}

// stopSelf is Exec's idea of a command: to stop this process.
type stopSelf struct{ *jobControl }

// stopWait bounds the wait for the stop to come about.
const stopWait = 200 * time.Millisecond

// Run stops the whole process group, as the terminal does on Ctrl-Z. It uses
// SIGSTOP since the Go runtime, once asked for SIGTSTP, never gives it back to the
// system. That signal also stops a group that no shell would continue: such a group
// keeps running, as it would after SIGTSTP.
func (s stopSelf) Run() error {
	if !continuable() {
		return nil
	}
	signal.Notify(s.resumed, syscall.SIGCONT)
	defer signal.Stop(s.resumed)
	if err := syscall.Kill(0, syscall.SIGSTOP); err != nil {
		return fmt.Errorf("stop: %w", err)
	}
	timer := time.NewTimer(stopWait)
	defer timer.Stop()
	select {
	case <-s.resumed:
	case <-timer.C:
	}
	return nil
}

// continuable reports whether a shell watches this process group: the parent is in
// the same session, in another group.
func continuable() bool {
	parent := os.Getppid()
	session, err := unix.Getsid(0)
	theirs, err2 := unix.Getsid(parent)
	group, err3 := unix.Getpgid(parent)
	if errors.Join(err, err2, err3) != nil {
		return false
	}
	return session == theirs && group != unix.Getpgrp()
}

// SetStdin is for commands that use the terminal.
func (stopSelf) SetStdin(io.Reader) {}

// SetStdout is for commands that use the terminal.
func (stopSelf) SetStdout(io.Writer) {}

// SetStderr is for commands that use the terminal.
func (stopSelf) SetStderr(io.Writer) {}
