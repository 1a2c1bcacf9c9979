package workload

import (
	"errors"
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"
)

// newSocket returns a blocking TCP socket of the family that at needs: an
// IPv4-mapped address is spoken to by an IPv6 socket.
func newSocket(at netip.Addr) (int, error) {
	family := unix.AF_INET6
	if at.Is4() {
		family = unix.AF_INET
	}
	return unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, unix.IPPROTO_TCP)
}

func toSockaddr(at netip.AddrPort) unix.Sockaddr {
	if at.Addr().Is4() {
		return &unix.SockaddrInet4{Port: int(at.Port()), Addr: at.Addr().As4()}
	}
	return &unix.SockaddrInet6{Port: int(at.Port()), Addr: at.Addr().As16()}
}

// fromSockaddr returns sa with IPv4-mapped addresses kept as such.
func fromSockaddr(sa unix.Sockaddr) netip.AddrPort {
	switch sa := sa.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(sa.Addr), uint16(sa.Port))
	case *unix.SockaddrInet6:
		return netip.AddrPortFrom(netip.AddrFrom16(sa.Addr), uint16(sa.Port))
	}
	return netip.AddrPort{}
}

func localAddr(fd int) (netip.AddrPort, error) {
	sa, err := unix.Getsockname(fd)
	if err != nil {
		return netip.AddrPort{}, err
	}
	return fromSockaddr(sa), nil
}

// unmap returns a in IPv4 form if its packets are IPv4.
func unmap(a netip.AddrPort) netip.AddrPort {
	return netip.AddrPortFrom(a.Addr().Unmap(), a.Port())
}

// cookieOf returns the identity of an open socket, which its TIME_WAIT keeps.
func cookieOf(fd int) (uint64, error) {
	return unix.GetsockoptUint64(fd, unix.SOL_SOCKET, unix.SO_COOKIE)
}

// listen returns a non-blocking listener on at, and the address it got.
func listen(at netip.AddrPort) (int, netip.AddrPort, error) {
	fd, err := newSocket(at.Addr())
	if err != nil {
		return -1, at, fmt.Errorf("create a listener for %s: %w", at, err)
	}
	err = errors.Join(
		unix.SetNonblock(fd, true),
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1),
	)
	if err == nil {
		err = unix.Bind(fd, toSockaddr(at))
	}
	if err == nil {
		// The kernel cuts the backlog to net.core.somaxconn.
		err = unix.Listen(fd, 1<<16-1)
	}
	var got netip.AddrPort
	if err == nil {
		got, err = localAddr(fd)
	}
	if err != nil {
		unix.Close(fd)
		return -1, at, fmt.Errorf("listen on %s: %w", at, err)
	}
	return fd, got, nil
}

// connect is connect(2) on a blocking socket. Interrupted by a signal it waits
// for the same attempt to end; a second call would be a second attempt.
func connect(fd int, to unix.Sockaddr) error {
	err := unix.Connect(fd, to)
	if err != unix.EINTR {
		return err
	}
	fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLOUT}}
	for {
		if _, err := unix.Poll(fds, -1); err != unix.EINTR {
			break
		}
	}
	errno, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ERROR)
	if err == nil && errno != 0 {
		err = unix.Errno(errno)
	}
	return err
}

// abort closes fd with a reset.
func abort(fd int) error {
	linger := unix.Linger{Onoff: 1}
	err := unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &linger)
	return errors.Join(err, unix.Close(fd))
}

// readByte reads at most one byte and returns how many there were: 0 is the
// peer's FIN.
func readByte(fd int) (int, error) {
	var b [1]byte
	for {
		n, err := unix.Read(fd, b[:])
		if err != unix.EINTR {
			return n, err
		}
	}
}

// writeByte sends one byte.
func writeByte(fd int) error {
	return unix.Sendto(fd, []byte{'.'}, unix.MSG_NOSIGNAL, nil)
}
