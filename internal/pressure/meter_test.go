package pressure

import (
	"net/netip"
	"testing"
	"time"

	"github.com/twtrace/twtrace/internal/conn"
	"github.com/twtrace/twtrace/internal/conn/conntest"
	"github.com/twtrace/twtrace/internal/event"
)

var (
	here     = netip.MustParseAddr("10.0.0.7")
	there    = netip.MustParseAddrPort("10.2.0.9:5432")
	checkout = event.Proc{PID: 4242, Comm: "checkout"}
)

// usable is what the kernel has by default.
const usable = 28232

func limitsOf(l conn.Limits) conn.LimitsFunc {
	return func(uint32) (conn.Limits, bool) { return l, true }
}

func ordinary() conn.Limits {
	return conn.Limits{PortLow: 32768, PortHigh: 60999, Usable: usable, MaxTW: 262144, TWReuse: 2,
		ReuseDelay: time.Second, Timestamps: true}
}

// watched is what was seen of one gauge, second by second.
type watched struct {
	gauges []Gauge
	raised [event.Crit + 1]time.Duration // first time at that severity or above, 0 for never
}

// at returns the first gauge with that share of the limit in use.
func (v *watched) at(share float64) (Gauge, time.Duration) {
	for i, g := range v.gauges {
		if g.Share() >= share {
			return g, time.Duration(i+1) * time.Second
		}
	}
	return Gauge{}, 0
}

func watch(w *conntest.World, m *Meter, length time.Duration, k Key) watched {
	var v watched
	var s conn.Snapshot
	w.Run(length, func(now int64, t time.Duration) {
		w.Table.Snapshot(now, &s)
		r := m.Measure(&s)
		g := Gauge{}
		for i := range r.Gauges {
			if r.Gauges[i].Key == k {
				g = r.Gauges[i]
			}
		}
		v.gauges = append(v.gauges, g)
		for s := event.Warn; s <= g.Severity; s++ {
			if v.raised[s] == 0 {
				v.raised[s] = t
			}
		}
	})
	return v
}

func world(l conn.Limits, clients ...*conntest.Client) (*conntest.World, *Meter) {
	w := &conntest.World{Table: conn.New(conn.Options{Limits: limitsOf(l)}), Ports: l.Usable, NetNS: 1, Clients: clients,
		Buckets: int(l.MaxTW)}
	return w, NewMeter(limitsOf(l))
}

func to(remote netip.AddrPort, rate float64, life time.Duration) *conntest.Client {
	return &conntest.Client{Process: checkout, Local: here, Remote: remote, Rate: conntest.Steadily(rate), Life: life, Stamps: event.Yes}
}

var thatWay = Key{What: Ports, NetNS: 1, Local: here, Remote: there}

// TestExhaustion: the flag is up when half of the time to the first failure has
// passed, and what is forecast at half use is right within 15 %.
func TestExhaustion(t *testing.T) {
	for _, tt := range []struct {
		name   string
		client *conntest.Client
		length time.Duration
		start  time.Duration // of the storm
	}{
		{"just above the limit", to(there, 480, 3*time.Millisecond), 2 * time.Minute, 0},
		{"fast", to(there, 2000, 3*time.Millisecond), 30 * time.Second, 0},
		{"long lives", to(there, 1000, 5*time.Second), time.Minute, 0},
		{"lives of half a minute", to(there, 400, 30*time.Second), 2 * time.Minute, 0},
		{"a leak", to(there, 300, 0), 2 * time.Minute, 0},
		{"a slow leak", to(there, 40, 0), 13 * time.Minute, 0},
		{"a swarm", func() *conntest.Client { c := to(there, 700, time.Millisecond); c.Swarm = true; return c }(), time.Minute, 0},
		{"that had been slow", func() *conntest.Client {
			c := to(there, 0, time.Millisecond)
			c.Rate = func(t time.Duration) float64 {
				if t < 20*time.Second {
					return 10
				}
				return 1500
			}
			return c
		}(), time.Minute, 20 * time.Second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w, m := world(ordinary(), tt.client)
			v := watch(w, m, tt.length, thatWay)
			first := w.FirstAt[there]
			if first == 0 {
				t.Fatal("nothing failed")
			}
			if up := v.raised[event.Warn]; up == 0 || up-tt.start > (first-tt.start)/2+time.Second {
				t.Errorf("flag at %v, the first failure at %v", up, first)
			}
			if up := v.raised[event.Crit]; up == 0 || up > first {
				t.Errorf("crit at %v, the first failure at %v", up, first)
			}
			g, at := v.at(0.5)
			if truth := first - at; !g.Full || g.In < truth*85/100 || g.In > truth*115/100 {
				t.Errorf("at half use, after %v, full in %v; the truth is %v", at, g.In, truth)
			}
			if len(g.Holders) != 1 || g.Holders[0].Process.Comm != checkout.Comm {
				t.Errorf("holders %+v, want %v alone", g.Holders, checkout)
			}
			if last := v.gauges[len(v.gauges)-1]; last.Severity != event.Crit || last.Used != usable {
				t.Errorf("at the end: %v, %v used", last.Severity, last.Used)
			}
		})
	}
}

