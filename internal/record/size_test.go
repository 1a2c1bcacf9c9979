package record

import (
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"github.com/twtrace/twtrace/internal/event"
)

// TestSize: 64 MiB hold the records of 900,000 connections with one end on this host, 15
// minutes of 1,000 a second: 74 bytes each. What varies is as random as on a busy host: the time,
// the port, one of 80 destinations, how long it lived, and how long TIME_WAIT took.
func TestSize(t *testing.T) {
	const rate, seconds = 1000, 20
	r := rand.New(rand.NewPCG(1, 2))
	type connection struct {
		cookie uint64
		local  netip.AddrPort
		remote netip.AddrPort
		life   int64
	}
	next := uint64(1 << 22)
	connect := func() connection {
		next += 1 + r.Uint64N(3)
		return connection{next, netip.AddrPortFrom(netip.MustParseAddr("10.0.0.7"), uint16(32768+r.IntN(28232))),
			netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 2, 0, byte(r.IntN(20))}), uint16(7000+r.IntN(4))), 50_000 + r.Int64N(1_000_000)}
	}
	past := make([]connection, 60*rate) // in TIME_WAIT
	for i := range past {
		past[i] = connect()
	}
	who := &event.Who{Start: 418742, HasUID: true, PPID: 1, PComm: "systemd", Exe: "/usr/bin/checkout", Cgroup: "/system.slice/checkout.service", Unit: "checkout.service"}
	owner := event.Proc{PID: 19703, Comm: "checkout", Who: who}
	p, err := NewPacker()
	if err != nil {
		t.Fatal(err)
	}
	bytes, connections := 0, 0
	take := func(b *Block) {
		if b != nil {
			bytes += len(b.Frame)
		}
	}
	at := time.Date(2026, 11, 22, 22, 14, 7, 0, time.UTC).UnixNano()
	for tick := range 4 * seconds { // blocks of 250 ms
		for i := range rate / 4 {
			c, old := connect(), past[connections%len(past)]
			past[connections%len(past)] = c
			connections++
			e := event.Event{Time: at + int64(tick)*250e6 + int64(i)*1e6 + r.Int64N(1e6), NetNS: 4026531840, Cookie: c.cookie, Local: c.local, Remote: c.remote,
				Role: event.Client, Owner: event.ByConnect, Process: owner, Opener: owner, Kind: event.Open, Old: event.SynSent, New: event.Established}
			take(p.Add(&e))
			e.Time += c.life
			e.Kind, e.Old, e.New, e.Reason, e.Closer, e.CloseProc, e.Life, e.Stamps = event.TimeWaitEnter, event.FinWait2, event.TimeWait, event.ActiveClose, event.LocalSide, owner, c.life, event.Yes
			take(p.Add(&e))
			e.Time += r.Int64N(100_000)
			e.Cookie, e.Local, e.Remote, e.Life = old.cookie, old.local, old.remote, old.life
			e.Kind, e.Old, e.New, e.Reason, e.InState = event.TimeWaitExit, event.TimeWait, event.Closed, event.Expired, 60_000_000_000+r.Int64N(2_000_000_000)
			take(p.Add(&e))
		}
		take(p.Take())
	}
	each := float64(bytes) / float64(connections)
	t.Logf("%.1f bytes a connection", each)
	if each < 20 || each > 64<<20/900_000. {
		t.Errorf("%.1f bytes a connection", each)
	}
}
