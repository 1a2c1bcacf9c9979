package conn

import (
	"encoding/binary"
	"net/netip"
	"testing"
)

func TestSketch(t *testing.T) {
	for _, n := range []int{0, 1, 10, 100, 1000, 10000} {
		tab := New(Options{})
		var s sketch
		for i := range n {
			var b [4]byte
			binary.BigEndian.PutUint32(b[:], uint32(i))
			tab.tallyAddr(&s, netip.AddrFrom4(b))
			tab.tallyAddr(&s, netip.AddrFrom4(b))
		}
		if got := s.count(); got < n-n/8-2 || got > n+n/8+2 {
			t.Errorf("%d distinct are counted as %d", n, got)
		}
	}
}

func TestPIDSketch(t *testing.T) {
	var s, other PIDSketch
	if n := s.Count(); n != 0 {
		t.Errorf("an empty sketch counts %d", n)
	}
	for _, n := range []uint32{1, 10, 100} {
		s, other = PIDSketch{}, PIDSketch{}
		for pid := range n {
			s.Add(1000 + pid)
			s.Add(1000 + pid)
			other.Add(1000 + pid/2)
		}
		if got := s.Count(); got < int(n-n/3) || got > int(n+n/3) {
			t.Errorf("%d processes are counted as %d", n, got)
		}
		merged := s
		merged.Merge(&other)
		if merged != s {
			t.Errorf("%d processes and half of them again are %d", n, merged.Count())
		}
	}
}
