package tracer

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"testing"
)

// TestRingReader reads a ring of 256 bytes as the kernel would write it, all around
// some hundred times: samples of all lengths, discarded ones, and one that is not finished.
func TestRingReader(t *testing.T) {
	const size = 256
	m := newMemoryRing(size)
	r := m.reader()
	var want [][]byte
	random := rand.New(rand.NewPCG(1, 2))
	split, refused := 0, 0
	for range 10_000 {
		sample := make([]byte, random.IntN(size/4))
		for i := range sample {
			sample[i] = byte(random.Int())
		}
		flags := uint32(0)
		if random.IntN(8) == 0 {
			flags = ringGone
		}
		from := m.producer % size
		switch {
		case m.write(sample, flags) == nil:
			refused++
		case flags == 0:
			want = append(want, sample)
			if from+ringHeader < size && from+ringHeader+uint64(len(sample)) > size {
				split++
			}
		}
		for random.IntN(2) == 0 {
			got := r.next()
			if len(want) == 0 {
				if got != nil || !r.empty() {
					t.Fatalf("%q out of an empty ring; empty: %v", got, r.empty())
				}
				break
			}
			if got == nil || !bytes.Equal(got, want[0]) {
				t.Fatalf("got %q, want %q", got, want[0])
			}
			want = want[1:]
		}
	}
	for _, sample := range want {
		if got := r.next(); !bytes.Equal(got, sample) {
			t.Fatalf("got %q, want %q", got, sample)
		}
	}
	if split == 0 || refused == 0 {
		t.Errorf("%d samples lay across the end, and %d found no room: nothing tested", split, refused)
	}

	r.next()
	header := m.write([]byte("slow"), ringBusy)
	m.write([]byte("fast"), 0)
	if n := r.used(); n != 2*(ringHeader+8) {
		t.Errorf("%d bytes are in use, want those of two samples of 4 bytes", n)
	}
	if got := r.next(); got != nil || r.empty() {
		t.Errorf("%q, and empty is %v, while a sample is not finished", got, r.empty())
	}
	binary.NativeEndian.PutUint32(header, 4)
	for _, want := range []string{"slow", "fast", ""} {
		if got := r.next(); string(got) != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	if m.consumer != m.producer || !r.empty() {
		t.Errorf("%d of %d bytes given back", m.consumer, m.producer)
	}
}
