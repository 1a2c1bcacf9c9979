// Package terminal is a terminal whose other side a test holds: what a program draws
// is on an emulated screen, and keys go to the program.
package terminal

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/charmbracelet/x/vt"
	"golang.org/x/sys/unix"
)

// PTY is such a terminal, of 80 by 24 cells at first.
type PTY struct {
	Master *os.File // what the test holds
	Slave  *os.File // the program's side

	t      testing.TB
	before unix.Termios

	mu     sync.Mutex
	screen *vt.Emulator
	raw    []byte        // the last of what came
	more   chan struct{} // something came
}

// rawKept is how much of what came is kept for a failing test to show.
const rawKept = 4096

// Open makes one, for as long as the test runs.
func Open(t testing.TB) *PTY {
	t.Helper()
	master, slave, err := OpenPTY(80, 24)
	if err != nil {
		t.Fatal(err)
	}
	p := &PTY{t: t, Master: master, Slave: slave, screen: vt.NewEmulator(80, 24), more: make(chan struct{}, 1)}
	p.before = p.termios()
	go io.Copy(io.Discard, p.screen) // what it answers when it is asked for its modes
	go p.show()
	t.Cleanup(func() { slave.Close(); master.Close(); p.screen.InputPipe().(io.Closer).Close() })
	return p
}

// show draws on the screen what the program writes.
func (p *PTY) show() {
	buf := make([]byte, 65536)
	for {
		n, err := p.Master.Read(buf)
		if err != nil {
			return // EIO once the slave is closed
		}
		p.mu.Lock()
		p.screen.Write(buf[:n])
		p.raw = append(p.raw, buf[:n]...)
		p.raw = p.raw[max(len(p.raw)-rawKept, 0):]
		p.mu.Unlock()
		select {
		case p.more <- struct{}{}:
		default:
		}
	}
}

func (p *PTY) termios() unix.Termios {
	p.t.Helper()
	v, err := unix.IoctlGetTermios(int(p.Slave.Fd()), unix.TCGETS)
	if err != nil {
		p.t.Fatal(err)
	}
	return *v
}

// Resize makes the terminal larger or smaller; the kernel signals the program if it is its own.
func (p *PTY) Resize(width, height int) {
	p.t.Helper()
	p.mu.Lock()
	p.screen.Resize(width, height)
	p.mu.Unlock()
	if err := ResizePTY(p.Slave, width, height); err != nil {
		p.t.Fatal(err)
	}
}

// Press sends keys, as the terminal encodes them.
func (p *PTY) Press(keys string) {
	p.t.Helper()
	if _, err := p.Master.WriteString(keys); err != nil {
		p.t.Fatal(err)
	}
}

// Text is what the screen shows.
func (p *PTY) Text() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.screen.String()
}

// Full reports whether the program has its own screen, with the scrollback kept as
// it was.
func (p *PTY) Full() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.screen.IsAltScreen()
}

// Await waits until want is on the screen.
func (p *PTY) Await(want string) {
	p.t.Helper()
	p.Until(fmt.Sprintf("%q is on the screen", want), func() bool { return strings.Contains(p.Text(), want) })
}

// Until waits for a condition of the screen.
func (p *PTY) Until(what string, ok func() bool) {
	p.t.Helper()
	deadline := time.After(time.Minute)
	for !ok() {
		select {
		case <-p.more:
		case <-deadline:
			p.mu.Lock()
			defer p.mu.Unlock()
			p.t.Fatalf("not so: %s; the screen is\n%s\nafter %q", what, p.screen.String(), p.raw)
		}
	}
}

// Restored fails unless the terminal is as it was, on its normal screen with the
// cursor shown and no mode left.
func (p *PTY) Restored() {
	p.t.Helper()
	if after := p.termios(); after != p.before {
		p.t.Errorf("the terminal is %+v, was %+v", after, p.before)
	}
	p.Until("the normal screen", func() bool { return !p.Full() })
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.screen.CursorHidden() {
		p.t.Error("the cursor is hidden")
	}
}
