package metrics

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/twtrace/twtrace/internal/conn"
	"github.com/twtrace/twtrace/internal/event"
	"github.com/twtrace/twtrace/internal/monitor"
)

// crowd is a table that many owners use at random.
type crowd struct {
	table    *conn.Table
	snapshot conn.Snapshot
	cookie   uint64
	now      time.Time
	open     []event.Event
	random   *rand.Rand
}

func newCrowd() *crowd {
	return &crowd{table: conn.New(conn.Options{}), now: start, random: rand.New(rand.NewPCG(1, 2))}
}

// connect opens a connection of an owner, which is closed later.
func (c *crowd) connect(owner int) {
	c.cookie++
	e := event.Event{Time: c.now.UnixNano(), Kind: event.Open, NetNS: testNetNS + uint32(owner%100), Cookie: c.cookie, Role: event.Client,
		Opener: proc(uint32(owner+2), fmt.Sprintf("owner-%d", owner), ""),
		Local:  netip.AddrPortFrom(netip.MustParseAddr("10.0.0.7"), uint16(c.cookie)), Remote: netip.MustParseAddrPort("10.2.0.9:5432")}
	if c.random.IntN(20) == 0 {
		e.Kind, e.Call, e.Errno = event.Fail, event.Connect, uint16(90+c.random.IntN(30))
	}
	c.table.Apply(&e)
	if e.Kind == event.Open {
		c.open = append(c.open, e)
	}
}

// close closes the oldest n connections.
func (c *crowd) close(n int) {
	n = min(n, len(c.open))
	for _, e := range c.open[:n] {
		e.Time, e.Kind, e.Life, e.Closer = c.now.UnixNano(), event.Close, c.now.UnixNano()-e.Time+1, event.Side(c.random.IntN(4))
		c.table.Apply(&e)
	}
	c.open = c.open[n:]
}

func (c *crowd) sample() *monitor.Sample {
	c.table.Snapshot(c.now.UnixNano(), &c.snapshot)
	return &monitor.Sample{Now: c.now, Table: &c.snapshot}
}

// TestBound: 10,000 owners that come and go over two hours, 100 namespaces. The number of
// series is bounded, counters only grow as long as their series lasts, and with what
// retired owners had, they sum up to the totals of the table at every sample.
func TestBound(t *testing.T) {
	const most = 50
	m := New(Options{TopOwners: most})
	c := newCrowd()
	var before map[string]float64
	seen := make(map[string]bool)
	for i := range 240 {
		for range 400 {
			c.connect(40*i + c.random.IntN(400))
		}
		c.close(350)
		m.Observe(c.sample())
		all := series(t, m)
		totals := c.table.Totals()
		for metric, want := range map[string]uint64{"twtrace_connections_opened_total": totals.Opens, "twtrace_connections_closed_total": totals.Ends,
			"twtrace_connections_short_lived_total": totals.Short, "twtrace_connections_failed_total": totals.Fails.Total()} {
			now, n := sum(all, metric)
			gone := all["twtrace_series_retired_value_total{metric="+metric+"}"]
			if now+gone != float64(want) {
				t.Fatalf("sample %d: %s sums up to %v, and %v of retired owners; want %d", i, metric, now, gone, want)
			}
			if limit := map[string]int{"twtrace_connections_closed_total": 4 * (most + 3), "twtrace_connections_failed_total": 2*most + 150}[metric]; n > max(limit, most+3) {
				t.Fatalf("sample %d: %d series of %s", i, n, metric)
			}
		}
		_, kinds := sum(all, "twtrace_connections_failed_total")
		if _, of := sum(all, "twtrace_connections_failed_total", "comm=_other"); kinds-of > maxFailures*most {
			t.Fatalf("sample %d: %d series of failures of owners", i, kinds-of)
		}
		if n, _ := sum(all, "twtrace_connections_open"); n != float64(totals.Open()) {
			t.Fatalf("sample %d: %v open, want %d", i, n, totals.Open())
		}
		if _, n := sum(all, "twtrace_time_wait_sockets"); n > MaxNetNS+1 {
			t.Fatalf("sample %d: %d namespaces", i, n)
		}
		for name, v := range all {
			if strings.Contains(name, "_total{") && v < before[name] {
				t.Fatalf("sample %d: %s is %v after %v", i, name, v, before[name])
			}
			seen[name] = true
		}
		before = all
		c.now = c.now.Add(30 * time.Second)
	}
	_, owners := sum(asSet(seen), "twtrace_connections_opened_total")
	if owners < 3*most {
		t.Errorf("only %d owners ever had series: none gave its up to another", owners)
	}
	if n := before["twtrace_series_folded_total{metric=twtrace_connections_opened_total}"]; n < 1000 {
		t.Errorf("%v owners folded", n)
	}
	if n := len(m.owners.all); n > 4000 {
		t.Errorf("%d owners are remembered", n)
	}
}

