package tracer

import (
	"fmt"
	"io"
	"path/filepath"
	"runtime"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/twtrace/twtrace/internal/conn"
	"github.com/twtrace/twtrace/internal/event"
	"github.com/twtrace/twtrace/internal/output"
	"github.com/twtrace/twtrace/internal/pressure"
	"github.com/twtrace/twtrace/internal/process"
	"github.com/twtrace/twtrace/internal/record"
	"github.com/twtrace/twtrace/internal/storm"
)

// The load of the benchmarks: both ends of each connection are on this host, as on
// loopback. Numbers are multiples of one another, so that a connection has the same
// ends and owners in each turn of the ring.
const (
	ringDests   = 80
	ringConns   = ringDests * 156 // a turn of the ring: about the 8 MiB of the real one
	ringWaiting = ringDests * 3277
	ringLive    = 100_000
	ringRate    = ringWaiting / 60 // connections per second, of the trace's clock
	ringNetNS   = 4026531833
	ringOld     = ringConns + ringWaiting // cookies start above those of before
)

// ring is the ring buffer of a kernel that never runs out of events: what a turn of
// it holds is repeated, with later connections.
type ring struct {
	samples []ringSample
	next    int
	turn    uint64
	record  bpfEvent
}

// ringSample is laid out as in the kernel's ring.
type ringSample struct {
	header uint64
	event  bpfEvent
}

func ringTime(conn uint64) uint64 { return 1e12 + conn*1e9/ringRate }

// ringEvent is an event of a connection, of its client or of its server.
func ringEvent(conn uint64, k bpfKind, client bool) bpfEvent {
	dest := conn % ringDests
	procs := [2]uint64{2000 + dest%4, 1000 + dest%16} // server, client
	e := bpfEvent{Time: ringTime(conn), Cookie: 2*conn + 1, Established: ringTime(conn), Closed: ringTime(conn) + 85_000,
		Since: ringTime(conn), Netns: ringNetNS, Kind: uint8(k), Family: 4, Role: uint8(bpfRoleROLE_SERVER), Side: uint8(bpfSideSIDE_REMOTE),
		Origin: procs[0]<<pidShift | 1, Closer: procs[0]<<pidShift | 1, Old: uint8(event.Established)}
	local, remote := [4]byte{127, 1, 0, byte(dest / 4)}, [4]byte{127, 0, 0, 1}
	lport, rport := uint16(3306+dest%4), uint16(32768+conn/ringDests%28000)
	if client {
		e.Cookie++
		e.Role, e.Side = uint8(bpfRoleROLE_CLIENT), uint8(bpfSideSIDE_LOCAL)
		e.Origin, e.Closer = procs[1]<<pidShift|1, procs[1]<<pidShift|1
		local, remote, lport, rport = remote, local, rport, lport
	}
	copy(e.Laddr[:], local[:])
	copy(e.Raddr[:], remote[:])
	e.Lport, e.Rport = lport, rport
	switch k {
	case bpfKindKIND_OPEN:
		e.Closer, e.Closed, e.Side, e.New = 0, 0, 0, uint8(event.Established)
	case bpfKindKIND_PARKED, bpfKindKIND_ENTER:
		e.Old, e.New, e.Why = uint8(event.FinWait2), uint8(event.TimeWait), uint8(bpfWhyWHY_ACTIVE)
		e.Flags = uint8(bpfEventFlagsEVENT_STAMPS_KNOWN | bpfEventFlagsEVENT_STAMPS)
	case bpfKindKIND_EXIT:
		e.Old, e.New, e.Why = uint8(event.TimeWait), uint8(event.Closed), uint8(bpfWhyWHY_EXPIRED)
		if conn%10 == 0 {
			e.Why = uint8(bpfWhyWHY_REUSED)
		}
	case bpfKindKIND_CLOSE:
		e.Old, e.New, e.Why = uint8(event.LastAck), uint8(event.Closed), uint8(bpfWhyWHY_PASSIVE)
	case bpfKindKIND_FAIL:
		e.Old, e.New, e.Lport = uint8(event.SynSent), uint8(event.Closed), 0
		e.Call, e.Err, e.Cookie = uint8(bpfCallCALL_CONNECT), 99, 0
	}
	return e
}

