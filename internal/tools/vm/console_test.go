package main

import (
	"bytes"
	"io"
	"strings"
	"testing"
)

func TestConsole(t *testing.T) {
	const in = "boot\r\nTWTRACE-VM-READY\r\nhello\r\n\r\nno end of lineTWTRACE-VM-EXIT 42\r\n[ 1.0] reboot: Power down\r\n"
	const want = "boot\nTWTRACE-VM-READY\nhello\n\nno end of lineTWTRACE-VM-EXIT 42\n[ 1.0] reboot: Power down\n"
	for _, size := range []int{1, 2, 7, len(in)} {
		var out bytes.Buffer
		ready := 0
		c := &console{w: &out, ready: func() { ready++ }}
		if err := c.copy(&chunks{strings.NewReader(in), size}); err != nil {
			t.Fatal(err)
		}
		if out.String() != want {
			t.Errorf("chunks of %d: got %q, want %q", size, out.String(), want)
		}
		if !c.exited || c.code != 42 || ready != 1 || c.panicked != "" || c.last != "[ 1.0] reboot: Power down" {
			t.Errorf("chunks of %d: got %+v, ready %d times", size, c, ready)
		}
	}
}

func TestConsolePanic(t *testing.T) {
	c := &console{w: io.Discard}
	in := "[    1.5] Kernel panic - not syncing: Fatal exception\r\n[    1.6] Kernel panic - not syncing: again"
	if err := c.copy(strings.NewReader(in)); err != nil {
		t.Fatal(err)
	}
	if c.exited || c.panicked != "Fatal exception" || !strings.HasSuffix(c.last, "again") {
		t.Errorf("got %+v", c)
	}
}

// chunks reads at most size bytes at a time.
type chunks struct {
	r    io.Reader
	size int
}

func (c *chunks) Read(p []byte) (int, error) { return c.r.Read(p[:min(c.size, len(p))]) }
