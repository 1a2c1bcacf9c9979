package kernel

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"github.com/twtrace/twtrace/internal/event"
)

// Socket is a TCP socket as sock_diag reports it.
type Socket struct {
	State         event.State    // for a mini-socket its substate: TIME_WAIT or FIN_WAIT2
	Local, Remote netip.AddrPort // IPv4-mapped addresses in IPv4 form, without zone
	Cookie        uint64         // as `ss -e` prints it in hex after sk:
	Inode         uint32         // as in socket:[N]; 0 for mini-sockets and orphans
	UID           uint32         // 0 for mini-sockets of any user
	Timer         uint8          // TimerNone to TimerProbe0
	Expires       time.Duration  // until Timer fires
	Retrans       uint8
	RQueue        uint32 // bytes unread; for a listener, the length of its accept queue
	WQueue        uint32 // bytes not acknowledged; for a listener, its backlog
	Drops         uint32 // for a listener, SYNs and connections that it dropped; only in a dump of listeners alone
}

// Values of Socket.Timer.
const (
	TimerNone uint8 = iota
	TimerRetransmit
	TimerKeepalive
	TimerTimeWait
	TimerProbe0
)

// Mini reports whether s is a mini-socket, in TIME_WAIT or parked in FIN_WAIT2.
func (s Socket) Mini() bool { return s.Timer == TimerTimeWait }

// StateMask is a set of TCP states. FIN_WAIT2 includes parked mini-sockets.
type StateMask uint32

// AllStates is every state of a socket that has a connection or listens.
const AllStates StateMask = 1<<(event.NewSynRecv+1) - 2

// BoundIdle is the sockets that have bound a port and neither listen nor connect. Their
// State is Closed, their Remote has port 0. Linux before 6.8 lists none of them
// (TCP_BOUND_INACTIVE).
const BoundIdle StateMask = 1 << (event.NewSynRecv + 1)

// States returns the set of the states given.
func States(states ...event.State) StateMask {
	var m StateMask
	for _, s := range states {
		m |= 1 << s
	}
	return m
}

// ErrDumpInterrupted is the error of Sockets, after the last socket, if the kernel
// reports that the table changed in a way that makes the dump inconsistent. Today's
// inet_diag never does: see Sockets.
var ErrDumpInterrupted = errors.New("socket dump was interrupted by a change")

// recvBytes is the largest piece of a dump that the kernel makes (SKB_WITH_OVERHEAD
// of 32 KiB in netlink_dump); a smaller buffer would get smaller pieces.
const recvBytes = 32 << 10

// Sockets calls fn for each TCP socket of n, IPv4 and IPv6, that is in one of states.
// It reads the dump piece by piece, and collects nothing. It needs no privilege in the
// current namespace; it joins any other one to open the netlink socket. It returns an
// error of fn at once.
//
// The dump is not a snapshot: the kernel walks its table while connections come and
// go, and may miss a socket that moves during the walk, or report it twice.
func (n NetNS) Sockets(states StateMask, fn func(Socket) error) error {
	return n.sockets(states, 0, fn)
}

// boundInactive asks for sockets that are bound, and neither listen nor have a connection.
// Linux shows them since 6.8 (commit 91051f003948); an older one ignores it.
const boundInactive StateMask = 1 << 13

// SocketsOn is Sockets with a local port, in any state. Those that are only bound are in
// state Closed, if the kernel shows them.
func (n NetNS) SocketsOn(port uint16, fn func(Socket) error) error {
	return n.sockets(AllStates|boundInactive, port, func(s Socket) error {
		if 1<<s.State == boundInactive {
			s.State = event.Closed
		}
		return fn(s)
	})
}

// sockets is Sockets with a local port; 0 is any.
func (n NetNS) sockets(states StateMask, port uint16, fn func(Socket) error) error {
	var conn *netlink.Conn
	err := n.Do(func() (err error) {
		conn, err = netlink.Dial(unix.NETLINK_SOCK_DIAG, &netlink.Config{MessageBufferSize: recvBytes})
		return err
	})
	if err != nil {
		return fmt.Errorf("open sock_diag in network namespace %s: %w", n, err)
	}
	defer conn.Close()

	for _, family := range []uint8{unix.AF_INET, unix.AF_INET6} {
		if err := dump(conn, diagRequest(family, states, port), fn); err != nil {
			return fmt.Errorf("dump sockets of network namespace %s: %w", n, err)
		}
	}
	return nil
}

