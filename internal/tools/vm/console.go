package main

import (
	"bytes"
	"errors"
	"io"
	"os"
	"strings"

	"github.com/twtrace/twtrace/internal/tools/vm/plan"
)

// console passes the guest's serial console on to w, its line ends made those
// of this machine, and picks out what the harness wants to know.
type console struct {
	w     io.Writer
	ready func() // called once the guest is up

	exited   bool
	code     int
	panicked string // what the kernel said, if it panicked
	last     string // last line that was not empty

	line []byte
}

// copy reads the console to its end.
func (c *console) copy(r io.Reader) error {
	_, err := io.Copy(c, r)
	c.flush()
	if errors.Is(err, os.ErrClosed) {
		return nil
	}
	return err
}

// Write takes bytes as they come from the serial line.
func (c *console) Write(p []byte) (int, error) {
	clean := bytes.ReplaceAll(p, []byte{'\r'}, nil)
	if _, err := c.w.Write(clean); err != nil {
		return 0, err
	}
	c.line = append(c.line, clean...)
	for {
		line, rest, ok := bytes.Cut(c.line, []byte{'\n'})
		if !ok {
			return len(p), nil
		}
		c.take(string(line))
		c.line = append(c.line[:0], rest...)
	}
}

// flush takes the last line if its end is missing.
func (c *console) flush() {
	c.take(string(c.line))
	c.line = nil
}

func (c *console) take(line string) {
	if strings.TrimSpace(line) != "" {
		c.last = line
	}
	if strings.Contains(line, plan.ReadyMark) && c.ready != nil {
		c.ready()
		c.ready = nil
	}
	if code, ok := plan.ExitCode(line); ok {
		c.exited, c.code = true, code
	}
	if _, msg, ok := strings.Cut(line, "Kernel panic - not syncing: "); ok && c.panicked == "" {
		c.panicked = msg
	}
}