func asSet(names map[string]bool) map[string]float64 {
	out := make(map[string]float64)
	for n := range names {
		out[n] = 1
	}
	return out
}

// TestStays: an owner keeps its series while smaller ones come, and gives it up to one that
// is much larger, once it had it for a while.
func TestStays(t *testing.T) {
	m := New(Options{TopOwners: 2})
	c := newCrowd()
	at := func(owner int) float64 {
		_, n := sum(series(t, m), "twtrace_connections_opened_total", fmt.Sprintf("comm=owner-%d,", owner))
		return float64(n)
	}
	step := func(n ...int) {
		for owner, times := range n {
			for range times {
				c.connect(owner)
			}
		}
		m.Observe(c.sample())
		c.now = c.now.Add(10 * time.Second)
	}
	step(20, 10, 5)
	if at(0) != 1 || at(1) != 1 || at(2) != 0 {
		t.Fatal("the two largest have no series")
	}
	for range 10 {
		step(1, 1, 20)
	}
	if at(0) != 1 || at(1) != 1 || at(2) != 0 {
		t.Error("series changed owners within two minutes")
	}
	var two, three time.Time
	for range 40 {
		step(1, 1, 20, 20)
		if two.IsZero() && at(2) == 1 {
			two = c.now
		}
		if three.IsZero() && at(3) == 1 {
			three = c.now
		}
	}
	if at(2) != 1 || at(3) != 1 {
		t.Error("the largest by far have no series after seven minutes")
	}
	if apart := three.Sub(two).Abs(); apart < replaceOnce {
		t.Errorf("two owners gave their series up within %v", apart)
	}
	all := series(t, m)
	total := c.table.Totals()
	if n, _ := sum(all, "twtrace_connections_opened_total"); n+all["twtrace_series_retired_value_total{metric=twtrace_connections_opened_total}"] != float64(total.Opens) {
		t.Errorf("%v opened, want %d", n, total.Opens)
	}
}

// TestMoves: when the owner of a young connection becomes better known, its opening moves
// to another group. No counter shrinks, and it is not counted twice.
func TestMoves(t *testing.T) {
	m := New(Options{})
	c := newCrowd()
	e := event.Event{Time: c.now.UnixNano(), Kind: event.Open, NetNS: testNetNS, Cookie: 1, Role: event.Server,
		Local: netip.MustParseAddrPort("10.0.0.7:80"), Remote: netip.MustParseAddrPort("10.9.0.1:4000")}
	c.table.Apply(&e)
	m.Observe(c.sample())
	c.now = c.now.Add(time.Second)
	e.Kind, e.Time, e.CloseProc, e.Closer, e.Life = event.Close, c.now.UnixNano(), proc(7, "worker", ""), event.LocalSide, int64(time.Second)
	c.table.Apply(&e)
	other := e
	other.Cookie, other.Kind, other.Life, other.Closer, other.CloseProc, other.Accepter = 2, event.Open, 0, 0, event.Proc{}, proc(7, "worker", "")
	c.table.Apply(&other)
	m.Observe(c.sample())
	all := series(t, m)
	wants(t, all, map[string]float64{
		"twtrace_connections_opened_total{comm=_unknown,role=server}":               1,
		"twtrace_connections_opened_total{comm=worker,role=server}":                 1,
		"twtrace_connections_closed_total{closed_by=local,comm=worker,role=server}": 1,
	})
	if n, _ := sum(all, "twtrace_connections_opened_total"); n != 2 {
		t.Errorf("%v opened", n)
	}
}