// dump requests the sockets of one family and reads the answer.
func dump(conn *netlink.Conn, request []byte, fn func(Socket) error) error {
	req := netlink.Message{
		Header: netlink.Header{Type: unix.SOCK_DIAG_BY_FAMILY, Flags: netlink.Request | netlink.Dump},
		Data:   request,
	}
	if _, err := conn.Send(req); err != nil {
		return err
	}
	interrupted := false
	for m, err := range conn.ReceiveIter() {
		if errors.Is(err, unix.ENOENT) {
			return fmt.Errorf("this kernel has not loaded inet_diag: run modprobe tcp_diag: %w", err)
		}
		if err != nil {
			return err
		}
		if m.Header.Flags&netlink.DumpInterrupted != 0 {
			interrupted = true
		}
		if m.Header.Type != unix.SOCK_DIAG_BY_FAMILY {
			continue
		}
		s, err := parseSocket(m.Data)
		if err != nil {
			return err
		}
		if err := fn(s); err != nil {
			return err
		}
	}
	if interrupted {
		return ErrDumpInterrupted
	}
	return nil
}

// Sizes and offsets of struct inet_diag_req_v2 and struct inet_diag_msg
// (include/uapi/linux/inet_diag.h). Numbers are in host order, ports and
// addresses in network order.
const (
	diagReqBytes = 56
	reqSport     = 8
	diagMsgBytes = 72

	extMemory = 7 // INET_DIAG_SKMEMINFO: an attribute of 32-bit numbers
	memDrops  = 8 // SK_MEMINFO_DROPS, the index of one of them

	msgState, msgTimer, msgRetrans          = 1, 2, 3
	msgSport, msgDport                      = 4, 6
	msgSrc, msgDst                          = 8, 24
	msgCookie0, msgCookie1                  = 44, 48
	msgExpires, msgRQueue, msgWQueue        = 52, 56, 60
	msgUID, msgInode                        = 64, 68
	noCookie                         uint64 = 1<<64 - 1
)

func diagRequest(family uint8, states StateMask, port uint16) []byte {
	b := make([]byte, diagReqBytes)
	b[0] = family
	b[1] = unix.IPPROTO_TCP
	if states == States(event.Listening) {
		b[2] = 1 << (extMemory - 1)
	}
	binary.NativeEndian.PutUint32(b[4:], uint32(states))
	binary.BigEndian.PutUint16(b[reqSport:], port)
	return b
}

// parseSocket decodes a struct inet_diag_msg and, from the attributes after it, the
// drops.
func parseSocket(b []byte) (Socket, error) {
	if len(b) < diagMsgBytes {
		return Socket{}, fmt.Errorf("inet_diag message of %d bytes, expected at least %d", len(b), diagMsgBytes)
	}
	u32 := func(at int) uint32 { return binary.NativeEndian.Uint32(b[at:]) }
	s := Socket{
		State:   event.State(b[msgState]),
		Timer:   b[msgTimer],
		Retrans: b[msgRetrans],
		Cookie:  uint64(u32(msgCookie0)) | uint64(u32(msgCookie1))<<32,
		Expires: time.Duration(u32(msgExpires)) * time.Millisecond,
		RQueue:  u32(msgRQueue),
		WQueue:  u32(msgWQueue),
		UID:     u32(msgUID),
		Inode:   u32(msgInode),
	}
	if s.Cookie == noCookie {
		s.Cookie = 0
	}
	if s.State == event.Listening {
		s.Drops = parseDrops(b[diagMsgBytes:])
	}
	var local, remote netip.Addr
	switch b[0] {
	case unix.AF_INET:
		local = netip.AddrFrom4([4]byte(b[msgSrc:]))
		remote = netip.AddrFrom4([4]byte(b[msgDst:]))
	case unix.AF_INET6:
		local = netip.AddrFrom16([16]byte(b[msgSrc:])).Unmap()
		remote = netip.AddrFrom16([16]byte(b[msgDst:])).Unmap()
	default:
		return Socket{}, fmt.Errorf("inet_diag message of family %d", b[0])
	}
	s.Local = netip.AddrPortFrom(local, binary.BigEndian.Uint16(b[msgSport:]))
	s.Remote = netip.AddrPortFrom(remote, binary.BigEndian.Uint16(b[msgDport:]))
	return s, nil
}

// parseDrops returns the number of drops among attributes, 0 if it is not there.
func parseDrops(b []byte) uint32 {
	attrs, err := netlink.NewAttributeDecoder(b)
	if err != nil {
		return 0
	}
	for attrs.Next() {
		if v := attrs.Bytes(); attrs.Type() == extMemory && len(v) >= 4*(memDrops+1) {
			return binary.NativeEndian.Uint32(v[4*memDrops:])
		}
	}
	return 0
}
