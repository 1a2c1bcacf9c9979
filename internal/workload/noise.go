package workload

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"time"

	"golang.org/x/sys/unix"
)

// Noise is a neighbour that has nothing to do with the matter. Each of its
// Workers has one long-lived connection within the process, and sends a byte
// back and forth on it. It runs until Stop, and then resets its connections, so
// that it leaves no TIME_WAIT.
type Noise struct {
	Rate  float64 // round trips per second of each worker; 0 for full speed
	Forks float64 // short-lived processes per second; 0 for none
}

// noise runs Spec.Noise.
func (c *child) noise() error {
	listener, at, err := listen(netip.MustParseAddrPort("127.0.0.1:0"))
	if err != nil {
		return err
	}
	if err := unix.SetNonblock(listener, false); err != nil {
		return fmt.Errorf("make a listener block: %w", err)
	}
	if err := c.send(message{Ready: true, Addrs: []netip.AddrPort{at}}); err != nil {
		return err
	}
	if !c.awaitGo() {
		return nil
	}
	c.tally.began = time.Now()
	forks := make(chan error, 1)
	go func() { forks <- c.fork() }()
	err = c.threads(func(int) error { return c.pingPong(listener, at) })
	c.halt()
	err = errors.Join(err, <-forks)
	c.tally.elapsed = time.Since(c.tally.began)
	return err
}

// pingPong sends a byte to and fro on a connection whose ends it both has.
func (c *child) pingPong(listener int, at netip.AddrPort) (err error) {
	near, err := newSocket(at.Addr())
	if err != nil {
		return fmt.Errorf("create a socket: %w", err)
	}
	defer func() { err = errors.Join(err, abort(near)) }()
	if err := connect(near, toSockaddr(at)); err != nil {
		return fmt.Errorf("connect to %s: %w", at, err)
	}
	// It may be another thread's connection, which does no harm: each thread
	// writes to one and reads from one.
	far, _, err := unix.Accept4(listener, unix.SOCK_CLOEXEC)
	if err != nil {
		return fmt.Errorf("accept on %s: %w", at, err)
	}
	defer func() { err = errors.Join(err, abort(far)) }()
	c.tally.opened.Add(2)
	for i := 0; c.pace(i, c.spec.Noise.Rate); i++ {
		if err := errors.Join(pass(near, far), pass(far, near)); err != nil {
			if c.stop.Err() != nil {
				return nil // the thread at the other end has stopped already
			}
			return fmt.Errorf("round trip on %s: %w", at, err)
		}
		c.tally.rounds.Add(1)
	}
	return nil
}

// pass moves one byte from a to b.
func pass(a, b int) error {
	if err := writeByte(a); err != nil {
		return err
	}
	_, err := readByte(b)
	return err
}

// fork runs processes that do nothing.
func (c *child) fork() error {
	if c.spec.Noise.Forks == 0 {
		return nil
	}
	for i := 0; i == 0 || c.pace(i, c.spec.Noise.Forks); i++ { // one in any case
		cmd := exec.Command("/proc/self/exe")
		cmd.Env = append(os.Environ(), envMode+"="+modeExit)
		if err := cmd.Run(); err != nil {
			return fmt.Errorf("run a process: %w", err)
		}
		c.tally.forks.Add(1)
	}
	return nil
}

// pace waits until it is time for step i of so many per second, and reports
// false once the workload is to stop.
func (c *child) pace(i int, rate float64) bool {
	if rate <= 0 {
		return c.stop.Err() == nil
	}
	due := c.tally.began.Add(time.Duration(float64(i) / rate * float64(time.Second)))
	select {
	case <-time.After(time.Until(due)):
		return c.stop.Err() == nil
	case <-c.stop.Done():
		return false
	}
}
