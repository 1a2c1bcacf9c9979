package workload

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"sync/atomic"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Of io_uring(7), as far as it is needed here.
const (
	ringEntries = 8

	setupSQPoll = 1 << 1 // IORING_SETUP_SQPOLL

	offSQ, offCQ, offSQEs = 0, 0x8000000, 0x10000000

	enterGetEvents = 1 << 0
	enterWakeup    = 1 << 1

	opUringAccept, opUringConnect, opUringClose = 13, 16, 19

	flagAsync       = 1 << 4 // IOSQE_ASYNC: a worker does it
	acceptMultishot = 1 << 0
)

type sqOffsets struct {
	head, tail, mask, entries, flags, dropped, array, _ uint32
	_                                                   uint64
}

type cqOffsets struct {
	head, tail, mask, entries, overflow, cqes, flags, _ uint32
	_                                                   uint64
}

type ringParams struct {
	sqEntries, cqEntries, flags, cpu, idle, features, wq uint32
	_                                                    [3]uint32
	sq                                                   sqOffsets
	cq                                                   cqOffsets
}

// sqe is struct io_uring_sqe.
type sqe struct {
	opcode, flags uint8
	ioprio        uint16
	fd            int32
	off           uint64
	addr          uint64
	len, opFlags  uint32
	userData      uint64
	_             [24]byte
}

type cqe struct {
	userData uint64
	res      int32
	flags    uint32
}

// ring is an io_uring with one call under way at a time.
type ring struct {
	fd     int
	way    Way
	params ringParams
	sq, cq []byte
	sqes   []byte
	armed  bool // a multishot accept is
}

func newRing(way Way) (*ring, error) {
	u := &ring{way: way}
	if way == UringPoll {
		u.params.flags, u.params.idle = setupSQPoll, 1000
	}
	fd, _, errno := unix.Syscall(unix.SYS_IO_URING_SETUP, ringEntries, uintptr(unsafe.Pointer(&u.params)), 0)
	if errno != 0 {
		return nil, errno
	}
	u.fd = int(fd)
	p := &u.params
	for _, m := range []struct {
		to     *[]byte
		offset int64
		size   uint32
	}{
		{&u.sq, offSQ, p.sq.array + 4*p.sqEntries},
		{&u.cq, offCQ, p.cq.cqes + uint32(unsafe.Sizeof(cqe{}))*p.cqEntries},
		{&u.sqes, offSQEs, uint32(unsafe.Sizeof(sqe{})) * p.sqEntries},
	} {
		var err error
		*m.to, err = unix.Mmap(u.fd, m.offset, int(m.size), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_POPULATE)
		if err != nil {
			return nil, err
		}
	}
	return u, nil
}

func word(area []byte, offset uint32) *uint32 { return (*uint32)(unsafe.Pointer(&area[offset])) }

// submit gives one call to the kernel.
func (u *ring) submit(s sqe) error {
	if u.way == UringWorker {
		s.flags |= flagAsync
	}
	o := &u.params.sq
	tail := *word(u.sq, o.tail)
	i := tail & *word(u.sq, o.mask)
	*(*sqe)(unsafe.Pointer(&u.sqes[uintptr(i)*unsafe.Sizeof(s)])) = s
	*word(u.sq, o.array+4*i) = i
	atomic.StoreUint32(word(u.sq, o.tail), tail+1)
	flags := uintptr(0)
	if u.way == UringPoll {
		flags = enterWakeup
	}
	_, err := u.enter(1, 0, flags)
	return err
}

func (u *ring) enter(submit, wait int, flags uintptr) (int, error) {
	for {
		n, _, errno := unix.Syscall6(unix.SYS_IO_URING_ENTER, uintptr(u.fd), uintptr(submit), uintptr(wait), flags, 0, 0)
		switch errno {
		case 0:
			return int(n), nil
		case unix.EINTR:
		default:
			return 0, fmt.Errorf("io_uring_enter: %w", errno)
		}
	}
}

// result waits for the next result and returns it as a system call would.
func (u *ring) result() (int, error) {
	o := &u.params.cq
	head := *word(u.cq, o.head)
	for atomic.LoadUint32(word(u.cq, o.tail)) == head {
		if _, err := u.enter(0, 1, enterGetEvents); err != nil {
			return -1, err
		}
	}
	c := *(*cqe)(unsafe.Pointer(&u.cq[o.cqes+uint32(unsafe.Sizeof(cqe{}))*(head&*word(u.cq, o.mask))]))
	atomic.StoreUint32(word(u.cq, o.head), head+1)
	if c.res < 0 {
		return -1, syscall.Errno(-c.res)
	}
	return int(c.res), nil
}

func (u *ring) call(s sqe) (int, error) {
	if err := u.submit(s); err != nil {
		return -1, err
	}
	return u.result()
}

func (u *ring) accept(listener int, multishot bool) (int, error) {
	s := sqe{opcode: opUringAccept, fd: int32(listener)}
	if !multishot {
		return u.call(s)
	}
	if !u.armed {
		s.ioprio = acceptMultishot
		if err := u.submit(s); err != nil {
			return -1, err
		}
		u.armed = true
	}
	return u.result()
}

func (u *ring) connect(fd int, to netip.AddrPort) (int, error) {
	// Mapped memory stays where it is, and is not forgotten while the kernel reads it.
	page, err := unix.Mmap(-1, 0, 4096, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
	if err != nil {
		return -1, err
	}
	defer unix.Munmap(page)
	n := putSockaddr(page, to)
	return u.call(sqe{opcode: opUringConnect, fd: int32(fd), off: uint64(n),
		addr: uint64(uintptr(unsafe.Pointer(&page[0])))})
}

func (u *ring) close(fd int) (int, error) { return u.call(sqe{opcode: opUringClose, fd: int32(fd)}) }

// putSockaddr writes to as the kernel reads it, and returns its length.
func putSockaddr(b []byte, to netip.AddrPort) int {
	binary.BigEndian.PutUint16(b[2:], to.Port())
	if to.Addr().Is4() {
		binary.NativeEndian.PutUint16(b, unix.AF_INET)
		copy(b[4:], to.Addr().AsSlice())
		return unix.SizeofSockaddrInet4
	}
	binary.NativeEndian.PutUint16(b, unix.AF_INET6)
	copy(b[8:], to.Addr().AsSlice())
	return unix.SizeofSockaddrInet6
}
