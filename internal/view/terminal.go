package view

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"sync"

	"golang.org/x/sys/unix"
	"golang.org/x/term"
)

// What the terminal is told, in the words of XTerm Control Sequences: the
// alternate screen keeps the scrollback as it is, and a synchronized update
// (mode 2026, ignored where unknown) does not flicker.
const (
	enterScreen = "\x1b[?1049h\x1b[?25l\x1b[?7l\x1b[2J"
	leaveScreen = "\x1b[m\x1b[?7h\x1b[?25h\x1b[?1049l"
	beginUpdate = "\x1b[?2026h\x1b[H"
	endUpdate   = "\x1b[J\x1b[?2026l"
	clearLine   = "\x1b[K"
)

// terminal is a terminal in raw mode, on its alternate screen.
type terminal struct {
	in, out *os.File
	before  *term.State
	buf     bytes.Buffer
	restore func() error // once, however often it is called
}

// openTerminal switches to raw mode and the alternate screen. The caller must
// call restore, whatever happens.
func openTerminal(in, out *os.File) (*terminal, error) {
	before, err := term.MakeRaw(int(in.Fd()))
	if err != nil {
		return nil, fmt.Errorf("set terminal to raw mode: %w", err)
	}
	t := &terminal{in: in, out: out, before: before}
	t.restore = sync.OnceValue(func() error {
		_, err := t.out.WriteString(leaveScreen)
		return errors.Join(err, term.Restore(int(t.in.Fd()), t.before))
	})
	if _, err := out.WriteString(enterScreen); err != nil {
		return nil, errors.Join(fmt.Errorf("enter alternate screen: %w", err), t.restore())
	}
	return t, nil
}

// size is how many cells the screen has; a terminal that does not know, as a
// serial line, is taken for the smallest common one.
func (t *terminal) size() (width, height int) {
	width, height, err := term.GetSize(int(t.out.Fd()))
	if err != nil || width <= 0 || height <= 0 {
		return 80, 24
	}
	return width, height
}

// draw replaces what is on the screen in one write.
func (t *terminal) draw(lines []string) error {
	t.buf.Reset()
	t.buf.WriteString(beginUpdate)
	for i, l := range lines {
		if i > 0 {
			t.buf.WriteString("\r\n")
		}
		// Before the text: behind a full line the cursor still stands on its last cell.
		t.buf.WriteString(clearLine)
		t.buf.WriteString(l)
	}
	t.buf.WriteString(endUpdate)
	if _, err := t.out.Write(t.buf.Bytes()); err != nil {
		return fmt.Errorf("draw frame: %w", err)
	}
	return nil
}

// keyReader reads keys in a goroutine of its own, until closed.
type keyReader struct {
	keys chan key
	stop *os.File // closing it ends the reader
	done chan struct{}
}

// readKeys starts reading from a terminal. The channel closes when the terminal
// is gone. A read cannot be interrupted, so the reader waits for the terminal and
// for the end of a pipe at the same time.
func readKeys(in *os.File) (*keyReader, error) {
	wake, stop, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("watch keyboard: %w", err)
	}
	r := &keyReader{keys: make(chan key, 16), stop: stop, done: make(chan struct{})}
	go func() {
		defer close(r.done)
		defer close(r.keys)
		defer wake.Close()
		r.loop(in, wake)
	}()
	return r, nil
}

func (r *keyReader) loop(in, wake *os.File) {
	fds := []unix.PollFd{
		{Fd: int32(in.Fd()), Events: unix.POLLIN},
		{Fd: int32(wake.Fd()), Events: unix.POLLIN},
	}
	var parser keyParser
	var buf [256]byte
	for {
		if _, err := unix.Poll(fds, -1); err != nil {
			if errors.Is(err, unix.EINTR) {
				continue
			}
			return
		}
		if fds[1].Revents != 0 {
			return
		}
		n, err := unix.Read(int(fds[0].Fd), buf[:])
		if errors.Is(err, unix.EINTR) || errors.Is(err, unix.EAGAIN) {
			continue
		}
		if err != nil || n == 0 {
			return
		}
		for _, k := range parser.parse(buf[:n]) {
			select {
			case r.keys <- k:
			default: // nobody can press keys that fast; a paste may
			}
		}
	}
}

// close ends the reader and waits for it.
func (r *keyReader) close() {
	r.stop.Close()
	<-r.done
}
