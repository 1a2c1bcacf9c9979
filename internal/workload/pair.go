package workload

import (
	"errors"
	"fmt"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"

	"github.com/twtrace/twtrace/internal/event"
	"github.com/twtrace/twtrace/internal/netns"
)

// patience bounds every wait for the other end of a connection of this process.
const patience = 30 * time.Second

// Any leaves the address to connect from to connect().
var Any netip.AddrPort

// Pair is a connection with both ends in this process, for what has to be
// done step by step: a Scenario's processes go their own way.
type Pair struct{ Client, Server *Socket }

// Socket is one end of a Pair.
type Socket struct {
	Cookie uint64
	Local  netip.AddrPort // in IPv4 form where the packets are IPv4
	Remote netip.AddrPort

	fd int // -1 once it is closed
}

// Listener accepts the server's ends of Pairs.
type Listener struct {
	at netip.AddrPort
	fd int
}

// Listen listens on at in the network namespace at path.
func Listen(path string, at netip.AddrPort) (*Listener, error) {
	l := &Listener{fd: -1}
	err := netns.In(path, func() (err error) {
		l.fd, l.at, err = listen(at)
		return err
	})
	if err != nil {
		return nil, err
	}
	return l, nil
}

// Close stops listening; connections that were accepted stay.
func (l *Listener) Close() error { return unix.Close(l.fd) }

// Pair connects to the listener out of the network namespace at path, and
// accepts that connection. If from is valid it is bound first, even if its last
// connection is in TIME_WAIT. The error of connect() is in the chain.
func (l *Listener) Pair(path string, from netip.AddrPort) (*Pair, error) {
	client := &Socket{}
	err := netns.In(path, func() (err error) {
		client.fd, err = dial(from, l.at, 0)
		return err
	})
	if err != nil {
		return nil, err
	}
	p := &Pair{Client: client}
	if err := p.accept(l); err != nil {
		return nil, errors.Join(err, p.Close())
	}
	return p, errors.Join(client.identify(), p.Server.identify())
}

// Knock begins to connect as Pair does and waits for nothing. The socket has no
// addresses yet.
func (l *Listener) Knock(path string, from netip.AddrPort) (*Socket, error) {
	s := &Socket{}
	err := netns.In(path, func() (err error) {
		s.fd, err = dial(from, l.at, unix.SOCK_NONBLOCK)
		return err
	})
	if err != nil {
		return nil, err
	}
	s.Cookie, err = cookieOf(s.fd)
	return s, err
}

// Room has the kernel drop new SYNs once more than n connections wait for Pair.
func (l *Listener) Room(n int) error { return unix.Listen(l.fd, n) }

