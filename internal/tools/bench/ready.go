package main

import (
	"context"
	"errors"
	"net"
	"time"

	"github.com/twtrace/twtrace/internal/kernel"
	"github.com/twtrace/twtrace/internal/netns"
)

// ready waits until the tool has attached its programs: until its first line, or
// until a connection attempt has run one of them.
func (p *process) ready(ctx context.Context, t tool, ns *netns.NS) error {
	if t.started {
		select {
		case <-p.output.first:
		case <-p.done:
		case <-ctx.Done():
			return ctx.Err()
		}
		if p.output.firstTime.IsZero() {
			return errors.New("it ended before it was ready")
		}
		return nil
	}
	stats, err := kernel.EnableBPFStats()
	if err != nil {
		return err
	}
	defer stats.Close()
	for timeout := time.After(20 * time.Second); ; {
		ran, err := p.knock(ns)
		if ran {
			time.Sleep(t.settles)
		}
		if err != nil || ran {
			return err
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-p.done:
			return errors.New("it ended before it was ready")
		case <-timeout:
			return errors.New("none of its BPF programs ran within 20 s")
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// knock makes a connection attempt, which is refused, and reports whether a
// program of the tool has run.
func (p *process) knock(ns *netns.NS) (bool, error) {
	err := ns.Do(func() error {
		c, err := net.DialTimeout("tcp4", "127.0.0.1:1", time.Second)
		if err == nil {
			c.Close()
		}
		return nil // refused or not, it was an attempt
	})
	if err != nil {
		return false, err
	}
	own, err := p.programs()
	if err != nil {
		return false, err
	}
	all, err := kernel.BPFPrograms()
	if err != nil {
		return false, err
	}
	for _, prog := range all {
		if own[prog.ID] && prog.Runs > 0 {
			return true, nil
		}
	}
	return false, nil
}
