package workload

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/twtrace/twtrace/internal/event"
)

// Dialer has Go's dialer connect. It tries again where it finds no port, each time with
// another socket, and each time counts.
const Dialer Way = "dialer"

// dial makes a connection and closes it. No Record is kept.
func (t *connecter) dial(to netip.AddrPort) error {
	sockets := 0
	d := net.Dialer{Control: func(string, string, syscall.RawConn) error { sockets++; return nil }}
	conn, err := d.DialContext(context.Background(), "tcp", to.String())
	failed := sockets
	if err == nil {
		failed--
		t.tally.opened.Add(1)
		if err := conn.Close(); err != nil {
			return err
		}
	} else if !errors.Is(err, unix.EADDRNOTAVAIL) {
		return err
	}
	for range failed {
		t.fails.Add(1)
		if _, err := t.tally.fail(event.Connect, unix.EADDRNOTAVAIL); err != nil {
			return err
		}
	}
	return nil
}
