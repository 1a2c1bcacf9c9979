package view

import (
	"context"
	"fmt"
	"runtime/debug"
)

// fed is what the source's goroutine hands over.
type fed struct {
	state *State
	err   error
	panic *crash
}

// crash is a panic with the stack it had, to go on where the terminal is restored.
type crash struct {
	what  any
	stack []byte
}

// caught makes a crash of what recover returned, nil of nil.
func caught(what any) *crash {
	if what == nil {
		return nil
	}
	return &crash{what, debug.Stack()}
}

// rethrow panics again.
func (c *crash) rethrow() {
	if c != nil {
		panic(fmt.Sprintf("%v\n\n%s", c.what, c.stack))
	}
}

// feedDepth is how many states wait for a terminal that takes no output. The
// trace is read on: what is left out then is on no screen, and in the counts of
// the next state.
const feedDepth = 16

// feed calls src in a goroutine, which ends when ctx is done or src has no more.
// A panic of src comes through the channel: elsewhere it would end the program at
// once, with the terminal as it is.
func feed(ctx context.Context, src Source) <-chan fed {
	out := make(chan fed, feedDepth)
	go func() {
		defer close(out)
		defer func() {
			if c := caught(recover()); c != nil {
				put(out, fed{panic: c})
			}
		}()
		for {
			s, err := src.Next(ctx)
			put(out, fed{state: s, err: err})
			if err != nil {
				return
			}
		}
	}()
	return out
}

// put never waits: it makes room by taking the oldest away. Only one goroutine
// may put.
func put(out chan fed, f fed) {
	for {
		select {
		case out <- f:
			return
		default:
		}
		select {
		case <-out:
		default:
		}
	}
}
