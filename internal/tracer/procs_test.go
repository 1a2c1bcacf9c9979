package tracer

import (
	"testing"

	"github.com/twtrace/twtrace/internal/event"
)

func TestWho(t *testing.T) {
	raw := bpfProc{Start: 51_509_999_999, Cgroup: 9, Tgid: 42, Uid: 1000, Ppid: 7, Pcomm: comm("\xff0123456789abcde")} // all 16 bytes
	want := event.Who{Start: 5150, HasUID: true, UID: 1000, PPID: 7, PComm: "\xff0123456789abcde", CgroupID: 9}
	if got := raw.who(); *got != want {
		t.Errorf("got  %+v\nwant %+v", *got, want)
	}
}

// TestProcsUnknown: of a process that the map has dropped the pid is known, and it is
// counted once.
func TestProcsUnknown(t *testing.T) {
	p := newProcs()
	if got := p.of(0); got != (event.Proc{}) || p.unknown != 0 {
		t.Errorf("nobody is %+v, %d unknown", got, p.unknown)
	}
	for range 2 {
		if got := p.of(4194303<<pidShift | 5); got != (event.Proc{PID: 4194303}) || p.unknown != 1 {
			t.Errorf("got %+v, %d unknown", got, p.unknown)
		}
	}
}

// TestProcsAreBounded: with new processes all the time no more are remembered, and one that
// is forgotten is asked for again.
func TestProcsAreBounded(t *testing.T) {
	m := &procMap{}
	p := newProcs(m)
	n := 20 * maxProcs
	for i := range n {
		if got := p.of(uint64(i+1) << pidShift); got.PID != uint32(i+1) || got.Comm != "abc" {
			t.Fatalf("process %d is %+v", i+1, got)
		}
		if p.known.Len() > 2*maxProcs {
			t.Fatalf("%d processes are remembered after %d", p.known.Len(), i)
		}
	}
	if m.asked != n {
		t.Errorf("the kernel was asked %d times for %d processes", m.asked, n)
	}
	if got := p.of(1 << pidShift); got.Comm != "abc" || m.asked != n+1 || p.unknown != 0 {
		t.Errorf("the first one is %+v, asked for %d times, %d unknown", got, m.asked, p.unknown)
	}
}

// procMap knows every process.
type procMap struct{ asked int }

func (m *procMap) Lookup(_, value any) error {
	m.asked++
	*value.(*bpfProc) = bpfProc{Start: 1, Pcomm: comm("sh"), Comm: comm("abc")}
	return nil
}

func (m *procMap) MaxEntries() uint32 { return 0 }
func (m *procMap) Close() error       { return nil }