// TestFailures: kinds of failures have series as long as there is room. Further ones count as
// those of _other, and nothing is lost.
func TestFailures(t *testing.T) {
	m := New(Options{TopOwners: 2})
	c := newCrowd()
	errno := []unix.Errno{unix.EADDRINUSE, unix.ECONNREFUSED, unix.ETIMEDOUT, unix.EHOSTUNREACH, unix.ENETUNREACH, unix.EPROTO, unix.ENOLINK}
	for i, n := range errno {
		for range i + 1 {
			e := event.Event{Time: c.now.UnixNano(), Kind: event.Fail, NetNS: testNetNS, Role: event.Client, Opener: proc(7, "scan", ""), Call: event.Connect,
				Errno: uint16(n), Local: netip.MustParseAddrPort("10.0.0.7:0"), Remote: netip.AddrPortFrom(netip.MustParseAddr("10.2.0.9"), uint16(i+1))}
			c.table.Apply(&e)
		}
		m.Observe(c.sample())
	}
	all := series(t, m)
	wants(t, all, map[string]float64{
		"twtrace_connections_failed_total{call=connect,comm=scan,errno=EADDRINUSE,role=client}":     1,
		"twtrace_connections_failed_total{call=connect,comm=scan,errno=ETIMEDOUT,role=client}":      3,
		"twtrace_connections_failed_total{call=connect,comm=_other,errno=EHOSTUNREACH,role=client}": 4,
		"twtrace_connections_failed_total{call=connect,comm=_other,errno=other,role=client}":        13,
		"twtrace_series_folded_total{metric=twtrace_connections_failed_total}":                      22,
	})
	if n, _ := sum(all, "twtrace_connections_failed_total"); n != 28 {
		t.Errorf("%v failures", n)
	}
}

// TestHostile: names from outside are valid and bounded, and none passes for ours.
func TestHostile(t *testing.T) {
	m := New(Options{})
	c := newCrowd()
	for i, comm := range []string{"a\"b\\c\nd", "\xff\xfe", other, nobody, "_" + other, "", strings.Repeat("x", 16)} {
		c.cookie++
		e := event.Event{Time: c.now.UnixNano(), Kind: event.Open, NetNS: testNetNS, Cookie: c.cookie, Role: event.Client,
			Opener: proc(uint32(i+2), comm, strings.Repeat("é", 200)+".service"),
			Local:  netip.AddrPortFrom(netip.MustParseAddr("10.0.0.7"), uint16(c.cookie)), Remote: netip.MustParseAddrPort("10.2.0.9:5432")}
		c.table.Apply(&e)
	}
	m.Observe(c.sample())
	families, err := m.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		for _, v := range f.Metric {
			for _, l := range v.Label {
				if len(l.GetValue()) > maxLabel || !strings.HasPrefix(strings.ToValidUTF8(l.GetValue(), "?"), l.GetValue()) {
					t.Errorf("%s has %s=%q", f.GetName(), l.GetName(), l.GetValue())
				}
			}
		}
	}
	all := series(t, m)
	if n, _ := sum(all, "twtrace_connections_opened_total"); n != 7 {
		t.Errorf("%v connections", n)
	}
	wants(t, all, map[string]float64{"twtrace_connections_opened_total{comm=_other,role=client}": 0})
	if n, _ := sum(all, "twtrace_connections_opened_total", "comm=__other,"); n != 2 {
		t.Errorf("%v connections of processes that are called %s or _%s", n, other, other)
	}
}
