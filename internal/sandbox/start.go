package sandbox

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// startLimit is how long a speaker may take until it is confined. That is 10 ms on an idle
// machine; the limit is for one that swaps.
const startLimit = 30 * time.Second

// Start starts this program again as a speaker, and returns once it is confined and Start
// has seen so in /proc. Whatever cannot be confined is an error, and no process is left; what
// the kernel lacks of Landlock is in Report.Missing.
//
// It needs CAP_SETUID and CAP_SETGID, and CAP_SETPCAP unless Drop has been called.
func Start(o Options) (*Twin, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	t, err := launch(&o)
	if err != nil {
		return nil, fmt.Errorf("start the speaker: %w", err)
	}
	if err := t.greet(&o); err != nil {
		t.Kill()
		<-t.Done()
		t.lifeline.Close()
		t.Conn.Close()
		return nil, fmt.Errorf("start the speaker: %w", err)
	}
	go func() {
		<-t.done
		t.lifeline.Close()
	}()
	return t, nil
}

// launch starts the process. It has done nothing yet when launch returns.
func launch(o *Options) (*Twin, error) {
	d, err := newDomain(o)
	if err != nil {
		return nil, err
	}
	defer d.close()
	null, err := os.Open(os.DevNull)
	if err != nil {
		return nil, err
	}
	defer null.Close()
	log := o.Log
	if log == nil {
		log = os.Stderr
	}
	given, err := duplicates(append([]*os.File{log, log}, o.Files...))
	if err != nil {
		return nil, err
	}
	defer closeAll(given)
	t := &Twin{done: make(chan struct{})}
	t.Report = Report{UID: o.User.UID, GID: o.User.GID, Landlock: d.abi, Missing: missing(d.abi, o.grants())}
	lifeline, conn, err := t.connect()
	if err != nil {
		return nil, err
	}
	defer lifeline.Close() // so that the end of the speaker is the end of the socket
	defer conn.Close()
	attr := &os.ProcAttr{
		Dir:   "/",
		Env:   append([]string{}, o.Env...), // not nil, which would be this process's
		Files: slices.Concat([]*os.File{null}, given[:2], []*os.File{lifeline, conn}, given[2:]),
		Sys: &syscall.SysProcAttr{
			Credential: &syscall.Credential{Uid: o.User.UID, Gid: o.User.GID, Groups: o.User.Groups},
			Setsid:     true,
			Pdeathsig:  unix.SIGKILL,
		},
	}
	started := make(chan error, 1)
	onThread(func() { t.run(d, []string{"twtrace", o.Command}, attr, started) })
	if err := <-started; err != nil {
		return nil, errors.Join(err, t.lifeline.Close(), t.Conn.Close())
	}
	return t, nil
}

// connect makes the socket pairs, and returns the speaker's ends.
func (t *Twin) connect() (lifeline, conn *os.File, err error) {
	if t.lifeline, lifeline, err = socketPair("lifeline"); err != nil {
		return nil, nil, err
	}
	if t.Conn, conn, err = socketPair("conn"); err != nil {
		return nil, nil, errors.Join(err, t.lifeline.Close(), lifeline.Close())
	}
	return lifeline, conn, nil
}

func socketPair(name string) (ours *net.UnixConn, theirs *os.File, err error) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("make a socket pair: %w", err)
	}
	if ours, err = fileConn(pair[0], name); err != nil {
		return nil, nil, errors.Join(err, unix.Close(pair[1]))
	}
	return ours, os.NewFile(uintptr(pair[1]), name), nil
}

// duplicates are descriptors of the same files. Those of package net's files become blocking
// when they are inherited, and with them the listener of another speaker that serves.
func duplicates(files []*os.File) ([]*os.File, error) {
	var all []*os.File
	for _, f := range files {
		d, err := duplicate(f)
		if err != nil {
			closeAll(all)
			return nil, fmt.Errorf("pass on %s: %w", f.Name(), err)
		}
		all = append(all, d)
	}
	return all, nil
}

func duplicate(f *os.File) (*os.File, error) {
	raw, err := f.SyscallConn()
	if err != nil {
		return nil, err
	}
	var dup int
	var dupErr error
	err = raw.Control(func(fd uintptr) { dup, dupErr = unix.FcntlInt(fd, unix.F_DUPFD_CLOEXEC, 0) })
	if err := errors.Join(err, dupErr); err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(dup), f.Name()), nil
}

func closeAll(files []*os.File) {
	for _, f := range files {
		f.Close()
	}
}

// run is the life of the thread that starts the process: it sheds all that the process must
// not have, and waits, since the kernel ends the process with its parent's thread.
func (t *Twin) run(d *domain, args []string, attr *os.ProcAttr, started chan<- error) {
	p, err := func() (*os.Process, error) {
		// What this program has inherited without close-on-exec, the speaker must not.
		if err := unix.CloseRange(3, ^uint(0)>>32, unix.CLOSE_RANGE_CLOEXEC); err != nil {
			return nil, fmt.Errorf("mark descriptors close-on-exec: %w", err)
		}
		if err := shed(); err != nil {
			return nil, err
		}
		if err := d.enter(); err != nil {
			return nil, err
		}
		p, err := os.StartProcess(ownProgram, args, attr)
		switch {
		case errors.Is(err, unix.EACCES):
			err = fmt.Errorf("%w (a program with cgo loads libraries, which no speaker may open: build it with CGO_ENABLED=0)", err)
		case errors.Is(err, unix.EPERM):
			err = fmt.Errorf("become uid %d, gid %d, which needs CAP_SETUID and CAP_SETGID: %w",
				attr.Sys.Credential.Uid, attr.Sys.Credential.Gid, err)
		}
		return p, err
	}()
	if err != nil {
		started <- err
		return
	}
	t.process = p
	t.Report.PID = p.Pid
	started <- nil
	state, err := p.Wait()
	t.err = ending(state, err)
	close(t.done)
}

// greet has the speaker confine itself, and checks that it has.
func (t *Twin) greet(o *Options) error {
	a, err := t.ask(hello{Report: t.Report, Grants: o.grants(), Files: len(o.Files)})
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return fmt.Errorf("it is not confined after %v", startLimit)
	case errors.Is(err, io.EOF), errors.Is(err, unix.ECONNRESET), errors.Is(err, unix.EPIPE):
		return errors.New("it ended before it was confined")
	case err != nil:
		return fmt.Errorf("wait until it is confined: %w", err)
	case a.Err != "":
		return errors.New(a.Err)
	}
	t.Report.Seccomp = a.Seccomp
	return checkConfined(t.Report.PID, o.User)
}

// ask sends the hello and waits for the answer.
func (t *Twin) ask(h hello) (a answer, err error) {
	if err := t.lifeline.SetDeadline(time.Now().Add(startLimit)); err != nil {
		return a, err
	}
	if err := json.NewEncoder(t.lifeline).Encode(h); err != nil {
		return a, err
	}
	if err := json.NewDecoder(t.lifeline).Decode(&a); err != nil {
		return a, err
	}
	return a, t.lifeline.SetDeadline(time.Time{})
}

// Twin is a running speaker, seen from the tracer. Its methods may be called at any time and
// by several goroutines.
type Twin struct {
	// Conn leads to Speaker.Conn. It stays open after the speaker's end, for what is unread;
	// the caller closes it.
	Conn *net.UnixConn
	// Report is how the speaker is confined.
	Report Report

	process  *os.Process
	lifeline *net.UnixConn
	sending  sync.Mutex // of the lifeline
	stop     sync.Once
	done     chan struct{}
	err      error // set before done is closed
}
