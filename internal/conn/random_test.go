package conn

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"

	"github.com/twtrace/twtrace/internal/event"
)

// history returns the events of one connection in their true order, whether it
// ends, and where it is at last.
func history(r *rand.Rand, cookie uint64, start int64) ([]event.Event, phase) {
	e := event.Event{
		Cookie: cookie, NetNS: 1 + uint32(r.IntN(2)), Role: event.Client, Time: start,
		Local:  netip.AddrPortFrom(clientEnd.Addr(), uint16(1+cookie)),
		Remote: netip.AddrPortFrom(database.Addr(), uint16(5000+r.IntN(4))),
	}
	proc := event.Proc{PID: uint32(100 + r.IntN(12)), Comm: fmt.Sprintf("p%d", r.IntN(3))}
	if r.IntN(3) == 0 {
		e.Role, e.Local, e.Remote = event.Server, webEnd, netip.AddrPortFrom(visitor.Addr(), uint16(1+cookie))
	} else if r.IntN(8) != 0 {
		e.Opener = proc
	}
	var all []event.Event
	add := func(k event.Kind, f func()) {
		e.Kind, e.Reason = k, event.ReasonNone
		e.Time += 1 + r.Int64N(second)
		if k != event.Open && k != event.Snapshot {
			e.CloseProc, e.Life, e.Closer = proc, 1+r.Int64N(second), event.LocalSide
		}
		if f != nil {
			f()
		}
		all = append(all, e)
	}
	if r.IntN(10) == 0 {
		add(event.Snapshot, nil)
	} else {
		add(event.Open, nil)
		switch r.IntN(6) {
		case 0:
			return all, live
		case 1:
			add(event.Close, nil)
			return all, ended
		case 2:
			add(event.TimeWaitRefused, nil)
			return all, ended
		case 3:
			add(event.Parked, nil)
			if r.IntN(3) == 0 {
				add(event.Close, nil)
				return all, ended
			}
		}
		add(event.TimeWaitEnter, nil)
	}
	if r.IntN(3) == 0 {
		return all, timeWait
	}
	add(event.TimeWaitExit, func() { e.Reason = event.Expired + event.Reason(r.IntN(6)) })
	return all, ended
}

// merge interleaves the histories at random, and then swaps neighbours.
func merge(r *rand.Rand, hs [][]event.Event) []event.Event {
	var all []event.Event
	open := hs
	for len(open) > 0 {
		i := r.IntN(min(len(open), 20))
		all = append(all, open[i][0])
		if open[i] = open[i][1:]; len(open[i]) == 0 {
			open = append(open[:i:i], open[i+1:]...)
		}
	}
	for range len(all) / 2 {
		i := r.IntN(len(all) - 1)
		all[i], all[i+1] = all[i+1], all[i]
	}
	return all
}

func TestRandomStreams(t *testing.T) {
	for seed := range uint64(60) {
		r := rand.New(rand.NewPCG(seed, 1))
		opt := Options{MaxPIDs: 1 + r.IntN(10)}
		if seed%3 == 0 {
			opt.MaxGroups, opt.MaxDestinations = 1+r.IntN(20), 1+r.IntN(10)
		}
		var hs [][]event.Event
		want, ends := map[phase]uint64{}, uint64(0)
		var kinds [event.Listen + 1]uint64
		for i := range 300 {
			h, last := history(r, uint64(i+1), t0)
			if seed%4 == 1 { // all without a cookie
				for j := range h {
					h[j].Cookie = 0
				}
			}
			for _, e := range h {
				kinds[e.Kind]++
			}
			hs = append(hs, h)
			want[last]++
			if h[0].Kind == event.Open && last != live {
				ends++
			}
		}
		tab := New(opt)
		for _, e := range merge(r, hs) {
			tab.Apply(&e)
			if r.IntN(200) == 0 {
				tab.Sweep(t0 + r.Int64N(400*second))
			}
			if r.IntN(20) == 0 {
				tab.SetCloseWait(e.Time, []uint64{e.Cookie, r.Uint64N(60)})
			}
			check(t, tab)
		}
		v := tab.Totals()
		got := map[phase]uint64{live: v.Open(), parked: v.Parked, timeWait: v.TimeWait}
		for p := live; p < ended; p++ {
			if got[p] != want[p] {
				t.Fatalf("seed %d: %d sockets in phase %d, want %d; %+v", seed, got[p], p, want[p], v)
			}
		}
		counts := map[event.Kind]uint64{
			event.Open: v.Opens, event.Close: v.Closes, event.TimeWaitEnter: v.Enters, event.TimeWaitExit: v.Exit(),
			event.TimeWaitRefused: v.Refused, event.Parked: v.Parks, event.Snapshot: v.Snapshots,
		}
		for k, n := range counts {
			if n != kinds[k] {
				t.Fatalf("seed %d: counted %d of %s, want %d", seed, n, k, kinds[k])
			}
		}
		if v.Ends != ends {
			t.Fatalf("seed %d: %d ends, want %d", seed, v.Ends, ends)
		}
		if v.Unmatched != 0 || v.Dropped != 0 || v.Untracked != 0 || v.Duplicates != 0 {
			t.Fatalf("seed %d: %+v", seed, v)
		}
	}
}

// FuzzApply takes any sequence of events: whatever comes, no gauge is wrong.
func FuzzApply(f *testing.F) {
	f.Add([]byte{3, 1, 5, 1, 7, 1, 3, 1})
	f.Add([]byte{7, 0, 3, 0, 5, 0, 3, 0, 2, 0, 8, 0, 16, 0, 17, 0, 9, 0})
	f.Fuzz(func(t *testing.T, data []byte) {
		tab := New(Options{MaxSockets: 3, MaxGroups: 3, MaxPIDs: 2})
		for i := 0; i+1 < len(data); i += 2 {
			b := data[i+1]
			e := event.Event{
				Kind: event.Kind(data[i] & 31), Time: t0 + int64(i)*second - int64(b>>5)*second, Cookie: uint64(b & 7),
				Role: event.Role(data[i] >> 5), New: event.State(b >> 4), Owner: event.OwnerFrom(b & 7), Closer: event.Side(b & 3),
				Reason: event.Reason(b & 31), Life: int64(b) - 1,
				Local: netip.AddrPortFrom(clientEnd.Addr(), 40000), Remote: database,
			}
			if b&8 != 0 {
				e.Opener, e.CloseProc = event.Proc{PID: uint32(b), Comm: "x"}, cron
			}
			if b&16 != 0 {
				e.Process, e.Local, e.Remote = nginx, webEnd, netip.AddrPort{}
			}
			tab.Apply(&e)
			check(t, tab)
			if b&32 != 0 {
				tab.SetCloseWait(e.Time, []uint64{uint64(b & 7), uint64(data[i] & 7)})
				check(t, tab)
			}
		}
	})
}

func BenchmarkApply(b *testing.B) {
	tab := New(Options{})
	storm(262_144, func(_ int, e *event.Event) {
		e.Kind = event.TimeWaitEnter
		tab.Apply(e)
	})
	kinds := []event.Kind{event.Open, event.TimeWaitEnter, event.TimeWaitExit}
	e := at(1, event.Open)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		e.Cookie, e.Kind = 1_000_000+uint64(i/3), kinds[i%3]
		tab.Apply(&e)
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
}
