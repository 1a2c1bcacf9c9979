package storm

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/twtrace/twtrace/internal/conn"
	"github.com/twtrace/twtrace/internal/conn/conntest"
	"github.com/twtrace/twtrace/internal/event"
	"github.com/twtrace/twtrace/internal/pressure"
)

var (
	here  = netip.MustParseAddr("10.0.0.7")
	there = netip.MustParseAddrPort("10.2.0.9:5432")
)

const usable = 1000

func limits(uint32) (conn.Limits, bool) {
	return conn.Limits{PortLow: 40000, PortHigh: 40999, Usable: usable, MaxTW: 100000, TWReuse: 2,
		ReuseDelay: time.Second, Timestamps: true}, true
}

// scene is a world with a detector in it.
type scene struct {
	*conntest.World
	detector *Detector
	meter    *pressure.Meter
	snapshot conn.Snapshot
	records  []event.Event
	hidden   int // ports that somebody has, and nobody knows
}

func newScene(o Options, clients ...*conntest.Client) *scene {
	s := &scene{detector: New(o)}
	wide := func(n uint32) (conn.Limits, bool) { // as many ports as the world has now
		l, ok := limits(n)
		l.Usable = s.Ports + s.hidden
		return l, ok
	}
	s.meter = pressure.NewMeter(wide)
	s.World = &conntest.World{Table: conn.New(conn.Options{Limits: wide}), Ports: usable, NetNS: 1, Clients: clients,
		OnEvent: s.detector.Observe}
	return s
}

func (s *scene) run(length time.Duration) {
	s.Run(length, func(now int64, _ time.Duration) {
		s.Table.Snapshot(now, &s.snapshot)
		r := s.meter.Measure(&s.snapshot)
		s.records = append(s.records, s.detector.Tick(&r)...)
	})
}

// words are the storms by their records, updates only where the severity changed.
func (s *scene) words() []string {
	var out []string
	severity := make(map[event.Reason]event.Severity)
	for _, e := range s.records {
		if e.Kind == event.StormUpdate && severity[e.Reason] == e.Storm.Severity {
			continue
		}
		severity[e.Reason] = e.Storm.Severity
		out = append(out, fmt.Sprintf("%v %v %v %s", e.Kind, e.Reason, e.Storm.Severity, e.Process.Comm))
	}
	return out
}

func client(comm string, remote netip.AddrPort, rate func(time.Duration) float64) *conntest.Client {
	return &conntest.Client{Process: event.Proc{PID: 4242, Comm: comm}, Local: here, Remote: remote, Rate: rate,
		Life: 3 * time.Millisecond, Stamps: event.Yes}
}

// until is a rate that stops.
func until(rate float64, end time.Duration) func(time.Duration) float64 {
	return func(t time.Duration) float64 {
		if t < end {
			return rate
		}
		return 0
	}
}

// TestSet: other options are in force from the next tick on, for a storm that lasts, too.
func TestSet(t *testing.T) {
	c := client("steady", there, until(40, 5*time.Minute))
	c.RemoteCloses = true
	s := newScene(Options{}, c)
	s.run(time.Minute)
	if words := s.words(); len(words) != 0 {
		t.Errorf("40/s is a storm by default: %q", words)
	}
	s.detector.Set(Options{Rate: 20})
	s.run(time.Minute)
	if words := s.words(); len(words) != 1 || words[0] != "storm_start churn warn steady" {
		t.Errorf("40/s, a storm is 20/s: %q", words)
	}
	s.detector.Set(Options{})
	s.run(2 * time.Minute)
	if words := s.words(); len(words) != 2 || words[1] != "storm_end churn warn steady" {
		t.Errorf("40/s, a storm is 100/s again: %q", words)
	}
}

// onOff is a rate that comes and goes every five seconds, until the end.
func onOff(rate float64, end time.Duration) func(time.Duration) float64 {
	return func(t time.Duration) float64 {
		if t >= end || t%(10*time.Second) >= 5*time.Second {
			return 0
		}
		return rate
	}
}

