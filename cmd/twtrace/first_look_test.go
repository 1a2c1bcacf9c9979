package main

import (
	"strings"
	"testing"

	"github.com/twtrace/twtrace/internal/kerneltest/terminal"
)

// TestFirstLook: a long look at the sockets is counted on the terminal, and leaves
// nothing there.
func TestFirstLook(t *testing.T) {
	t.Parallel()
	tty := terminal.Open(t)
	p, stop := showFirstLook(tty.Slave)
	p.begin(300)
	p.step()
	tty.Await("network namespace 2 of 300")
	stop()
	tty.Until("the line is empty", func() bool { return !strings.Contains(tty.Text(), "namespace") })
	if p, _ := showFirstLook(&strings.Builder{}); p != nil {
		t.Error("progress on no terminal")
	}
}
