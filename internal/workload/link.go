package workload

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"

	"github.com/twtrace/twtrace/internal/netns"
)

// AddAddr gives a device of a network namespace one more address, which can be used
// at once.
func AddAddr(ns *netns.NS, dev string, addr netip.Prefix) error {
	return ns.Do(func() error { return addAddr(dev, addr) })
}

// addAddr gives a device of the thread's network namespace one more address, and
// returns once it can be used.
func addAddr(dev string, addr netip.Prefix) error {
	if err := requestAddr(dev, addr); err != nil {
		return err
	}
	// A worker of the kernel makes the local route of an IPv6 address. A socket
	// that connects before that sends its SYN nowhere.
	deadline := time.Now().Add(30 * time.Second)
	for {
		err := reach(addr.Addr())
		if err == nil {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("wait for address %s on %s: %w", addr, dev, err)
		}
		time.Sleep(time.Millisecond)
	}
}

// reach reports whether a datagram from an address of this host to itself
// arrives.
func reach(addr netip.Addr) error {
	family := unix.AF_INET
	if addr.Is6() {
		family = unix.AF_INET6
	}
	fd, err := unix.Socket(family, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if err := unix.Bind(fd, toSockaddr(netip.AddrPortFrom(addr, 0))); err != nil {
		return err
	}
	self, err := unix.Getsockname(fd)
	if err != nil {
		return err
	}
	if err := unix.Sendto(fd, []byte{'.'}, 0, self); err != nil {
		return err
	}
	n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 10)
	if err == nil && n == 0 {
		err = unix.EHOSTUNREACH
	}
	return err
}

// requestAddr asks for an address. The ioctl for it would leave an IPv6 address
// tentative for a while, so this asks for no duplicate address detection.
func requestAddr(dev string, addr netip.Prefix) error {
	link, err := net.InterfaceByName(dev)
	if err != nil {
		return fmt.Errorf("add address %s: %w", addr, err)
	}
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_ROUTE)
	if err != nil {
		return fmt.Errorf("add address %s to %s: %w", addr, dev, err)
	}
	defer unix.Close(fd)
	if err := unix.Sendto(fd, newAddrRequest(link.Index, addr), 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return fmt.Errorf("add address %s to %s: %w", addr, dev, err)
	}
	reply := make([]byte, 4096)
	n, _, err := unix.Recvfrom(fd, reply, 0)
	if err != nil {
		return fmt.Errorf("add address %s to %s: %w", addr, dev, err)
	}
	if n < unix.SizeofNlMsghdr+4 {
		return fmt.Errorf("add address %s to %s: netlink answered with %d bytes", addr, dev, n)
	}
	// struct nlmsgerr begins with the negated errno.
	if errno := -int32(binary.NativeEndian.Uint32(reply[unix.SizeofNlMsghdr:])); errno != 0 {
		return fmt.Errorf("add address %s to %s: %w", addr, dev, unix.Errno(errno))
	}
	return nil
}

// newAddrRequest returns an RTM_NEWADDR message that asks for an answer.
func newAddrRequest(index int, addr netip.Prefix) []byte {
	family := byte(unix.AF_INET)
	if addr.Addr().Is6() {
		family = unix.AF_INET6
	}
	ne := binary.NativeEndian
	b := make([]byte, 4, 128) // the length, once it is known
	b = ne.AppendUint16(b, unix.RTM_NEWADDR)
	b = ne.AppendUint16(b, unix.NLM_F_REQUEST|unix.NLM_F_ACK|unix.NLM_F_CREATE|unix.NLM_F_EXCL)
	b = ne.AppendUint32(b, 1) // sequence number
	b = ne.AppendUint32(b, 0) // port id
	// struct ifaddrmsg
	b = append(b, family, byte(addr.Bits()), 0, unix.RT_SCOPE_UNIVERSE)
	b = ne.AppendUint32(b, uint32(index))
	attr := func(kind uint16, value []byte) {
		b = ne.AppendUint16(b, uint16(4+len(value)))
		b = append(ne.AppendUint16(b, kind), value...)
	}
	attr(unix.IFA_LOCAL, addr.Addr().AsSlice())
	attr(unix.IFA_ADDRESS, addr.Addr().AsSlice())
	attr(unix.IFA_FLAGS, ne.AppendUint32(nil, unix.IFA_F_NODAD))
	ne.PutUint32(b, uint32(len(b)))
	return b
}
