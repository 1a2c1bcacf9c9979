package sandbox

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// ErrForbidden is in the error of a speaker that made a system call which no code of it
// makes: somebody else's code ran in it.
var ErrForbidden = errors.New("killed by its seccomp filter for a system call that it never makes: it may have been taken over")

// Done is closed when the speaker has ended, at once and however it ended.
func (t *Twin) Done() <-chan struct{} { return t.done }

// Err waits for the end of the speaker and says how it ended: nil if with exit code 0. It
// may be ErrForbidden.
func (t *Twin) Err() error {
	<-t.done
	return t.err
}

// Stop asks the speaker to end, whose context is then over with ErrStopped, and kills it
// when ctx is. It returns as Err does.
func (t *Twin) Stop(ctx context.Context) error {
	t.stop.Do(func() {
		_ = t.send(stopWord) // it may have ended
	})
	select {
	case <-t.done:
	case <-ctx.Done():
		t.Kill()
	}
	return t.Err()
}

// Order passes an order on to Speaker.Orders, as JSON. It is no string: those are words of
// this package.
func (t *Twin) Order(order any) error {
	if err := t.send(order); err != nil {
		return fmt.Errorf("pass an order to the speaker: %w", err)
	}
	return nil
}

// send sends a word or an order, whole.
func (t *Twin) send(v any) error {
	t.sending.Lock()
	defer t.sending.Unlock()
	return json.NewEncoder(t.lifeline).Encode(v)
}

// Kill ends the speaker at once. It needs CAP_KILL; without it the end of the socket pair
// ends the speaker, unless that is stopped or is not itself any more.
func (t *Twin) Kill() {
	if err := t.process.Kill(); err != nil {
		t.lifeline.Close()
	}
}

// ending is the end of a process in words.
func ending(state *os.ProcessState, err error) error {
	if err != nil {
		return fmt.Errorf("wait for the speaker: %w", err)
	}
	status, ok := state.Sys().(syscall.WaitStatus)
	switch {
	case state.Success():
		return nil
	case ok && status.Signaled() && status.Signal() == unix.SIGSYS:
		return fmt.Errorf("the speaker was %w", ErrForbidden)
	}
	return fmt.Errorf("the speaker ended: %v", state)
}