func TestStorms(t *testing.T) {
	elsewhere := func(i int) netip.AddrPort {
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 3, 0, byte(i)}), 80)
	}
	crawler := func(rate float64) (all []*conntest.Client) {
		for i := range 200 {
			all = append(all, client("crawler", elsewhere(i), until(rate/200, time.Minute)))
		}
		return all
	}
	served := client("proxy", there, until(90, time.Minute))
	served.RemoteCloses = true
	long := client("batch", there, until(150, 20*time.Second))
	long.Life, long.RemoteCloses = 2*time.Second, true
	swarm := client("curl", there, until(150, 30*time.Second))
	swarm.Swarm, swarm.RemoteCloses = true, true
	workers := func(cgroups ...uint64) (all []*conntest.Client) {
		for i, id := range cgroups {
			c := client("python3", elsewhere(i), until(70, time.Minute))
			c.Process.Who, c.RemoteCloses = &event.Who{CgroupID: id}, true
			all = append(all, c)
		}
		return all
	}
	for _, tt := range []struct {
		name    string
		clients []*conntest.Client
		length  time.Duration
		want    []string
	}{
		{"ports run out", []*conntest.Client{client("checkout", there, until(50, 40*time.Second))}, 4 * time.Minute, []string{
			"storm_start ports warn checkout", "storm_update ports crit checkout", "storm_update ports warn checkout", "storm_end ports warn checkout"}},
		{"86 % and steady", []*conntest.Client{client("worker", there, until(14.1, 2*time.Minute))}, 4 * time.Minute, []string{
			"storm_start ports warn worker", "storm_end ports warn worker"}},
		{"churn on and off around the threshold", []*conntest.Client{served, func() *conntest.Client {
			c := client("flapper", elsewhere(1), onOff(230, 5*time.Minute))
			c.RemoteCloses = true
			return c
		}()}, 7 * time.Minute, []string{"storm_start churn warn flapper", "storm_end churn warn flapper"}},
		{"a swarm", []*conntest.Client{swarm}, 2 * time.Minute, []string{
			"storm_start churn warn curl", "storm_end churn warn curl"}},
		{"a slow crawler", crawler(90), 3 * time.Minute, nil},
		{"a fast crawler", crawler(150), 3 * time.Minute, []string{
			"storm_start churn warn crawler", "storm_end churn warn crawler"}},
		{"connections that are not short-lived", []*conntest.Client{long}, 2 * time.Minute, nil},
		{"two of one name in one unit", workers(7, 7), 3 * time.Minute, []string{
			"storm_start churn warn python3", "storm_end churn warn python3"}},
		{"two of one name in two units", workers(7, 8), 3 * time.Minute, nil},
		{"a burst", []*conntest.Client{client("batch", there, until(300, time.Second))}, 2 * time.Minute, nil},
		{"nothing", nil, time.Minute, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := newScene(Options{}, tt.clients...)
			s.run(tt.length)
			if got := s.words(); fmt.Sprint(got) != fmt.Sprint(tt.want) {
				t.Errorf("got  %q\nwant %q", got, tt.want)
			}
			for k, storm := range s.detector.storms {
				if storm.started {
					t.Errorf("%v lasts at the end", k)
				}
			}
		})
	}
}

// TestPauses: a steady load that pauses now and then, and catches up, is warn and
// never crit; and the first call that fails makes a record at once.
func TestPauses(t *testing.T) {
	pauses := func(t time.Duration) float64 {
		const rate = 0.86 * usable / 61
		switch t % (15 * time.Second) / time.Second {
		case 0, 1:
			return 0
		case 2:
			return 3 * rate
		}
		return rate
	}
	s := newScene(Options{}, client("worker", there, pauses))
	s.run(4 * time.Minute)
	for _, e := range s.records {
		if e.Storm.Severity != event.Warn {
			t.Errorf("%v %v after %v: %+v", e.Kind, e.Storm.Severity, time.Unix(0, e.Time).Sub(conntest.Start), *e.Storm)
		}
	}
	s = newScene(Options{}, client("checkout", there, until(50, time.Minute)))
	s.run(time.Minute)
	first := s.FirstAt[there]
	for _, e := range s.records {
		if e.Storm.Fails == 0 {
			continue
		}
		if at := time.Unix(0, e.Time).Sub(conntest.Start); at-first > time.Second {
			t.Errorf("the first call failed after %v, the record of it came after %v", first, at)
		}
		return
	}
	t.Error("no record has failed calls")
}

