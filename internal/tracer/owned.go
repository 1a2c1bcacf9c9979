package tracer

import (
	"fmt"
	"os"
	"sync/atomic"
	"unsafe"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

// ownedPiece is how much of the owner table is mapped at a time: what is mapped counts as
// memory of this process.
const ownedPiece = 1 << 20

// Owned calls f with the connections in the owner table: the cookie, the network namespace,
// 0 for a client that has no connection yet, and when something happened to it last, as
// events have their time. A mini-socket without a cookie is left out. Unlike the other
// methods it may be called from any goroutine, but not after Close.
func (t *Tracer) Owned(f func(cookie uint64, netns uint32, last int64)) error {
	visit := func(key uint64, c *bpfConn) {
		netns := c.Netns
		if c.State == tcpSynSent {
			netns = 0
		}
		if isCookie(key) {
			f(key, netns, int64(max(c.Established, c.Closed, c.Since))+t.dec.clock)
		}
	}
	table := t.coll.Maps[bpfMapTwtraceConns]
	size := uint64(table.MaxEntries()) * uint64(unsafe.Sizeof(bpfConn{}))
	page := uint64(os.Getpagesize())
	for at := uint64(0); at < size; at += ownedPiece {
		n := min(ownedPiece, (size-at+page-1)/page*page)
		piece, err := unix.Mmap(table.FD(), int64(at), int(n), unix.PROT_READ, unix.MAP_SHARED)
		if err != nil {
			return fmt.Errorf("map the owner table: %w", err)
		}
		conns := unsafe.Slice((*bpfConn)(unsafe.Pointer(unsafe.SliceData(piece))), min(n, size-at)/uint64(unsafe.Sizeof(bpfConn{})))
		for i := range conns {
			if key := atomic.LoadUint64(&conns[i].Key); key != 0 {
				visit(key, &conns[i])
			}
		}
		if err := unix.Munmap(piece); err != nil {
			return fmt.Errorf("unmap the owner table: %w", err)
		}
	}
	return eachSpilled(t.coll.Maps[bpfMapTwtraceSpill], visit)
}

func eachSpilled(spill *ebpf.Map, visit func(uint64, *bpfConn)) error {
	var key uint64
	var c bpfConn
	all := spill.Iterate()
	for all.Next(&key, &c) {
		visit(key, &c)
	}
	if err := all.Err(); err != nil {
		return fmt.Errorf("read the owners that found no place: %w", err)
	}
	return nil
}

const tcpSynSent = 2

// isCookie reports whether the key of a connection is a cookie. Those are small, or next to
// -1; other keys are addresses of the kernel, or a slot that is being filled.
func isCookie(key uint64) bool { return key < 1<<63 || key >= 0xffffffff<<32 }
