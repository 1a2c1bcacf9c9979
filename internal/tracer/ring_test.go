package tracer

import (
	"fmt"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"golang.org/x/sys/unix"

	"github.com/twtrace/twtrace/internal/kerneltest"
)

// writer writes events into a ring as fast as a CPU can.
type writer struct {
	program  *ebpf.Program
	consumed *uint64 // positions in the ring
	produced *uint64
}

// burst is how many events a run writes: as many as the verifier counts, and less
// than the ring holds twice.
const burst = 20_000

func newWriter(b *testing.B, ring *ebpf.Map) writer {
	b.Helper()
	size := int16(unsafe.Sizeof(bpfEvent{}))
	code := asm.Instructions{asm.Mov.Imm(asm.R7, burst), asm.Mov.Imm(asm.R0, 0)}
	for at := -size; at < 0; at += 8 {
		code = append(code, asm.StoreMem(asm.RFP, at, asm.R0, asm.DWord))
	}
	code = append(code,
		asm.LoadMapPtr(asm.R1, ring.FD()).WithSymbol("write"),
		asm.Mov.Reg(asm.R2, asm.RFP), asm.Add.Imm(asm.R2, -int32(size)),
		asm.Mov.Imm(asm.R3, int32(size)),
		asm.Mov.Imm(asm.R4, unix.BPF_RB_NO_WAKEUP),
		asm.FnRingbufOutput.Call(),
		asm.Add.Imm(asm.R7, -1),
		asm.JNE.Imm(asm.R7, 0, "write"),
		asm.Mov.Imm(asm.R0, 0), asm.Return())
	p, err := ebpf.NewProgram(&ebpf.ProgramSpec{Name: "write_ring", Type: ebpf.Syscall, Flags: unix.BPF_F_SLEEPABLE, Instructions: code, License: "GPL"})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { p.Close() })
	page := os.Getpagesize()
	positions := func(at int64, prot int) *uint64 {
		m, err := unix.Mmap(ring.FD(), at, page, prot, unix.MAP_SHARED)
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { unix.Munmap(m) })
		return (*uint64)(unsafe.Pointer(&m[0]))
	}
	return writer{p, positions(0, unix.PROT_READ|unix.PROT_WRITE), positions(int64(page), unix.PROT_READ)}
}

// run writes n events on a CPU, all of them into an empty ring.
func (w writer) run(cpu, n int) error {
	runtime.LockOSThread() // for good: the thread ends with its affinity
	var set unix.CPUSet
	set.Set(cpu)
	if err := unix.SchedSetaffinity(0, &set); err != nil {
		return err
	}
	for range n / burst {
		atomic.StoreUint64(w.consumed, atomic.LoadUint64(w.produced))
		if _, err := w.program.Run(&ebpf.RunOptions{}); err != nil {
			return err
		}
	}
	return nil
}

// BenchmarkRing is what writing an event costs when several CPUs do nothing else: into
// one ring, whose lock they share, and into a ring each. CPU time, of one of them.
func BenchmarkRing(b *testing.B) {
	kerneltest.RequireRoot(b)
	for cpus := 1; cpus <= runtime.NumCPU() && cpus <= 64; cpus *= 2 {
		for _, own := range []bool{false, true} {
			b.Run(fmt.Sprintf("%dcpus/own=%v", cpus, own), func(b *testing.B) { benchRing(b, cpus, own) })
		}
	}
}

func benchRing(b *testing.B, cpus int, own bool) {
	var rings []*ebpf.Map
	for range cpus {
		ring, err := ebpf.NewMap(&ebpf.MapSpec{Type: ebpf.RingBuf, MaxEntries: 8 << 20})
		if err != nil {
			b.Fatal(err)
		}
		defer ring.Close()
		rings = append(rings, ring)
	}
	var writers []writer
	for i := range cpus {
		if !own {
			i = 0
		}
		writers = append(writers, newWriter(b, rings[i]))
	}
	each := max(b.N/burst, 1) * burst
	b.ResetTimer()
	before := cpuTime(b)
	var wait sync.WaitGroup
	for cpu, w := range writers {
		wait.Go(func() {
			if err := w.run(cpu, each); err != nil {
				b.Error(err)
			}
		})
	}
	wait.Wait()
	used := cpuTime(b) - before
	b.ReportMetric(float64(used/time.Nanosecond)/float64(each*cpus), "cpu-ns/event")
}
