package diagnose

import (
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"github.com/twtrace/twtrace/internal/advice"
	"github.com/twtrace/twtrace/internal/event"
)

func inUnit(pid uint32, comm, unit string, cgroup uint64) event.Proc {
	return event.Proc{PID: pid, Comm: comm, Who: &event.Who{Start: uint64(pid), Unit: unit, CgroupID: cgroup}}
}

// TestShares: who opens, who fails and who holds, by program.
func TestShares(t *testing.T) {
	any := netip.AddrPortFrom(laddr, 0)
	for _, tt := range []struct {
		name string
		do   func(b *bench)
		want string
	}{
		{"three programs", func(b *bench) {
			b.open(event.Proc{PID: 11, Comm: "orders"}, postgres, 40)
			b.open(event.Proc{PID: 12, Comm: "billing"}, postgres, 30)
			b.open(event.Proc{PID: 13, Comm: "search"}, postgres, 25)
		}, "opens 95: orders 1x 40, billing 1x 30, search 1x 25; holds 95: orders 1x 40, billing 1x 30, search 1x 25"},
		{"four workers", func(b *bench) {
			for pid := range uint32(4) {
				b.open(event.Proc{PID: 20 + pid, Comm: "worker"}, postgres, 20)
			}
		}, "opens 80: worker 4x 80; holds 80: worker 4x 80"},
		{"a swarm", func(b *bench) {
			for pid := range uint32(300) {
				b.open(event.Proc{PID: 1000 + pid, Comm: "curl", Who: &event.Who{Start: uint64(pid), PPID: 7, PComm: "cron"}}, postgres, 1)
			}
		}, "opens 300: curl 300x 300; holds 300: curl 300x 300"},
		{"one name in two units", func(b *bench) {
			b.open(inUnit(7, "python3", "shop.service", 1), postgres, 30)
			b.open(inUnit(8, "python3", "shop.service", 1), postgres, 10)
			b.open(inUnit(9, "python3", "pay.service", 2), postgres, 20)
		}, "opens 60: python3 2x 40, python3 1x 20; holds 60: python3 2x 40, python3 1x 20"},
		{"half of them unknown", func(b *bench) {
			b.open(checkout, postgres, 20)
			b.open(event.Proc{}, postgres, 20)
		}, "opens 40: checkout 1x 20; holds 40: checkout 1x 20"},
		{"who bound its ports holds none to the destination", func(b *bench) {
			b.open(checkout, postgres, 20)
			for range 7 {
				b.cookie++
				e := b.event(nginx, postgres, b.cookie, event.Open)
				e.Bound = true
				b.apply(e)
			}
		}, "opens 27: checkout 1x 20, nginx 1x 7; holds 20: checkout 1x 20"},
		{"a victim", func(b *bench) {
			first := b.open(event.Proc{PID: 5, Comm: "bench"}, postgres, 1000)
			b.end(event.Proc{PID: 5, Comm: "bench"}, postgres, first, 1000, event.TimeWaitEnter, time.Millisecond)
			for range 11 {
				b.at += time.Second
				b.facts()
			}
			for range 20 {
				b.fail(event.Proc{PID: 6, Comm: "api"}, event.Connect, event.EADDRNOTAVAIL, any, postgres)
			}
		}, "fails 20: api 1x 20; holds 1000: bench 1x 1000"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := newBench(t, 1000, Options{})
			b.at = time.Second
			tt.do(b)
			if got := sharesOf(&b.facts().Destinations[0]); got != tt.want {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
		})
	}
}

// TestGuess: whose sockets from before the trace are by a guess only.
func TestGuess(t *testing.T) {
	b := newBench(t, 1000, Options{})
	for range 20 {
		b.cookie++
		e := b.event(event.Proc{}, postgres, b.cookie, event.Snapshot)
		e.New, e.Process, e.Owner = event.TimeWait, checkout, event.Inferred
		b.apply(e)
	}
	b.open(checkout, postgres, 5)
	h := b.facts().Destinations[0].Holders
	if h.Total != 25 || len(h.List) != 1 || h.List[0].N != 25 || h.List[0].Guessed != 20 {
		t.Errorf("%+v", h)
	}
}

// TestSharesOfAny: parts add up to what the groups count, whoever does what; each process
// counts once.
func TestSharesOfAny(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for range 50 {
		b := newBench(t, 5000, Options{})
		procs := []event.Proc{{}, checkout, nginx, inUnit(7, "python3", "a.service", 1), inUnit(8, "python3", "b.service", 2), inUnit(9, "python3", "b.service", 2)}
		for range r.IntN(30) {
			p, n := procs[r.IntN(len(procs))], 1+r.IntN(20)
			first := b.open(p, postgres, n)
			if r.IntN(2) == 0 {
				b.end(p, postgres, first, 1+r.IntN(n), event.TimeWaitEnter, time.Millisecond)
			}
			b.at += time.Duration(r.IntN(3)) * time.Second
			b.facts()
		}
		for i := range b.facts().Destinations {
			d := &b.facts().Destinations[i]
			for _, c := range []*advice.Contributors{&d.Openers, &d.Failers, &d.Holders} {
				sum, seen := uint64(0), map[advice.Program]bool{}
				for i, o := range c.List {
					sum += o.N
					if k := advice.ProgramOf(o.Process); seen[k] || o.N == 0 || o.PIDs == 0 || i > 0 && o.N > c.List[i-1].N {
						t.Errorf("%+v", c)
					} else {
						seen[k] = true
					}
				}
				if sum > c.Total {
					t.Errorf("%+v: parts are %d", c, sum)
				}
			}
			if d.Holders.Total != uint64(d.States.All()) || d.Openers.Total != d.Opens {
				t.Errorf("held %d of %d, opened %d of %d", d.Holders.Total, d.States.All(), d.Openers.Total, d.Opens)
			}
		}
	}
}
