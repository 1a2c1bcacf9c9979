package diagnose

import (
	"net/netip"
	"testing"
	"time"

	"github.com/twtrace/twtrace/internal/advice"
	"github.com/twtrace/twtrace/internal/event"
	"github.com/twtrace/twtrace/internal/kernel"
)

// soleBench has n sockets in TIME_WAIT that are older than the trace, of 1,000 ports.
func soleBench(t *testing.T, n int, o Options) *bench {
	b := newBench(t, 1000, o)
	b.host.Counts = map[uint32]advice.Counted{testNetNS: {}}
	for range n {
		b.cookie++
		e := b.event(event.Proc{}, postgres, b.cookie, event.Snapshot)
		e.New, e.Remaining = event.TimeWait, int64(40*time.Second)
		b.apply(e)
	}
	return b
}

// listens has a process listen since before the trace; sock_diag shows it.
func (b *bench) listens(p event.Proc, port uint16) {
	b.cookie++
	local := netip.AddrPortFrom(netip.IPv4Unspecified(), port)
	b.apply(event.Event{Time: start.UnixNano(), Kind: event.Listen, Cookie: b.cookie, NetNS: testNetNS, New: event.Listening, Local: local, Process: p, Owner: event.ByProc})
	b.host.Dumped = append(b.host.Dumped, kernel.Socket{State: event.Listening, Local: local, Cookie: b.cookie, Inode: 7})
}

// connects has a process open a connection; sock_diag shows it.
func (b *bench) connects(p event.Proc) {
	b.open(p, netip.MustParseAddrPort("10.2.0.9:6379"), 1)
	b.host.Dumped = append(b.host.Dumped, kernel.Socket{State: event.Established, Cookie: b.cookie, Inode: 8})
}

// TestSole: one program owns all sockets, or nobody is named.
func TestSole(t *testing.T) {
	worker := event.Proc{PID: 991, Comm: "nginx", Who: &event.Who{Start: 5}}
	for _, tt := range []struct {
		name string
		held int
		o    Options
		do   func(b *bench)
		want advice.Contributor
	}{
		{"nobody", 900, Options{}, func(*bench) {}, advice.Contributor{}},
		{"a listener", 900, Options{}, func(b *bench) { b.listens(nginx, 80) }, advice.Contributor{Process: nginx, PIDs: 1, N: 1}},
		{"with a worker", 900, Options{}, func(b *bench) { b.listens(nginx, 80); b.listens(nginx, 443); b.connects(worker) }, advice.Contributor{Process: nginx, PIDs: 2, N: 3}},
		{"two programs", 900, Options{}, func(b *bench) { b.listens(nginx, 80); b.connects(checkout) }, advice.Contributor{}},
		{"one name in two units", 900, Options{}, func(b *bench) {
			b.listens(inUnit(7, "python3", "shop", 1), 80)
			b.connects(inUnit(8, "python3", "pay", 2))
		}, advice.Contributor{}},
		{"a listener of nobody known", 900, Options{}, func(b *bench) {
			b.listens(nginx, 80)
			b.host.Dumped = append(b.host.Dumped, kernel.Socket{State: event.Listening, Local: netip.MustParseAddrPort("0.0.0.0:22"), Inode: 9})
		}, advice.Contributor{}},
		{"a second one on the same port", 900, Options{}, func(b *bench) {
			b.listens(nginx, 80)
			b.host.Dumped = append(b.host.Dumped, b.host.Dumped[0])
		}, advice.Contributor{}},
		{"a connection of nobody known", 900, Options{}, func(b *bench) {
			b.listens(nginx, 80)
			b.host.Dumped = append(b.host.Dumped, kernel.Socket{State: event.SynSent, Cookie: 1 << 40, Inode: 9})
		}, advice.Contributor{}},
		{"an orphan", 900, Options{}, func(b *bench) {
			b.listens(nginx, 80)
			b.host.Dumped = append(b.host.Dumped, kernel.Socket{State: event.LastAck, Cookie: 1 << 40})
		}, advice.Contributor{Process: nginx, PIDs: 1, N: 1}},
		{"another one left TIME_WAIT elsewhere", 900, Options{}, func(b *bench) {
			b.listens(nginx, 80)
			to := netip.MustParseAddrPort("10.2.0.9:6379")
			b.end(checkout, to, b.open(checkout, to, 1), 1, event.TimeWaitEnter, time.Second)
		}, advice.Contributor{}},
		{"process 1", 900, Options{}, func(b *bench) { b.listens(event.Proc{PID: 1, Comm: "systemd"}, 80) }, advice.Contributor{}},
		{"an owner is known", 900, Options{}, func(b *bench) { b.listens(nginx, 80); b.open(nginx, postgres, 1) }, advice.Contributor{}},
		{"few ports are held", 400, Options{}, func(b *bench) { b.listens(nginx, 80) }, advice.Contributor{}},
		{"a recording", 900, Options{TablesOnly: true}, func(b *bench) { b.listens(nginx, 80) }, advice.Contributor{}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := soleBench(t, tt.held, tt.o)
			tt.do(b)
			got := b.facts().Traffic.Sole
			if got.Process.PID != tt.want.Process.PID || got.Process.Comm != tt.want.Process.Comm || got.PIDs != tt.want.PIDs || got.N != tt.want.N {
				t.Errorf("%+v, want %+v", got, tt.want)
			}
		})
	}
}
