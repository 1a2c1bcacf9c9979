package main

import (
	"bytes"
	"fmt"
	"io"
	"os/exec"

	"github.com/twtrace/twtrace/internal/event"
	"github.com/twtrace/twtrace/internal/output"
)

// runnerQueue bounds the records that wait for the command: storms have few, and a
// message says for which of them a slow command was not run.
const runnerQueue = 64

// runner runs a command for records, one after the other, beside the trace. What the
// command prints goes to stderr: stdout is data.
type runner struct {
	command string
	stderr  io.Writer
	queue   chan []byte
	done    chan struct{}
}

func startRunner(command string, stderr io.Writer) *runner {
	r := &runner{command: command, stderr: stderr, queue: make(chan []byte, runnerQueue), done: make(chan struct{})}
	go func() {
		defer close(r.done)
		for line := range r.queue {
			cmd := exec.Command("/bin/sh", "-c", r.command)
			cmd.Stdin = bytes.NewReader(line)
			cmd.Stdout, cmd.Stderr = r.stderr, r.stderr
			if err := cmd.Run(); err != nil {
				fmt.Fprintf(r.stderr, "twtrace: --exec: %v\n", err)
			}
		}
	}()
	return r
}

// run has the command run for e.
func (r *runner) run(e *event.Event) {
	select {
	case r.queue <- append(output.AppendJSON(nil, e), '\n'):
	default:
		fmt.Fprintf(r.stderr, "twtrace: --exec: the command is too slow: it was not run for %s\n", e.Kind)
	}
}

// stop waits for the commands that are due.
func (r *runner) stop() {
	close(r.queue)
	<-r.done
}
