package tracer

import (
	"encoding/binary"
	"errors"
	"io"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
	"unsafe"

	"github.com/twtrace/twtrace/internal/event"
)

// memoryRing is a ring as the kernel would write it, in memory.
type memoryRing struct {
	data               []byte
	consumer, producer uint64
}

func newMemoryRing(size int) *memoryRing {
	words := make([]uint64, size/8)
	return &memoryRing{data: unsafe.Slice((*byte)(unsafe.Pointer(&words[0])), size)}
}

func (m *memoryRing) reader() *ringReader { return newRingReader(&m.consumer, &m.producer, m.data) }

// write returns where the header of the sample is, nil if there is no room.
func (m *memoryRing) write(sample []byte, flags uint32) (header []byte) {
	size := uint64(len(m.data))
	n := uint64(ringHeader+len(sample)+7) &^ 7
	if m.producer+n-m.consumer > size {
		return nil
	}
	header = m.data[m.producer%size:][:4]
	binary.NativeEndian.PutUint32(header, uint32(len(sample))|flags)
	for i, b := range sample {
		m.data[(m.producer+ringHeader+uint64(i))%size] = b
	}
	m.producer += n
	return header
}

// newTestReader returns a reader of a ring, and how often it tended and ended.
func newTestReader(m *memoryRing) (r *reader, tended, ended *int) {
	tended, ended = new(int), new(int)
	return &reader{ring: m.reader(), dec: newDecoder(0, 1), stop: make(chan struct{}),
		tend: func() { *tended++ }, end: func() { *ended++ }}, tended, ended
}

func opened(t *testing.T, cookie uint64) []byte {
	return sample(t, bpfEvent{Kind: uint8(bpfKindKIND_OPEN), Family: 4, Cookie: cookie})
}

// TestRead goes through what a reader says: events, that there are none now, what was
// written before the hooks went, and the end.
func TestRead(t *testing.T) {
	m := newMemoryRing(4096)
	r, tended, ended := newTestReader(m)
	next := func(want error, cookie uint64) {
		t.Helper()
		var e event.Event
		if err := r.Read(&e); !errors.Is(err, want) || e.Cookie != cookie {
			t.Fatalf("%v with cookie %d, want %v with %d", err, e.Cookie, want, cookie)
		}
	}
	next(ErrIdle, 0)
	if r.Emptied().IsZero() || *tended != 0 {
		t.Errorf("emptied at %v, tended %d times before the first wait", r.Emptied(), *tended)
	}
	m.write(opened(t, 1), 0)
	m.write([]byte("no event"), 0)
	m.write(sample(t, bpfEvent{Kind: 99, Cookie: 7}), 0)
	m.write(opened(t, 2), 0)
	next(nil, 1)
	next(nil, 2)
	if *tended != 1 || r.undecoded != 2 {
		t.Errorf("tended %d times, %d samples that are no events", *tended, r.undecoded)
	}
	next(ErrIdle, 0)

	r.Stop()
	r.Stop()
	r.end = func() { *ended++; m.write(opened(t, 3), 0) } // the last before the hooks went
	next(ErrIdle, 0)
	next(nil, 3)
	next(io.EOF, 0)
	next(io.EOF, 0)
	r.finish()
	if *ended != 1 {
		t.Errorf("the hooks went %d times", *ended)
	}
}

// TestReadUnfinished waits at the end for a sample that a program has not finished, and
// does not call the ring empty meanwhile.
func TestReadUnfinished(t *testing.T) { synctest.Test(t, testReadUnfinished) }

func testReadUnfinished(t *testing.T) {
	m := newMemoryRing(4096)
	r, _, _ := newTestReader(m)
	header := m.write(opened(t, 1), ringBusy)
	var e event.Event
	if err := r.Read(&e); !errors.Is(err, ErrIdle) || !r.Emptied().IsZero() {
		t.Fatalf("%v, emptied at %v", err, r.Emptied())
	}
	r.Stop()
	if err := r.Read(&e); !errors.Is(err, ErrIdle) {
		t.Fatal(err)
	}
	read := make(chan error)
	go func() { read <- r.Read(&e) }()
	time.Sleep(time.Hour)
	select {
	case err := <-read:
		t.Fatalf("%v before the sample was finished", err)
	default:
	}
	atomic.StoreUint32((*uint32)(unsafe.Pointer(&header[0])), uint32(unsafe.Sizeof(bpfEvent{})))
	if err := <-read; err != nil || e.Cookie != 1 {
		t.Errorf("cookie %d: %v", e.Cookie, err)
	}
}

// TestReadInterval polls sooner while the ring fills up, and not at all after Stop.
func TestReadInterval(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemoryRing(1024)
		r, _, _ := newTestReader(m)
		waits := func(size int, want time.Duration) {
			t.Helper()
			r.size = size
			start := time.Now()
			if r.wait(); time.Since(start) != want || r.size != 0 {
				t.Errorf("waited %v after %d bytes, want %v", time.Since(start), size, want)
			}
		}
		waits(0, pollInterval)
		waits(1024/8, pollInterval)
		waits(1024/8+1, busyInterval)
		r.Stop()
		waits(0, 0)
	})
}
