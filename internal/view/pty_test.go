package view

import (
	"context"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/charmbracelet/x/vt"
	"golang.org/x/sys/unix"
)

// pty is a terminal whose other side the test holds.
type pty struct {
	t      *testing.T
	master *os.File
	slave  *os.File
	before unix.Termios

	mu     sync.Mutex
	screen *vt.Emulator
	raw    []byte        // the last of what came
	more   chan struct{} // something came
}

// rawKept is how much of what came is kept for a failing test to show.
const rawKept = 4096

func openPTY(t *testing.T) *pty {
	t.Helper()
	// Not blocking, so that closing it ends a read.
	fd, err := unix.Open("/dev/ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	master := os.NewFile(uintptr(fd), "ptmx")
	slave, err := os.OpenFile("/dev/pts/"+strconv.Itoa(n), os.O_RDWR|syscall.O_NOCTTY|syscall.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	p := &pty{t: t, master: master, slave: slave, screen: vt.NewEmulator(80, 24), more: make(chan struct{}, 1)}
	p.resize(80, 24)
	p.before = p.termios()
	go io.Copy(io.Discard, p.screen) // what it answers when it is asked for its modes
	go p.show()
	t.Cleanup(func() { slave.Close(); master.Close(); p.screen.InputPipe().(io.Closer).Close() })
	return p
}

// show draws on the screen what the program writes.
func (p *pty) show() {
	buf := make([]byte, 65536)
	for {
		n, err := p.master.Read(buf)
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

func (p *pty) termios() unix.Termios {
	p.t.Helper()
	v, err := unix.IoctlGetTermios(int(p.slave.Fd()), unix.TCGETS)
	if err != nil {
		p.t.Fatal(err)
	}
	return *v
}

func (p *pty) resize(width, height int) {
	p.t.Helper()
	p.mu.Lock()
	p.screen.Resize(width, height)
	p.mu.Unlock()
	size := unix.Winsize{Col: uint16(width), Row: uint16(height)}
	if err := unix.IoctlSetWinsize(int(p.slave.Fd()), unix.TIOCSWINSZ, &size); err != nil {
		p.t.Fatal(err)
	}
}

func (p *pty) press(keys string) {
	p.t.Helper()
	if _, err := p.master.WriteString(keys); err != nil {
		p.t.Fatal(err)
	}
}

// text is what the screen shows.
func (p *pty) text() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.screen.String()
}

// full tells whether the program has its own screen, with the scrollback kept as
// it was.
func (p *pty) full() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.screen.IsAltScreen()
}

// await waits until want is on the screen.
func (p *pty) await(want string) {
	p.t.Helper()
	p.until(fmt.Sprintf("%q is on the screen", want), func() bool { return strings.Contains(p.text(), want) })
}

// until waits for a condition of the screen.
func (p *pty) until(what string, ok func() bool) {
	p.t.Helper()
	deadline := time.After(20 * time.Second)
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

// restored fails unless the terminal is as it was, on its normal screen with the
// cursor shown and no mode left.
func (p *pty) restored() {
	p.t.Helper()
	if after := p.termios(); after != p.before {
		p.t.Errorf("the terminal is %+v, was %+v", after, p.before)
	}
	p.until("the normal screen", func() bool { return !p.full() })
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.screen.CursorHidden() {
		p.t.Error("the cursor is hidden")
	}
}

// run starts Loop on the terminal, and returns how to wait for it.
func (p *pty) run(ctx context.Context, src Source) (wait func() error) {
	return p.start(ctx, src, LoopOptions{Interval: time.Second})
}

// start is run with options.
func (p *pty) start(ctx context.Context, src Source, o LoopOptions) (wait func() error) {
	o.In, o.Out = p.slave, p.slave
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
