package conn

import (
	"net/netip"
	"testing"
	"time"

	"github.com/twtrace/twtrace/internal/event"
)

var poolLocal, poolRemote = netip.MustParseAddrPort("10.0.0.1:40000"), netip.MustParseAddrPort("10.0.0.2:8080")

// client opens and closes connections of one process, a hundred times a second.
type client struct {
	t     *Table
	next  uint64
	held  []uint64
	since map[uint64]int64
}

func (c *client) open(now int64) {
	c.next++
	c.held = append(c.held, c.next)
	c.since[c.next] = now
	e := event.Event{Time: now, Kind: event.Open, Cookie: c.next, NetNS: 1, Role: event.Client, Local: poolLocal, Remote: poolRemote,
		Opener: event.Proc{PID: 7, Comm: "shop"}}
	c.t.Apply(&e)
}

// close closes the connection that was opened as the nth of those that are open.
func (c *client) close(now int64, n int) {
	k := c.held[n]
	c.held = append(c.held[:n:n], c.held[n+1:]...)
	e := event.Event{Time: now, Kind: event.TimeWaitEnter, Cookie: k, NetNS: 1, Role: event.Client, Local: poolLocal, Remote: poolRemote,
		Life: now - c.since[k], Closer: event.LocalSide}
	c.t.Apply(&e)
}

// playPool runs a client for some seconds; tick is a hundredth of one.
func playPool(seconds int, tick func(c *client, now int64, n int)) Pool {
	c := &client{t: New(Options{}), since: make(map[uint64]int64)}
	for n := range seconds * 100 {
		tick(c, t0+int64(n)*second/100, n)
	}
	var s Snapshot
	c.t.Snapshot(t0+int64(seconds)*second, &s)
	return s.Groups[0].Pool
}

// burst opens connections up to n, and closes all but keep of them in the next tick.
func burst(n, keep int) func(*client, int64, int) {
	return func(c *client, now int64, tick int) {
		if tick%2 == 0 {
			for len(c.held) < n {
				c.open(now)
			}
			return
		}
		for len(c.held) > keep {
			c.close(now, len(c.held)-1)
		}
	}
}

// turning is burst, but closes those that were opened first.
func turning(n, keep int) func(*client, int64, int) {
	return func(c *client, now int64, tick int) {
		burst(n, n)(c, now, tick)
		for tick%2 == 1 && len(c.held) > keep {
			c.close(now, 0)
		}
	}
}

func TestPool(t *testing.T) {
	for _, tt := range []struct {
		name    string
		seconds int
		tick    func(*client, int64, int)
		want    Pool
	}{
		{"none: every burst opens all", 20, burst(10, 0),
			Pool{Over: 10 * time.Second, Opens: 5000, Closed: 5000, Brief: 5000, Most: 10, Burst: 10, Emptied: 10 * time.Second}},
		{"too small: two are kept", 20, burst(10, 2),
			Pool{Over: 10 * time.Second, Opens: 4000, Closed: 4000, Brief: 4000, Least: 2, Most: 10, Burst: 10, Kept: 2}},
		{"too small: two are left, others each time", 20, turning(10, 2),
			Pool{Over: 10 * time.Second, Opens: 4000, Closed: 4000, Brief: 4000, Least: 2, Most: 10, Burst: 10, Kept: 2}},
		{"well sized", 20, burst(10, 10), Pool{Over: 10 * time.Second, Least: 10, Most: 10, Kept: 10}},
		{"followed for three seconds only", 4, burst(10, 2),
			Pool{Over: 3 * time.Second, Opens: 1200, Closed: 1200, Brief: 1200, Least: 2, Most: 10, Burst: 10, Kept: 2}},
		{"five at any time, none for long", 20, func(c *client, now int64, n int) {
			c.open(now)
			if n%50 == 49 { // they take turns
				c.open(now + second/200)
				c.close(now+second/200, 0)
			}
			if len(c.held) > 5 {
				c.close(now, 0)
			}
		}, Pool{Over: 10 * time.Second, Opens: 1020, Closed: 1020, Brief: 1020, Least: 5, Most: 7, Burst: 6}},
		{"a few connections", 20, burst(3, 3), Pool{}},
		{"nothing for a minute", 80, func(c *client, now int64, n int) {
			if n < 100 {
				burst(10, 4)(c, now, n)
			}
		}, Pool{Over: 10 * time.Second, Least: 4, Most: 4, Kept: 4}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := playPool(tt.seconds, tt.tick); got != tt.want {
				t.Errorf("%+v, want %+v", got, tt.want)
			}
		})
	}
}
