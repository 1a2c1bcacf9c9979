package tracer

import (
	"math"
	"math/rand/v2"
	"testing"
	"unsafe"
)

// machine is a larger one than there is to measure on, as docs/scale.md has it: CPUs that
// write events into one ring at random, and one reader. Times are in ns.
type machine struct {
	events float64 // per second, of all CPUs
	lock   float64 // to get the ring's lock from the CPU that had it last, and write
	read   float64 // an event by the reader, up to where it goes
	buffer int     // bytes
}

// outcome is what became of it.
type outcome struct {
	written, lost int
	wait          float64 // for the lock, mean
}

// run simulates some seconds, event by event.
func (m machine) run(seconds float64) (o outcome) {
	const size = ringHeader + int(unsafe.Sizeof(bpfEvent{}))
	random := rand.New(rand.NewPCG(1, 2))
	room := m.buffer / size
	var (
		held   int                     // events in the ring
		wakes  = float64(pollInterval) // when the reader is back; the ring is empty at the start
		reads  = math.Inf(1)           // when it is done with the event in hand
		since  int                     // events read since the ring was empty
		free   float64                 // when the lock is
		waited float64                 // in all
		apart  = 1e9 / m.events        // mean time between two events
		now    = random.ExpFloat64() * apart
	)
	for ; now < seconds*1e9; now += random.ExpFloat64() * apart {
		for min(wakes, reads) <= now {
			if reads <= now {
				held--
				since++
				wakes, reads = reads, math.Inf(1)
			}
			at := wakes
			switch {
			case held > 0:
				wakes, reads = math.Inf(1), at+m.read
			case since*size > m.buffer/8:
				wakes, since = at+float64(busyInterval), 0
			default:
				wakes, since = at+float64(pollInterval), 0
			}
		}
		start := max(now, free)
		waited += start - now
		free = start + m.lock
		if held == room {
			o.lost++
			continue
		}
		held++
		o.written++
	}
	o.wait = waited / float64(o.written+o.lost)
	return o
}

// TestScale holds docs/scale.md to a simulation of what it calculates: how long CPUs wait
// for the ring's lock, and which reader carries what.
func TestScale(t *testing.T) {
	const perConn = 5.5 // events, of both ends
	for _, tt := range []struct{ conns, lock, wait float64 }{
		{24e3, 100, 1}, {24e3, 200, 3},
		{100e3, 100, 3}, {100e3, 200, 12},
		{270e3, 100, 9}, {270e3, 200, 42},
		{500e3, 100, 19}, {500e3, 200, 122},
		{700e3, 100, 31}, {700e3, 200, 335},
		{900e3, 100, 49},
	} {
		o := machine{events: perConn * tt.conns, lock: tt.lock, buffer: 1 << 30}.run(0.5)
		t.Logf("%.0f connections/s, %.0f ns: waits %.1f ns", tt.conns, tt.lock, o.wait)
		if math.Abs(o.wait-tt.wait) > 1+tt.wait/8 {
			t.Errorf("%.0f connections/s, %.0f ns: waits %.1f ns, want %.0f", tt.conns, tt.lock, o.wait, tt.wait)
		}
	}
	const view, stream, file = 280, 430, 880 // BenchmarkPipeline/storms, json and record
	for _, tt := range []struct {
		name    string
		conns   float64
		read    float64
		buffer  int
		carries bool
	}{
		{"all that two cores make, into a file", 24e3, file, 8 << 20, true},
		{"a file at its limit", 200e3, file, 64 << 20, true},
		{"more than a file takes", 260e3, file, 64 << 20, false},
		{"a stream at its limit", 420e3, stream, 64 << 20, true},
		{"more than a stream takes", 490e3, stream, 64 << 20, false},
		{"the first burst of a view", 500e3, view, 8 << 20, false},
		{"a view with a larger buffer", 500e3, view, 64 << 20, true},
	} {
		o := machine{events: perConn * tt.conns, lock: 100, read: tt.read, buffer: tt.buffer}.run(3)
		t.Logf("%s: %d of %d events lost", tt.name, o.lost, o.lost+o.written)
		if carries := o.lost == 0; carries != tt.carries {
			t.Errorf("%s: %d of %d events lost", tt.name, o.lost, o.lost+o.written)
		}
	}
}
