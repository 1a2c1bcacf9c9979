package kernel

import (
	"os"
	"runtime"
	"strconv"
	"testing"
)

// BenchmarkSockets dumps the sockets of a namespace; TWTRACE_SOCKETS says how
// many there are to be (10,000 by default). It reports the most heap seen.
func BenchmarkSockets(b *testing.B) {
	count := 10000
	if s := os.Getenv("TWTRACE_SOCKETS"); s != "" {
		var err error
		if count, err = strconv.Atoi(s); err != nil {
			b.Fatal(err)
		}
	}
	n := newNetNS(b)
	n.sysctl(b, "ip_local_port_range", "1024 65535")
	for made := 0; made < count; {
		batch := min(count-made, 10000) // for one listener: past half of the range connect() searches long
		makeTimeWaits(b, n, "127.0.0.1", batch)
		made += batch
	}
	var seen int
	var mem runtime.MemStats
	var most uint64
	runtime.GC()
	b.ReportAllocs()
	for b.Loop() {
		seen = 0
		err := n.Sockets(AllStates, func(Socket) error {
			if seen++; seen%10000 == 0 {
				runtime.ReadMemStats(&mem)
				most = max(most, mem.HeapInuse)
			}
			return nil
		})
		if err != nil {
			b.Fatal(err)
		}
	}
	if seen != count {
		b.Errorf("%d sockets, made %d", seen, count)
	}
	b.ReportMetric(float64(most), "heap-bytes")
}
