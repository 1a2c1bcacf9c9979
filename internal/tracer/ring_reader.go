package tracer

import (
	"errors"
	"fmt"
	"os"
	"sync/atomic"
	"unsafe"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

// ringReader reads a BPF ring buffer where it is. Unlike the reader of cilium/ebpf it has
// the data mapped once and not twice, which is half of the memory; it copies no sample but
// one that lies across the end; and it gives room back in pieces, since each time takes a
// cache line away from the programs, which check how far it is before they write.
type ringReader struct {
	consumer *uint64 // a page of its own, ours to write
	producer *uint64 // a page in front of the data
	data     []byte
	mappings [2][]byte
	written  uint64 // up to where samples are known to be
	at       uint64 // up to where they have been read
	freed    uint64 // up to where the kernel knows that
	piece    uint64
	split    []byte
}

// Above these bits of a sample's header is its length in bytes, and behind it the sample,
// padded to 8; see linux/bpf.h.
const (
	ringHeader = 8
	ringBusy   = unix.BPF_RINGBUF_BUSY_BIT
	ringGone   = unix.BPF_RINGBUF_DISCARD_BIT
)

func openRing(m *ebpf.Map) (*ringReader, error) {
	page, size := os.Getpagesize(), int(m.MaxEntries())
	consumer, err := unix.Mmap(m.FD(), 0, page, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, fmt.Errorf("map the reader's page: %w", err)
	}
	data, err := unix.Mmap(m.FD(), int64(page), page+size, unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("map the data: %w", err), unix.Munmap(consumer))
	}
	r := newRingReader((*uint64)(unsafe.Pointer(&consumer[0])), (*uint64)(unsafe.Pointer(&data[0])), data[page:])
	r.mappings = [2][]byte{consumer, data}
	return r, nil
}

func newRingReader(consumer, producer *uint64, data []byte) *ringReader {
	at := atomic.LoadUint64(consumer)
	return &ringReader{consumer: consumer, producer: producer, data: data,
		written: at, at: at, freed: at, piece: uint64(len(data) / 64)}
}

// size is how many bytes the ring holds.
func (r *ringReader) size() int { return len(r.data) }

// used is how many bytes have been written and not been given back. Unlike the other
// methods it may be called from any goroutine.
func (r *ringReader) used() uint64 {
	consumed := atomic.LoadUint64(r.consumer) // first: the producer only gets further ahead
	return atomic.LoadUint64(r.producer) - consumed
}

// empty reports whether all that has been written has been read.
func (r *ringReader) empty() bool { return r.at == atomic.LoadUint64(r.producer) }

// next returns the next sample, until the next call; nil if there is none, or if it is not
// finished yet.
func (r *ringReader) next() []byte {
	if r.at-r.freed >= r.piece {
		r.free()
	}
	for {
		if r.at == r.written {
			if r.written = atomic.LoadUint64(r.producer); r.at == r.written {
				break
			}
		}
		start := r.at & uint64(len(r.data)-1)
		header := atomic.LoadUint32((*uint32)(unsafe.Pointer(&r.data[start])))
		if header&ringBusy != 0 {
			break
		}
		n := uint64(header &^ ringGone)
		r.at += ringHeader + (n+7)&^7
		if header&ringGone == 0 {
			return r.sample(start+ringHeader, n)
		}
	}
	r.free()
	return nil
}

// sample is n bytes from start on, in one piece.
func (r *ringReader) sample(start, n uint64) []byte {
	size := uint64(len(r.data))
	if start == size {
		start = 0
	}
	if start+n <= size {
		return r.data[start : start+n]
	}
	r.split = append(r.split[:0], r.data[start:]...)
	r.split = append(r.split, r.data[:start+n-size]...)
	return r.split
}

// free gives the room back of what has been read.
func (r *ringReader) free() {
	if r.freed != r.at {
		r.freed = r.at
		atomic.StoreUint64(r.consumer, r.at)
	}
}

func (r *ringReader) close() error {
	return errors.Join(unix.Munmap(r.mappings[0]), unix.Munmap(r.mappings[1]))
}
