package view

import (
	"context"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// pty is a terminal whose other side the test holds.
type pty struct {
	t      *testing.T
	master *os.File
	slave  *os.File
	before unix.Termios

	mu   sync.Mutex
	text strings.Builder
	more chan struct{} // something came
}

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
	p := &pty{t: t, master: master, slave: slave, more: make(chan struct{}, 1)}
	p.resize(80, 24)
	p.before = p.termios()
	go func() {
		buf := make([]byte, 65536)
		for {
			n, err := master.Read(buf)
			if err != nil {
				return // EIO once the slave is closed
			}
			p.mu.Lock()
			p.text.Write(buf[:n])
			p.mu.Unlock()
			select {
			case p.more <- struct{}{}:
			default:
			}
		}
	}()
	t.Cleanup(func() { slave.Close(); master.Close() })
	return p
}

func (p *pty) termios() unix.Termios {
	p.t.Helper()
	v, err := unix.IoctlGetTermios(int(p.slave.Fd()), unix.TCGETS)
	if err != nil {
		p.t.Fatal(err)
	}
	return *v
}

func (p *pty) resize(width, height uint16) {
	p.t.Helper()
	if err := unix.IoctlSetWinsize(int(p.slave.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Col: width, Row: height}); err != nil {
		p.t.Fatal(err)
	}
}

func (p *pty) press(keys string) {
	p.t.Helper()
	if _, err := p.master.WriteString(keys); err != nil {
		p.t.Fatal(err)
	}
}

func (p *pty) screen() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.text.String()
}

// await waits until want is on the screen, after what was awaited before.
func (p *pty) await(want string) {
	p.t.Helper()
	deadline := time.After(20 * time.Second)
	for {
		p.mu.Lock()
		text := p.text.String()
		if i := strings.Index(text, want); i >= 0 {
			p.text.Reset()
			p.text.WriteString(text[i+len(want):])
			p.mu.Unlock()
			return
		}
		p.mu.Unlock()
		select {
		case <-p.more:
		case <-deadline:
			p.t.Fatalf("%q is not on the screen: %q", want, text)
		}
	}
}

// restored fails unless the terminal is as it was, on its normal screen.
func (p *pty) restored() {
	p.t.Helper()
	if after := p.termios(); after != p.before {
		p.t.Errorf("the terminal is %+v, was %+v", after, p.before)
	}
	p.await(leaveScreen)
	if s := p.screen(); strings.Contains(s, enterScreen) || strings.Contains(s, beginUpdate) {
		p.t.Errorf("drawn after leaving: %q", s)
	}
}

// run starts Loop on the terminal, and returns how to wait for it.
func (p *pty) run(ctx context.Context, src Source) (wait func() error) {
	done := make(chan error, 1)
	go func() {
		done <- Loop(ctx, src, LoopOptions{In: p.slave, Out: p.slave, Interval: time.Second})
	}()
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
