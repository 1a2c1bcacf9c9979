package workload

import (
	"encoding/binary"
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"

	"github.com/twtrace/twtrace/internal/netns"
)

// Flags of a Segment.
const (
	FIN = 1 << iota
	SYN
	RST
	_
	ACK
)

// Segment is a TCP segment with neither data nor options, to be sent in another's
// name.
type Segment struct {
	From, To netip.AddrPort // both in IPv4 form, or neither
	Seq, Ack uint32
	Flags    uint8
}

// Send sends the segments in the network namespace at path, where From must
// be a local address. It needs CAP_NET_RAW.
func Send(path string, segments ...Segment) error {
	return netns.In(path, func() error {
		for _, s := range segments {
			if err := s.send(); err != nil {
				return fmt.Errorf("send a segment from %s to %s: %w", s.From, s.To, err)
			}
		}
		return nil
	})
}

func (s Segment) send() error {
	family := unix.AF_INET6
	if s.From.Addr().Is4() {
		family = unix.AF_INET
	}
	fd, err := unix.Socket(family, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_TCP)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	// Raw sockets have no ports: they stand in the header.
	if err := unix.Bind(fd, toSockaddr(netip.AddrPortFrom(s.From.Addr(), 0))); err != nil {
		return err
	}
	return unix.Sendto(fd, s.header(), 0, toSockaddr(netip.AddrPortFrom(s.To.Addr(), 0)))
}

const (
	headerLen      = 20
	checksumOffset = 16
	window         = 0xffff
)

// header returns the TCP header, checksum included.
func (s Segment) header() []byte {
	be := binary.BigEndian
	h := make([]byte, 0, headerLen)
	h = be.AppendUint16(h, s.From.Port())
	h = be.AppendUint16(h, s.To.Port())
	h = be.AppendUint32(h, s.Seq)
	h = be.AppendUint32(h, s.Ack)
	h = append(h, headerLen/4<<4, s.Flags)
	h = be.AppendUint16(h, window)
	h = append(h, 0, 0, 0, 0) // checksum, urgent pointer
	be.PutUint16(h[checksumOffset:], s.checksum(h))
	return h
}

// checksum is the one of RFC 9293, 3.1, over the pseudo header and h.
func (s Segment) checksum(h []byte) uint16 {
	pseudo := append(s.From.Addr().AsSlice(), s.To.Addr().AsSlice()...)
	pseudo = append(pseudo, 0, unix.IPPROTO_TCP, 0, headerLen)
	var sum uint32
	for _, b := range [][]byte{pseudo, h} {
		for i := 0; i < len(b); i += 2 {
			sum += uint32(binary.BigEndian.Uint16(b[i:]))
		}
	}
	for sum>>16 != 0 {
		sum = sum&0xffff + sum>>16
	}
	return ^uint16(sum)
}