// TestEvidence: the records of a storm have the numbers behind it.
func TestEvidence(t *testing.T) {
	s := newScene(Options{}, client("checkout", there, until(50, time.Minute)))
	s.run(25 * time.Second)
	start, last := s.records[0], s.records[len(s.records)-1]
	b := start.Storm
	if start.Remote != there || start.Local.Addr() != here || start.Process.PID != 4242 || start.Owner != event.ByConnect || start.Role != event.Client {
		t.Errorf("%+v", start)
	}
	if b.Rate < 45 || b.Rate > 55 || b.ShortShare != 1 || b.LifeP50 < 2e6 || b.LifeP50 > 4e6 || b.PIDs != 1 ||
		b.Usable != usable || b.Projected < 2900 || b.Projected > 3200 || b.ExhaustsIn < 14 || b.ExhaustsIn > 18 || b.Fails != 0 {
		t.Errorf("at the start, after %v: %+v", time.Unix(0, start.Time).Sub(conntest.Start), *b)
	}
	e := last.Storm
	if failed := s.Failed[there]; last.Kind != event.StormUpdate || e.Used != usable || e.ExhaustsIn != 0 || int(e.Fails) > failed || int(e.Fails) < failed-600 {
		t.Errorf("with %d failures, the last record at %v: %v %+v", failed, time.Unix(0, last.Time).Sub(conntest.Start), last.Kind, *e)
	}
}

// TestSpans: there is no second in which a group of many destinations seems to have only
// one, or no process.
func TestSpans(t *testing.T) {
	s := newScene(Options{})
	rate := func(t time.Duration) float64 {
		if t%time.Second == 0 { // the second is judged before anything happens in it
			return 0
		}
		return 10
	}
	for i := range 20 {
		to := netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 3, 0, byte(i)}), 80)
		s.Clients = append(s.Clients, client("crawler", to, rate))
	}
	for range 3 * spanSeconds {
		s.run(time.Second)
		for k, g := range s.detector.groups.all {
			if _, remote := g.where(); remote.IsValid() || g.pids() != 1 {
				t.Errorf("second %d: %s connects to %v alone, from %d processes", g.sec, k.comm, remote, g.pids())
			}
		}
	}
	if len(s.detector.groups.all) != 1 {
		t.Errorf("%d groups, want the crawler", len(s.detector.groups.all))
	}
}

