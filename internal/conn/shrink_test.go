package conn

import (
	"net/netip"
	"runtime"
	"testing"
	"time"

	"github.com/twtrace/twtrace/internal/event"
)

// TestScanLeavesNoMemory: when a scan of many destinations is over, so is what it took.
func TestScanLeavesNoMemory(t *testing.T) {
	held := func() uint64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	tab := New(Options{})
	var s Snapshot
	scan := func(from, n int, at int64) {
		for i := from; i < from+n; i++ {
			e := event.Event{Time: at, Cookie: uint64(i + 1), NetNS: 1, Kind: event.Open, Role: event.Client, Local: netip.MustParseAddrPort("10.0.0.1:40000"),
				Remote: netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}), 80), Opener: event.Proc{PID: 1, Comm: "scan"}}
			tab.Apply(&e)
			e.Kind, e.Reason = event.Close, event.ResetReceived
			tab.Apply(&e)
		}
	}
	now := time.Date(2026, 11, 22, 22, 14, 7, 0, time.UTC).UnixNano()
	scan(0, 100, now)
	tab.Snapshot(now, &s)
	before := held()
	scan(100, 30_000, now)
	tab.Snapshot(now, &s)
	if n := len(s.Groups); n < 30_000 {
		t.Fatalf("%d groups, %d destinations", n, len(s.Destinations))
	}
	scanned := held()
	for range 30 {
		now += int64(10 * time.Second)
		scan(0, 100, now)
		tab.Snapshot(now, &s)
	}
	after := held()
	t.Logf("%d KiB before, %d in it, %d after", before>>10, scanned>>10, after>>10)
	if len(s.Groups) > 100 || after > before+4<<20 || scanned < before+40<<20 {
		t.Errorf("%d groups; %d KiB before the scan, %d in it, %d after", len(s.Groups), before>>10, scanned>>10, after>>10)
	}
	runtime.KeepAlive(tab)
	runtime.KeepAlive(s)
}

func TestShrunk(t *testing.T) {
	m, peak := make(map[int]int), 0
	for i := range 100_000 {
		m[i] = i
	}
	if m = shrunk(m, &peak); peak != 100_000 || len(m) != peak {
		t.Fatalf("%d of %d", len(m), peak)
	}
	for i := range 99_000 {
		delete(m, i)
	}
	if m = shrunk(m, &peak); peak != 1000 || len(m) != 1000 || m[99_500] != 99_500 {
		t.Errorf("%d of %d, %d", len(m), peak, m[99_500])
	}
	list := make([]int, 5, 50_000)
	if got := again(list, 5); got != nil {
		t.Error("a list that is far too large is used again")
	}
	if got := again(list, 10_000); cap(got) != 50_000 || len(got) != 0 {
		t.Errorf("a list of %d has %d elements", cap(got), len(got))
	}
}