// TestNoAlarm: what never fails is never critical, and warns only when it comes near.
func TestNoAlarm(t *testing.T) {
	local := netip.MustParseAddr("127.0.0.1")
	loop := netip.MustParseAddrPort("127.0.0.1:6379")
	onLoopback := to(loop, 3000, time.Millisecond)
	onLoopback.Local, onLoopback.Reuse = local, true
	everywhere := to(there, 3000, time.Millisecond)
	everywhere.Reuse = true
	on := ordinary()
	on.TWReuse = 1
	burst := to(there, 0, time.Millisecond)
	burst.Rate = func(t time.Duration) float64 {
		if t < time.Second {
			return 12000
		}
		return 0
	}
	pool := to(there, 0, 0)
	pool.Rate = func(t time.Duration) float64 {
		if t < 3*time.Second {
			return 500
		}
		return 0
	}
	served := to(there, 1000, 200*time.Millisecond)
	served.RemoteCloses = true
	for _, tt := range []struct {
		name   string
		client *conntest.Client
		limits conn.Limits
		want   event.Severity
	}{
		{"86 %", to(there, 400, time.Millisecond), ordinary(), event.Warn},
		{"98 %", to(there, 453, time.Millisecond), ordinary(), event.Warn},
		{"43 %", to(there, 200, time.Millisecond), ordinary(), event.SeverityNone},
		{"long lives, 45 %", to(there, 140, 30*time.Second), ordinary(), event.SeverityNone},
		{"loopback, where ports are reused", onLoopback, ordinary(), event.SeverityNone},
		{"tcp_tw_reuse=1", everywhere, on, event.SeverityNone},
		{"a burst", burst, ordinary(), event.SeverityNone},
		{"a pool that is filled", pool, ordinary(), event.SeverityNone},
		{"the server closes first", served, ordinary(), event.SeverityNone},
		{"nothing", to(there, 0, 0), ordinary(), event.SeverityNone},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w, m := world(tt.limits, tt.client)
			k := Key{What: Ports, NetNS: 1, Local: tt.client.Local, Remote: tt.client.Remote}
			v := watch(w, m, 3*time.Minute, k)
			if n := w.Failed[tt.client.Remote]; n > 0 {
				t.Fatalf("%d failed", n)
			}
			got := event.SeverityNone
			for s := event.Warn; s <= event.Crit; s++ {
				if v.raised[s] != 0 {
					got = s
				}
			}
			if got != tt.want {
				t.Errorf("%v, want %v; crit at %v", got, tt.want, v.raised[event.Crit])
			}
			for i, g := range v.gauges {
				if g.Held() > 0 && g.Held() != w.Used(tt.client.Remote) && i == len(v.gauges)-1 {
					t.Errorf("%d held at the end, the truth is %d", g.Held(), w.Used(tt.client.Remote))
				}
			}
		})
	}
}

// TestBuckets: the TIME_WAIT sockets of a namespace against its limit.
func TestBuckets(t *testing.T) {
	l := ordinary()
	l.MaxTW = 5000
	w, m := world(l, to(there, 100, time.Millisecond), to(netip.MustParseAddrPort("10.2.0.10:80"), 100, time.Millisecond))
	v := watch(w, m, time.Minute, Key{What: Buckets, NetNS: 1})
	if w.Refused == 0 {
		t.Fatal("nothing was refused")
	}
	g, at := v.at(0.5)
	if truth := 25*time.Second - at; g.In < truth*85/100 || g.In > truth*115/100 {
		t.Errorf("at half use full in %v, the truth is %v", g.In, truth)
	}
	if up := v.raised[event.Crit]; up == 0 || up > 13*time.Second {
		t.Errorf("crit at %v", up)
	}
	last := v.gauges[len(v.gauges)-1]
	if last.Severity != event.Crit || last.Used != 5000 || last.Memory != 5000*ClientTWBytes || last.Refused < 150 {
		t.Errorf("at the end: %v, %v used, %d bytes, %d refused in a second", last.Severity, last.Used, last.Memory, last.Refused)
	}
}

// BenchmarkMeasure reads 1,000 destinations with a flow each.
func BenchmarkMeasure(b *testing.B) {
	w := &conntest.World{Table: conn.New(conn.Options{Limits: limitsOf(ordinary())}), Ports: usable, NetNS: 1}
	for i := range 1000 {
		w.Clients = append(w.Clients, to(netip.AddrPortFrom(there.Addr(), uint16(1+i)), 5, time.Millisecond))
	}
	w.Run(30*time.Second, nil)
	var s conn.Snapshot
	w.Table.SnapshotLimited(conntest.Start.Add(30*time.Second).UnixNano(), &s)
	m := NewMeter(limitsOf(ordinary()))
	if n := len(m.Measure(&s).Gauges); n != 1001 {
		b.Fatalf("%d gauges", n)
	}
	b.ReportAllocs()
	for b.Loop() {
		m.Measure(&s)
	}
}
