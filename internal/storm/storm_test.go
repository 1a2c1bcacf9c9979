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
	told     []event.Event
}

func newScene(o Options, clients ...*conntest.Client) *scene {
	s := &scene{detector: New(o), meter: pressure.NewMeter(limits)}
	s.World = &conntest.World{Table: conn.New(conn.Options{Limits: limits}), Ports: usable, NetNS: 1, Clients: clients,
		OnEvent: s.detector.Observe}
	return s
}

func (s *scene) run(length time.Duration) {
	s.Run(length, func(now int64, _ time.Duration) {
		s.Table.Snapshot(now, &s.snapshot)
		r := s.meter.Measure(&s.snapshot)
		s.told = append(s.told, s.detector.Tick(&r)...)
	})
}

// words are the storms as they were told, updates only where the severity changed.
func (s *scene) words() []string {
	var out []string
	severity := make(map[event.Reason]event.Severity)
	for _, e := range s.told {
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
		{"on and off around the limit", []*conntest.Client{client("flapper", there, onOff(40, 5*time.Minute))}, 8 * time.Minute, []string{
			"storm_start ports warn flapper", "storm_update ports crit flapper", "storm_update ports warn flapper", "storm_end ports warn flapper"}},
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
			if len(s.detector.Active()) != 0 || s.detector.Seen() != (tt.want != nil) {
				t.Errorf("%d go on at the end; seen %v", len(s.detector.Active()), s.detector.Seen())
			}
		})
	}
}

// TestPauses: a steady load that stands still now and then, and catches up, is warn
// and never crit; and the first call that is refused is told at once.
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
	for _, e := range s.told {
		if e.Storm.Severity != event.Warn {
			t.Errorf("%v %v after %v: %+v", e.Kind, e.Storm.Severity, time.Unix(0, e.Time).Sub(conntest.Begin), *e.Storm)
		}
	}
	s = newScene(Options{}, client("checkout", there, until(50, time.Minute)))
	s.run(time.Minute)
	first := s.FirstAt[there]
	for _, e := range s.told {
		if e.Storm.Fails == 0 {
			continue
		}
		if at := time.Unix(0, e.Time).Sub(conntest.Begin); at-first > time.Second {
			t.Errorf("the first call was refused after %v, which was told after %v", first, at)
		}
		return
	}
	t.Error("nobody was told of refused calls")
}

// TestEvidence: a storm says what it rests on.
func TestEvidence(t *testing.T) {
	s := newScene(Options{}, client("checkout", there, until(50, time.Minute)))
	s.run(25 * time.Second)
	begin, end := s.told[0], s.told[len(s.told)-1]
	b := begin.Storm
	if begin.Remote != there || begin.Local.Addr() != here || begin.Process.PID != 4242 || begin.Owner != event.ByConnect || begin.Role != event.Client {
		t.Errorf("%+v", begin)
	}
	if b.Rate < 45 || b.Rate > 55 || b.ShortShare != 1 || b.LifeP50 < 2e6 || b.LifeP50 > 4e6 || b.PIDs != 1 ||
		b.Usable != usable || b.Projected < 2900 || b.Projected > 3200 || b.ExhaustsIn < 14 || b.ExhaustsIn > 18 || b.Fails != 0 {
		t.Errorf("at the start, after %v: %+v", time.Unix(0, begin.Time).Sub(conntest.Begin), *b)
	}
	e := s.detector.Active()[0].Storm
	if failed := s.Failed[there]; e.Used != usable || e.ExhaustsIn != 0 || int(e.Fails) > failed || int(e.Fails) < failed-600 {
		t.Errorf("with %d failures, last told at %v: %+v", failed, time.Unix(0, end.Time).Sub(conntest.Begin), *e)
	}
}

// TestOfLate: there is no second in which a group of many destinations seems to have but
// one, or no process.
func TestOfLate(t *testing.T) {
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
			e := event.Event{Time: conntest.Begin.Add(time.Duration(i) * 40 * time.Second / scanned).UnixNano(), NetNS: 1, Role: event.Client,
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
	for _, e := range s.told {
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