// newRing fills a ring with events as in real churn: of ten TIME_WAIT five are
// parked first, one in ten is reused, and a call in a hundred fails.
func newRing() *ring {
	r := new(ring)
	add := func(conn uint64, at uint64, k bpfKind, client bool) {
		e := ringEvent(conn, k, client)
		e.Time = at
		r.samples = append(r.samples, ringSample{uint64(unsafe.Sizeof(e)), e})
	}
	for i := range uint64(ringConns) {
		n := ringOld + i
		at := ringTime(n)
		if i%100 == 99 {
			add(n, at, bpfKindKIND_FAIL, true)
		}
		add(n, at, bpfKindKIND_OPEN, true)
		add(n, at+10_000, bpfKindKIND_OPEN, false)
		if i%2 == 0 {
			add(n, at+85_000, bpfKindKIND_PARKED, true)
		}
		add(n, at+90_000, bpfKindKIND_ENTER, true)
		add(n, at+95_000, bpfKindKIND_CLOSE, false)
		add(n-ringWaiting, at+99_000, bpfKindKIND_EXIT, true)
	}
	return r
}

// read copies the next sample out of the ring, which Tracer.Read does not, for it to be of
// this turn.
func (r *ring) read() []byte {
	if r.next == len(r.samples) {
		r.next = 0
		r.turn++
	}
	e := &r.record
	*e = r.samples[r.next].event
	r.next++
	on := r.turn * ringConns
	if e.Cookie != 0 {
		e.Cookie += 2 * on
	}
	later := ringTime(on) - ringTime(0)
	e.Time += later
	for _, t := range [...]*uint64{&e.Established, &e.Closed, &e.Since} {
		if *t != 0 {
			*t += later
		}
	}
	return unsafe.Slice((*byte)(unsafe.Pointer(e)), unsafe.Sizeof(*e))
}

// pipeline is the way of an event, as far as it is to go.
type pipeline struct {
	ring   *ring
	dec    decoder
	who    *process.Enricher
	table  *conn.Table
	storms *storm.Detector
	meter  *pressure.Meter
	snap   conn.Snapshot
	due    int64
	out    interface{ Write(*event.Event) error }
}

const (
	toDecode = iota
	toEnrich
	toTable
	toStorms
)

// newPipeline returns one that holds its sockets already: those in TIME_WAIT, and
// those that stay open.
func newPipeline(tb testing.TB, depth int) *pipeline {
	p := &pipeline{ring: newRing(), dec: newDecoder(conntime, 1)}
	var procs []event.Proc
	for pid := range uint64(16) {
		for _, base := range []uint64{1000, 2000} {
			id := (base+pid)<<pidShift | 1
			procs = append(procs, event.Proc{PID: uint32(base + pid), Comm: fmt.Sprintf("worker-%d", pid),
				Who: &event.Who{Start: base + pid, HasUID: true, UID: 33, PPID: 1, PComm: "systemd", CgroupID: 77}})
			p.dec.procs.known.Put(id, procs[len(procs)-1])
		}
	}
	limits := func(uint32) (conn.Limits, bool) {
		return conn.Limits{PortLow: 32768, PortHigh: 60999, Usable: 28232, MaxTW: 1 << 20, TWReuse: 2,
			ReuseDelay: time.Second, Timestamps: true}, true
	}
	if depth >= toEnrich {
		r := process.NewResolver(process.Options{})
		tb.Cleanup(r.Stop)
		p.who = process.NewEnricher(r)
		for _, proc := range procs {
			for p.who.Complete(&event.Event{Opener: proc}) {
				<-r.Answered()
			}
		}
	}
	if depth >= toTable {
		p.table = conn.New(conn.Options{Limits: limits})
	}
	if depth >= toStorms {
		p.storms, p.meter = storm.New(storm.Options{}), pressure.NewMeter(limits)
	}
	if depth >= toTable {
		p.fill(tb)
	}
	return p
}

// conntime is the offset of the clock: the traces start in 2026.
const conntime = 1_795_000_000_000_000_000

func (p *pipeline) fill(tb testing.TB) {
	for i := range uint64(ringLive) {
		raw := ringEvent(i, bpfKindKIND_OPEN, true)
		raw.Cookie = 1<<40 + i
		raw.Time, raw.Rport = ringTime(ringConns), 443
		p.take(tb, &raw)
	}
	for n := uint64(ringConns); n < ringOld; n++ {
		raw := ringEvent(n, bpfKindKIND_ENTER, true)
		p.take(tb, &raw)
	}
}

func (p *pipeline) take(tb testing.TB, raw *bpfEvent) {
	var e event.Event
	if err := p.pass(unsafe.Slice((*byte)(unsafe.Pointer(raw)), unsafe.Sizeof(*raw)), &e); err != nil {
		tb.Fatal(err)
	}
}

