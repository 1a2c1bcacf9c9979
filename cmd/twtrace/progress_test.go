package main

import (
	"strings"
	"testing"
	"time"

	"github.com/twtrace/twtrace/internal/kerneltest/terminal"
)

// TestShowDumps: a long dump of sockets is counted on the terminal, and leaves nothing
// there; a short one is not.
func TestShowDumps(t *testing.T) {
	t.Parallel()
	tty := terminal.Open(t)
	show := showDumps(tty.Slave)
	show(0, 300)
	time.Sleep(progressAfter + time.Millisecond) // of the clock that decides
	show(1, 300)
	tty.Await("network namespace 2 of 300")
	show(300, 300)
	tty.Until("the line is empty", func() bool { return !strings.Contains(tty.Text(), "namespace") })
	if showDumps(&strings.Builder{}) != nil {
		t.Error("progress on no terminal")
	}
}
