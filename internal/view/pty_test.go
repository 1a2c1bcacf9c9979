package view

import (
	"context"
	"testing"
	"time"

	"github.com/twtrace/twtrace/internal/kerneltest/terminal"
)

// pty is a terminal that Loop runs on.
type pty struct {
	*terminal.PTY
	t *testing.T
}

func openPTY(t *testing.T) *pty {
	t.Helper()
	return &pty{terminal.Open(t), t}
}

// run starts Loop on the terminal, and returns how to wait for it.
func (p *pty) run(ctx context.Context, src Source) (wait func() error) {
	return p.start(ctx, src, LoopOptions{Interval: time.Second})
}

// start is run with options.
func (p *pty) start(ctx context.Context, src Source, o LoopOptions) (wait func() error) {
	o.In, o.Out = p.Slave, p.Slave
	done := make(chan error, 1)
	go func() { done <- Loop(ctx, src, o) }()
	return func() error {
		p.t.Helper()
		select {
		case err := <-done:
			return err
		case <-time.After(20 * time.Second):
			p.t.Fatal("the loop does not end")
		}
		return nil
	}
}