// TestScan: a scan of 65,536 ports on 16 addresses does not hide the storm of another.
func TestScan(t *testing.T) {
	if testing.Short() {
		t.Skip("takes seconds")
	}
	s := newScene(Options{}, client("checkout", there, func(t time.Duration) float64 {
		if t < 20*time.Second {
			return 0
		}
		return 50
	}))
	var cookie uint64 = 1 << 40
	const scanned = 16 * 65536
	i := 0
	for range 40 {
		for range scanned / 40 {
			a := binary.BigEndian.AppendUint32(nil, 0x0b000000+uint32(i/65536))
			remote := netip.AddrPortFrom(netip.AddrFrom4([4]byte(a)), uint16(i))
			i++
			e := event.Event{Time: conntest.Start.Add(time.Duration(i) * 40 * time.Second / scanned).UnixNano(), NetNS: 1, Role: event.Client,
				Local: netip.AddrPortFrom(here, 0), Remote: remote, Opener: event.Proc{PID: 666, Comm: "scanner"}}
			if i%100 != 0 { // closed
				e.Kind, e.Call, e.Errno = event.Fail, event.Connect, 111
				s.Table.Apply(&e)
				s.detector.Observe(&e)
				continue
			}
			cookie++
			for _, k := range []event.Kind{event.Open, event.TimeWaitEnter} {
				e.Kind, e.Cookie, e.Life = k, cookie, 1e6
				s.Table.Apply(&e)
				s.detector.Observe(&e)
			}
		}
		s.run(time.Second)
	}
	var got []string
	for _, e := range s.records {
		if e.Kind == event.StormStart {
			got = append(got, fmt.Sprintf("%v %s", e.Reason, e.Process.Comm))
		}
	}
	if fmt.Sprint(got) != "[churn scanner ports checkout]" {
		t.Errorf("storms %q", got)
	}
	if v := s.Table.Totals(); v.Destinations > conn.DefaultMaxDestinations || v.Groups > conn.DefaultMaxGroups {
		t.Errorf("%d destinations, %d groups", v.Destinations, v.Groups)
	}
}

// BenchmarkObserve is what an event costs the detector, and BenchmarkTick a second.
func BenchmarkObserve(b *testing.B) {
	d := New(Options{})
	e := event.Event{Kind: event.Open, Role: event.Client, NetNS: 1, Process: event.Proc{PID: 7, Comm: "checkout"}, Remote: there}
	b.ReportAllocs()
	for b.Loop() {
		e.Time += 1000
		e.Process.PID++
		d.Observe(&e)
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
}

func BenchmarkTick(b *testing.B) {
	d, r := New(Options{}), pressure.Reading{At: 1}
	e := event.Event{Kind: event.Open, Role: event.Client, NetNS: 1, Time: 1, Remote: there}
	for i := range 100 { // groups, each with a destination that is filling up
		e.Process = event.Proc{PID: uint32(i + 1), Comm: fmt.Sprintf("worker-%d", i)}
		d.Observe(&e)
		g := pressure.Gauge{Limit: usable, Severity: event.Warn}
		g.Local, g.Remote = here, netip.AddrPortFrom(there.Addr(), uint16(i+1))
		r.Gauges = append(r.Gauges, g)
	}
	b.ReportAllocs()
	for b.Loop() {
		r.At += int64(time.Second)
		d.Tick(&r)
	}
}

// TestShared: the owner of a storm is the program that holds most, its workers together,
// and the record says how much of it, and how many others there are. Who only fails is not
// among them. A pid is that of a single process.
func TestShared(t *testing.T) {
	worker := func(pid uint32) *conntest.Client {
		c := client("nginx", there, until(15, 2*time.Minute))
		c.Process.PID = pid
		return c
	}
	s := newScene(Options{}, worker(10), worker(11), client("orders", there, until(20, 2*time.Minute)))
	s.run(40 * time.Second)
	e := s.records[len(s.records)-1]
	i := e.Storm
	if e.Process.Comm != "nginx" || e.Process.PID != 0 || i.PIDs != 2 || i.Others != 1 || i.Held < i.Used*55/100 || i.Held > i.Used*65/100 {
		t.Errorf("%+v, %+v", e.Process, *i)
	}
	s.Clients = s.Clients[2:]
	fail := event.Event{Time: e.Time + 1, Kind: event.Fail, NetNS: 1, Role: event.Client, Local: netip.AddrPortFrom(here, 0), Remote: there,
		Opener: event.Proc{PID: 12, Comm: "victim"}, Call: event.Connect, Errno: event.EADDRNOTAVAIL}
	for range 1000 {
		s.Table.Apply(&fail)
		s.detector.Observe(&fail)
	}
	s.run(90 * time.Second)
	e = s.records[len(s.records)-1]
	if i = e.Storm; e.Process.Comm != "orders" || e.Process.PID != 4242 || i.PIDs != 1 || i.Others != 0 {
		t.Errorf("%+v, %+v", e.Process, *i)
	}
}