// pass takes a sample through the stages that there are.
func (p *pipeline) pass(sample []byte, e *event.Event) error {
	if err := p.dec.decode(sample, e); err != nil {
		return err
	}
	if p.who != nil {
		p.who.Complete(e)
	}
	if p.table != nil {
		p.table.Apply(e)
	}
	if p.storms != nil {
		p.storms.Observe(e)
		if e.Time >= p.due {
			p.tick(e.Time)
		}
	}
	if p.out != nil {
		return p.out.Write(e)
	}
	return nil
}

// tick does what is done every second.
func (p *pipeline) tick(now int64) {
	p.due = now + int64(time.Second)
	p.table.SnapshotLimited(now, &p.snap)
	r := p.meter.Measure(&p.snap)
	p.storms.Tick(&r)
}

// BenchmarkPipeline takes events out of a ring that is always full, with 262,160
// sockets in TIME_WAIT and 100,000 open ones held. Each run goes a stage further.
// A second of the trace's clock goes by every 25,000 events, and what is due then,
// the pressures and the storms, is done as often.
func BenchmarkPipeline(b *testing.B) {
	for depth, name := range []string{"decode", "enrich", "table", "storms"} {
		b.Run(name, func(b *testing.B) { newPipeline(b, depth).bench(b) })
	}
	b.Run("json", func(b *testing.B) {
		p := newPipeline(b, toStorms)
		w, err := output.New(io.Discard, output.Options{Format: output.JSON})
		if err != nil {
			b.Fatal(err)
		}
		p.out = w
		p.bench(b)
	})
	b.Run("record", func(b *testing.B) {
		p := newPipeline(b, toStorms)
		start := &event.Event{Time: conntime, Kind: event.Start, Start: &event.StartInfo{Schema: output.Schema}}
		w, err := record.NewWriter(record.Options{Path: filepath.Join(b.TempDir(), "f"), Force: true}, start, time.Unix(0, conntime))
		if err != nil {
			b.Fatal(err)
		}
		p.out = w
		p.bench(b)
	})
}

func (p *pipeline) bench(b *testing.B) {
	var e event.Event
	b.ReportAllocs()
	runtime.GC() // of what filled it
	before := cpuTime(b)
	for b.Loop() {
		if err := p.pass(p.ring.read(), &e); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N)/(cpuTime(b)-before).Seconds(), "events/core-s")
}

// cpuTime is what the process has used of all cores: on a machine that does other
// things as well, the clock on the wall shows how busy it is.
func cpuTime(tb testing.TB) time.Duration {
	var ru unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &ru); err != nil {
		tb.Fatal(err)
	}
	return time.Duration(ru.Utime.Nano() + ru.Stime.Nano())
}

// TestPipeline: what the benchmark measures is right, and steady. The numbers of
// sockets stay, nothing is unmatched or refused, and events allocate nothing.
func TestPipeline(t *testing.T) {
	p := newPipeline(t, toStorms)
	var e event.Event
	turn := func() {
		for range p.ring.samples {
			if err := p.pass(p.ring.read(), &e); err != nil {
				t.Fatal(err)
			}
		}
	}
	for range 3 {
		turn()
		v := p.table.Totals()
		if v.TimeWait != ringWaiting || v.Established != ringLive || v.Parked != 0 || v.Unmatched != 0 ||
			v.Duplicates != 0 || v.Untracked != 0 || v.Dropped != 0 || v.GroupsRefused != 0 || v.DestinationsRefused != 0 {
			t.Fatalf("%+v", v)
		}
	}
	p.due = 1 << 62
	if n := testing.AllocsPerRun(2, turn); n > 0 {
		t.Errorf("%v allocations in %d events", n, len(p.ring.samples))
	}
}

// TestPipelineMemory: what is held does not grow with what has passed, in a minute and a
// half of the trace's clock, after which every socket is another.
func TestPipelineMemory(t *testing.T) {
	p := newPipeline(t, toStorms)
	var e event.Event
	turns := func(n int) uint64 {
		for range n * len(p.ring.samples) {
			if err := p.pass(p.ring.read(), &e); err != nil {
				t.Fatal(err)
			}
		}
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before, after := turns(5), turns(30)
	t.Logf("%.1f MiB held, the ring included", float64(after)/(1<<20))
	if after > before+before/50 {
		t.Errorf("%d bytes held after 30 turns more, %d before", after, before)
	}
	runtime.KeepAlive(p)
}
