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
	p := newProcs(nil)
	if got := p.of(0); got != (event.Proc{}) || p.unknown != 0 {
		t.Errorf("nobody is %+v, %d unknown", got, p.unknown)
	}
	for range 2 {
		if got := p.of(4194303<<pidShift | 5); got != (event.Proc{PID: 4194303}) || p.unknown != 1 {
			t.Errorf("got %+v, %d unknown", got, p.unknown)
		}
	}
}