// dial returns a connected socket, or with SOCK_NONBLOCK one that may be on its way.
func dial(from, to netip.AddrPort, flags int) (int, error) {
	fd, err := newSocket(to.Addr())
	if err != nil {
		return -1, fmt.Errorf("create a socket: %w", err)
	}
	if flags == unix.SOCK_NONBLOCK {
		err = unix.SetNonblock(fd, true)
	}
	if err == nil && from.IsValid() {
		err = errors.Join(unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1),
			unix.Bind(fd, toSockaddr(from)))
		if err != nil {
			err = fmt.Errorf("bind to %s: %w", from, err)
		}
	}
	if err == nil {
		if err = connect(fd, toSockaddr(to)); err == unix.EINPROGRESS {
			err = nil
		}
		if err != nil {
			err = fmt.Errorf("connect to %s: %w", to, err)
		}
	}
	if err != nil {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

func (p *Pair) accept(l *Listener) error {
	if _, err := poll(l.fd, unix.POLLIN); err != nil {
		return fmt.Errorf("accept on %s: %w", l.at, err)
	}
	fd, _, err := unix.Accept4(l.fd, unix.SOCK_CLOEXEC)
	if err != nil {
		return fmt.Errorf("accept on %s: %w", l.at, err)
	}
	p.Server = &Socket{fd: fd}
	return nil
}

// Close closes what of the pair is open.
func (p *Pair) Close() error {
	var errs []error
	for _, s := range []*Socket{p.Client, p.Server} {
		if s != nil && s.fd >= 0 {
			errs = append(errs, s.Close())
		}
	}
	return errors.Join(errs...)
}

func (s *Socket) identify() (err error) {
	local, err := localAddr(s.fd)
	if err != nil {
		return fmt.Errorf("read a socket's address: %w", err)
	}
	peer, err := unix.Getpeername(s.fd)
	if err != nil {
		return fmt.Errorf("read a socket's address: %w", err)
	}
	s.Local, s.Remote = unmap(local), unmap(fromSockaddr(peer))
	if s.Cookie, err = cookieOf(s.fd); err != nil {
		return fmt.Errorf("read a socket's cookie: %w", err)
	}
	return nil
}

// poll waits for one of events, or for an error on the socket.
func poll(fd int, events int16) (int16, error) {
	fds := []unix.PollFd{{Fd: int32(fd), Events: events}}
	for {
		n, err := unix.Poll(fds, int(patience.Milliseconds()))
		switch {
		case err == unix.EINTR:
		case err != nil:
			return 0, err
		case n == 0:
			return 0, unix.ETIMEDOUT
		default:
			return fds[0].Revents, nil
		}
	}
}

// shut closes the descriptor by f.
func (s *Socket) shut(what string, f func(int) error) error {
	err := f(s.fd)
	s.fd = -1
	if err != nil {
		return fmt.Errorf("%s %s: %w", what, s.Local, err)
	}
	return nil
}

// Close closes the socket as an application does. With data unread that sends RST.
func (s *Socket) Close() error { return s.shut("close", unix.Close) }

// Abort closes the socket with RST (SO_LINGER 0).
func (s *Socket) Abort() error { return s.shut("abort", abort) }

// Vanish closes the socket without a word to the peer, as a host that lost power.
func (s *Socket) Vanish() error {
	return s.shut("abandon", func(fd int) error {
		err := unix.SetsockoptInt(fd, unix.SOL_TCP, unix.TCP_REPAIR, 1)
		return errors.Join(err, unix.Close(fd))
	})
}

// CloseWrite sends the FIN and keeps the socket.
func (s *Socket) CloseWrite() error {
	if err := unix.Shutdown(s.fd, unix.SHUT_WR); err != nil {
		return fmt.Errorf("shut %s down: %w", s.Local, err)
	}
	return nil
}

// Write sends one byte.
func (s *Socket) Write() error {
	if err := writeByte(s.fd); err != nil {
		return fmt.Errorf("write to %s: %w", s.Remote, err)
	}
	return nil
}

// Readable waits until the peer's data or FIN is there, and leaves it there.
func (s *Socket) Readable() error {
	if _, err := poll(s.fd, unix.POLLIN); err != nil {
		return fmt.Errorf("wait for %s: %w", s.Remote, err)
	}
	return nil
}

// ReadEOF waits for the peer's FIN.
func (s *Socket) ReadEOF() error {
	if err := s.Readable(); err != nil {
		return err
	}
	n, err := readByte(s.fd)
	if err == nil && n > 0 {
		err = errors.New("data")
	}
	if err != nil {
		return fmt.Errorf("wait for the FIN of %s: %w", s.Remote, err)
	}
	return nil
}

// Failed waits until the kernel gives the connection up, and returns why.
func (s *Socket) Failed() (error, error) {
	if _, err := poll(s.fd, 0); err != nil { // POLLERR always comes
		return nil, fmt.Errorf("wait for the end of %s: %w", s.Local, err)
	}
	errno, err := unix.GetsockoptInt(s.fd, unix.SOL_SOCKET, unix.SO_ERROR)
	if err != nil {
		return nil, fmt.Errorf("read the error of %s: %w", s.Local, err)
	}
	return unix.Errno(errno), nil
}

// State returns the state of the socket. Once a mini-socket has taken over, it is
// CLOSE.
func (s *Socket) State() (event.State, error) {
	info, err := unix.GetsockoptTCPInfo(s.fd, unix.SOL_TCP, unix.TCP_INFO)
	if err != nil {
		return 0, fmt.Errorf("read the state of %s: %w", s.Local, err)
	}
	return event.State(info.State), nil
}

// GiveUpAfter has the kernel end the connection if data stays unacknowledged for
// that long (TCP_USER_TIMEOUT).
func (s *Socket) GiveUpAfter(d time.Duration) error {
	if err := unix.SetsockoptInt(s.fd, unix.SOL_TCP, unix.TCP_USER_TIMEOUT, int(d.Milliseconds())); err != nil {
		return fmt.Errorf("set the timeout of %s: %w", s.Local, err)
	}
	return nil
}

// Next returns the sequence number of the next byte, or FIN, that the socket sends.
func (s *Socket) Next() (uint32, error) {
	const (
		on       = 1
		off      = -1 // without a window probe
		sendSide = 2
	)
	set := func(opt, value int) error { return unix.SetsockoptInt(s.fd, unix.SOL_TCP, opt, value) }
	err := set(unix.TCP_REPAIR, on)
	var seq int
	if err == nil {
		if err = set(unix.TCP_REPAIR_QUEUE, sendSide); err == nil {
			seq, err = unix.GetsockoptInt(s.fd, unix.SOL_TCP, unix.TCP_QUEUE_SEQ)
		}
		err = errors.Join(err, set(unix.TCP_REPAIR, off))
	}
	if err != nil {
		return 0, fmt.Errorf("read the sequence number of %s: %w", s.Local, err)
	}
	return uint32(seq), nil
}
