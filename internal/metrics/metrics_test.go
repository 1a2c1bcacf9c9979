package metrics

import (
	"maps"
	"math"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	dto "github.com/prometheus/client_model/go"

	"github.com/twtrace/twtrace/internal/conn"
	"github.com/twtrace/twtrace/internal/conn/conntest"
	"github.com/twtrace/twtrace/internal/event"
	"github.com/twtrace/twtrace/internal/kernel"
	"github.com/twtrace/twtrace/internal/monitor"
	"github.com/twtrace/twtrace/internal/session"
	"github.com/twtrace/twtrace/internal/session/sessiontest"
	"github.com/twtrace/twtrace/internal/storm"
)

const testNetNS = 4026531840

var start = conntest.Start

// series are the values of all series of ours, histograms by their counts.
func series(t testing.TB, m *Metrics) map[string]float64 {
	t.Helper()
	checkSeries(t, m)
	families, err := m.Gather()
	if err != nil {
		t.Fatal(err)
	}
	out := make(map[string]float64)
	for _, f := range families {
		if !strings.HasPrefix(f.GetName(), "twtrace_") {
			continue
		}
		for _, v := range f.Metric {
			var labels []string
			for _, l := range v.Label {
				if l.GetValue() != "" {
					labels = append(labels, l.GetName()+"="+l.GetValue())
				}
			}
			name := f.GetName() + "{" + strings.Join(labels, ",") + "}"
			switch f.GetType() {
			case dto.MetricType_COUNTER:
				out[name] = v.Counter.GetValue()
			case dto.MetricType_HISTOGRAM:
				out[name] = float64(v.Histogram.GetSampleCount())
			default:
				out[name] = v.Gauge.GetValue()
			}
		}
	}
	return out
}

// sum is the sum over the series of a metric, and count how many there are.
func sum(all map[string]float64, metric string, having ...string) (total float64, count int) {
next:
	for name, v := range all {
		if !strings.HasPrefix(name, metric+"{") {
			continue
		}
		for _, h := range having {
			if !strings.Contains(name, h) {
				continue next
			}
		}
		total += v
		count++
	}
	return total, count
}

// wants compares series with their values.
func wants(t *testing.T, all map[string]float64, want map[string]float64) {
	t.Helper()
	for _, name := range slices.Sorted(maps.Keys(want)) {
		if got, ok := all[name]; !ok || got != want[name] {
			t.Errorf("%s is %v (%v), want %v", name, got, ok, want[name])
		}
	}
}

// traffic makes the events of connections.
type traffic struct {
	events []event.Event
	cookie uint64
}

func (x *traffic) add(at time.Duration, e event.Event) {
	e.Time, e.NetNS = start.Add(at).UnixNano(), testNetNS
	x.events = append(x.events, e)
}

// proc is a process of a unit, in a cgroup of its own.
func proc(pid uint32, comm, unit string) event.Proc {
	return event.Proc{PID: pid, Comm: comm, Who: &event.Who{Start: uint64(pid), Unit: unit, CgroupID: uint64(len(unit))}}
}

// client is a connection of p that lives so long, and then enters TIME_WAIT, or is closed
// by its peer.
func (x *traffic) client(p event.Proc, at, life time.Duration, closer event.Side) {
	x.cookie++
	e := event.Event{Kind: event.Open, Cookie: x.cookie, Role: event.Client, Opener: p,
		Local: netip.AddrPortFrom(netip.MustParseAddr("10.0.0.7"), uint16(40000+x.cookie)), Remote: netip.MustParseAddrPort("10.2.0.9:5432")}
	x.add(at, e)
	if life == 0 {
		return
	}
	e.Kind, e.Reason, e.Closer, e.Life = event.TimeWaitEnter, event.ActiveClose, closer, int64(life)
	if closer == event.RemoteSide {
		e.Kind, e.Reason = event.Close, event.PassiveClose
	}
	x.add(at+life, e)
}

// server is a connection that p accepted, and that its peer closes.
func (x *traffic) server(p event.Proc, at, life time.Duration) {
	x.cookie++
	e := event.Event{Kind: event.Open, Cookie: x.cookie, Role: event.Server, Accepter: p,
		Local: netip.MustParseAddrPort("10.0.0.7:80"), Remote: netip.AddrPortFrom(netip.MustParseAddr("10.9.0.1"), uint16(20000+x.cookie))}
	x.add(at, e)
	e.Kind, e.Reason, e.Closer, e.Life = event.Close, event.PassiveClose, event.RemoteSide, int64(life)
	x.add(at+life, e)
}

// play has m observe what a fake source plays, once a second, and returns the session.
func play(t *testing.T, m *Metrics, src *sessiontest.Source, each func()) *session.Session {
	t.Helper()
	slices.SortStableFunc(src.Events, func(a, b event.Event) int { return int(a.Time - b.Time) })
	src.From = start
	if last := len(src.Events) - 1; src.Until.IsZero() { // events at the last moment are in no sample
		src.Until = time.Unix(0, src.Events[last].Time).Add(time.Second).Truncate(time.Second)
	}
	if src.ByNetNS == nil {
		src.ByNetNS = map[uint32]kernel.Limits{testNetNS: sessiontest.Limits(1000)}
	}
	s, err := session.New(src, session.Options{Storms: &storm.Options{}})
	if err != nil {
		t.Fatal(err)
	}
	if m.opt.Session == nil {
		m.opt.Session, m.spaces.name = s, s.NetNSName
	}
	mon, err := monitor.New(t.Context(), s, src, monitor.Options{Interval: time.Second, Partial: true, Each: m.Event})
	if err != nil {
		t.Fatal(err)
	}
	for {
		sample, err := mon.Next(t.Context())
		if err != nil {
			return s
		}
		m.Observe(sample)
		if each != nil {
			each()
		}
	}
}

// twentyThree are 23 connections: 13 of checkout, 7 of nginx and 3 of curl; 18 are over.
func twentyThree() *traffic {
	x := &traffic{}
	for i := range 13 {
		life, closer := 20*time.Millisecond, event.LocalSide
		if i < 4 {
			life = 0 // stays open
		} else if i < 6 {
			closer = event.RemoteSide
		}
		x.client(proc(4242, "checkout", "shop.service"), time.Duration(i)*100*time.Millisecond, life, closer)
	}
	for i := range 7 {
		x.server(proc(80, "nginx", "nginx.service"), time.Duration(i)*300*time.Millisecond, 1500*time.Millisecond)
	}
	for i := range 3 {
		life := time.Duration(0)
		if i > 0 {
			life = time.Second // exactly the bound
		}
		x.client(proc(uint32(900+i), "curl", ""), time.Duration(i)*time.Second, life, event.BothSides)
	}
	return x
}

// TestExact: what goes in comes out, by owner, role and side, and in sum.
func TestExact(t *testing.T) {
	m := New(Options{Version: "1.2.3"})
	x := twentyThree()
	x.add(2500*time.Millisecond, event.Event{Kind: event.Fail, Role: event.Client, Opener: proc(4242, "checkout", "shop.service"),
		Call: event.Connect, Errno: event.EADDRNOTAVAIL, Cause: event.NoPort, Old: event.SynSent, InState: int64(3 * time.Millisecond),
		Local: netip.MustParseAddrPort("10.0.0.7:0"), Remote: netip.MustParseAddrPort("10.2.0.9:5432")})
	x.add(2600*time.Millisecond, event.Event{Kind: event.Fail, Role: event.Client, Opener: proc(4242, "checkout", "shop.service"),
		Call: event.Connect, Errno: 71, Local: netip.MustParseAddrPort("10.0.0.7:4000"), Remote: netip.MustParseAddrPort("10.2.0.9:5432")})
	x.add(2700*time.Millisecond, event.Event{Kind: event.Lost, Stage: event.StageRing, Count: 5})
	x.add(65*time.Second, event.Event{Kind: event.TimeWaitExit, Cookie: 7, Role: event.Client, Reason: event.Expired,
		Local: netip.MustParseAddrPort("10.0.0.7:40007"), Remote: netip.MustParseAddrPort("10.2.0.9:5432")})
	src := &sessiontest.Source{Events: x.events, Drifted: []event.Drift{{NetNS: 7, Births: 3}, {NetNS: 8, Births: -2, Alive: 1}}}
	s := play(t, m, src, nil)
	all := series(t, m)
	shop, nginx := "comm=checkout,role=client,unit=shop.service", "comm=nginx,role=server,unit=nginx.service"
	wants(t, all, map[string]float64{
		"twtrace_connections_opened_total{" + shop + "}":                                                                               13,
		"twtrace_connections_opened_total{" + nginx + "}":                                                                              7,
		"twtrace_connections_opened_total{comm=curl,role=client}":                                                                      3,
		"twtrace_connections_opened_total{comm=_other,role=client}":                                                                    0,
		"twtrace_connections_closed_total{closed_by=local," + shop + "}":                                                               7,
		"twtrace_connections_closed_total{closed_by=remote," + shop + "}":                                                              2,
		"twtrace_connections_closed_total{closed_by=remote," + nginx + "}":                                                             7,
		"twtrace_connections_closed_total{closed_by=both,comm=curl,role=client}":                                                       2,
		"twtrace_connections_short_lived_total{" + shop + "}":                                                                          9,
		"twtrace_connections_short_lived_total{" + nginx + "}":                                                                         0,
		"twtrace_connections_short_lived_total{comm=curl,role=client}":                                                                 2,
		"twtrace_connections_open{" + shop + "}":                                                                                       4,
		"twtrace_connections_open{comm=curl,role=client}":                                                                              1,
		"twtrace_owner_time_wait_sockets{" + shop + "}":                                                                                6,
		"twtrace_owner_time_wait_sockets{comm=curl,role=client}":                                                                       2,
		"twtrace_time_wait_sockets{netns=4026531840}":                                                                                  8,
		"twtrace_time_wait_entered_total{reason=active_close}":                                                                         9,
		"twtrace_time_wait_exited_total{reason=expired}":                                                                               1,
		"twtrace_time_wait_limit_sockets{netns=4026531840}":                                                                            65536,
		"twtrace_connections_failed_total{call=connect,cause=no_port,comm=checkout,errno=EADDRNOTAVAIL,role=client,unit=shop.service}": 1,
		"twtrace_connections_failed_total{call=connect,comm=checkout,errno=other,role=client,unit=shop.service}":                       1,
		"twtrace_connections_failed_total{call=connect,cause=no_port,comm=curl,errno=EADDRNOTAVAIL,role=client}":                       0,
		"twtrace_connection_lifetime_seconds{role=client}":                                                                             11,
		"twtrace_connection_lifetime_seconds{role=server}":                                                                             7,
		"twtrace_time_wait_duration_seconds{}":                                                                                         1,
		"twtrace_connect_port_search_seconds{}":                                                                                        1,
		"twtrace_events_total{kind=open}":                                                                                              23,
		"twtrace_events_total{kind=fail}":                                                                                              2,
		"twtrace_events_lost_total{stage=ring}":                                                                                        5,
		"twtrace_kernel_drift{counter=births}":                                                                                         5,
		"twtrace_kernel_drift{counter=alive}":                                                                                          1,
		"twtrace_trace_up{}":                                                                                                           0,
		"twtrace_last_sample_timestamp_seconds{}":                                                                                      float64(start.Unix()) + 66,
		"twtrace_series_folded_total{metric=twtrace_connections_opened_total}":                                                         0,
	})
	totals := s.Table().Totals()
	for metric, want := range map[string]uint64{"twtrace_connections_opened_total": 23, "twtrace_connections_closed_total": 18,
		"twtrace_connections_failed_total": 2, "twtrace_connections_short_lived_total": totals.Short, "twtrace_connection_lifetime_seconds": totals.Lives,
		"twtrace_time_wait_sockets": totals.TimeWait, "twtrace_owner_time_wait_sockets": totals.TimeWait, "twtrace_connections_open": totals.Open()} {
		if got, _ := sum(all, metric); got != float64(want) {
			t.Errorf("%s sums up to %v, want %d", metric, got, want)
		}
	}
}

// TestBasic: no owners and no destinations, and the same sums.
func TestBasic(t *testing.T) {
	m := New(Options{Detail: Basic})
	play(t, m, &sessiontest.Source{Events: twentyThree().events}, nil)
	all := series(t, m)
	wants(t, all, map[string]float64{
		"twtrace_connections_opened_total{role=client}":                                                16,
		"twtrace_connections_opened_total{role=server}":                                                7,
		"twtrace_connections_closed_total{closed_by=local,role=client}":                                7,
		"twtrace_connections_closed_total{closed_by=remote,role=server}":                               7,
		"twtrace_connections_failed_total{call=connect,cause=no_port,errno=EADDRNOTAVAIL,role=client}": 0,
	})
	for name := range all {
		for _, bad := range []string{"comm=", "unit=", "raddr=", "twtrace_ports_used", "retired"} {
			if strings.Contains(name, bad) {
				t.Errorf("there is %s", name)
			}
		}
	}
	if len(all) > 150 {
		t.Errorf("%d series", len(all))
	}
}

// TestRestart: counters go on where another table begins.
func TestRestart(t *testing.T) {
	m := New(Options{})
	for range 2 {
		play(t, m, &sessiontest.Source{Events: twentyThree().events}, nil)
		m.Restart()
	}
	all := series(t, m)
	for metric, want := range map[string]float64{"twtrace_connections_opened_total": 46, "twtrace_connections_closed_total": 36,
		"twtrace_connection_lifetime_seconds": 36, "twtrace_time_wait_entered_total": 18} {
		if got, _ := sum(all, metric); got != want {
			t.Errorf("%s sums up to %v, want %v", metric, got, want)
		}
	}
}

// TestReset: what the table forgets is not forgotten here, and what comes after that counts.
func TestReset(t *testing.T) {
	m := New(Options{})
	c := newCrowd()
	observe := func(n int, why event.Reason, reset bool) {
		x := &traffic{cookie: c.cookie}
		for range n {
			x.client(proc(7, "checkout", ""), 0, time.Millisecond, event.LocalSide)
		}
		c.cookie = x.cookie
		for i := range x.events {
			if x.events[i].Kind == event.TimeWaitEnter {
				x.events[i].Reason = why
			}
			x.events[i].Time += c.now.UnixNano() - start.UnixNano()
			c.table.Apply(&x.events[i])
		}
		c.now = c.now.Add(time.Second)
		s := c.sample()
		s.Status.Reset = reset
		m.Observe(s)
	}
	observe(20, event.ActiveClose, false)
	c.table.Forget()
	observe(3, event.SimultaneousClose, true)
	observe(4, event.SimultaneousClose, false)
	wants(t, series(t, m), map[string]float64{
		"twtrace_connections_closed_total{closed_by=local,comm=checkout,role=client}": 27,
		"twtrace_connections_short_lived_total{comm=checkout,role=client}":            27,
		"twtrace_time_wait_entered_total{reason=active_close}":                        20,
		"twtrace_time_wait_entered_total{reason=simultaneous_close}":                  7,
		"twtrace_time_wait_entered_total{reason=unknown}":                             0,
		"twtrace_connection_lifetime_seconds{role=client}":                            27,
	})
}

// TestStorm: ports run out, and it shows: destination, owner, storm, finding.
func TestStorm(t *testing.T) {
	var list []event.Event
	w := conntest.World{Table: conn.New(conn.Options{}), Ports: 1000, NetNS: testNetNS, OnEvent: func(e *event.Event) { list = append(list, *e) },
		Clients: []*conntest.Client{{Process: proc(4242, "checkout", "shop.service"), Local: netip.MustParseAddr("10.0.0.7"),
			Remote: netip.MustParseAddrPort("10.2.0.9:5432"), Rate: conntest.Steadily(100), Life: 20 * time.Millisecond}}}
	w.Run(15*time.Second, nil)
	m := New(Options{})
	var soon, none float64
	play(t, m, &sessiontest.Source{Events: list, Names: map[uint32]string{testNetNS: "web"}}, func() {
		all := series(t, m)
		in, ok := all["twtrace_ports_worst_exhausts_in_seconds{netns=web}"]
		switch {
		case ok && in == 0:
			none++
		case ok && in < 30:
			soon++
		}
	})
	if soon < 3 || none < 2 {
		t.Errorf("the end of the ports was near in %v samples, and there in %v", soon, none)
	}
	all := series(t, m)
	at := "laddr=10.0.0.7,netns=web,raddr=10.2.0.9,rport=5432"
	for name, low := range map[string]float64{
		"twtrace_ports_worst_ratio{netns=web}": 1, "twtrace_ports_used{" + at + "}": 1000, "twtrace_ports_usable{" + at + "}": 1000,
		"twtrace_ports_time_wait{" + at + "}": 990, "twtrace_storms_total{reason=ports}": 1, "twtrace_storm_active{reason=ports,severity=crit}": 1,
		"twtrace_ports_owner_info{comm=checkout,laddr=10.0.0.7,netns=web,raddr=10.2.0.9,rport=5432,unit=shop.service}":                 1,
		"twtrace_connections_failed_total{call=connect,cause=no_port,comm=checkout,errno=EADDRNOTAVAIL,role=client,unit=shop.service}": float64(w.Failed[netip.MustParseAddrPort("10.2.0.9:5432")]),
	} {
		if all[name] < low {
			t.Errorf("%s is %v, want %v", name, all[name], low)
		}
	}
	if n, _ := sum(all, "twtrace_finding_active", "id=TW101", "severity=crit"); n == 0 {
		t.Error("no TW101")
	}
	if math.IsInf(all["twtrace_ports_exhausts_in_seconds{"+at+"}"], 1) {
		t.Error("the end of the ports is not foreseen")
	}
}

// TestVitals: how the kernel side is doing, and how often programs ran only where that is
// counted.
func TestVitals(t *testing.T) {
	v := event.Vitals{MaxConns: 512, Unnamed: map[string]uint64{"gone": 9}, RingUsed: 112, RingSize: 4096, Programs: []event.Program{{Name: "tw_start", Skipped: 3}, {Name: "tw_end"}},
		Processes: []event.Usage{{Process: "tracer", CPU: 3 * time.Second, Memory: 4096}, {Process: "speaker", CPU: time.Second / 2, Memory: 8192}}}
	m := New(Options{Vitals: func() event.Vitals { return v }})
	c := newCrowd()
	m.Observe(c.sample())
	all := series(t, m)
	wants(t, all, map[string]float64{"twtrace_ring_used_bytes{}": 112, "twtrace_ring_size_bytes{}": 4096,
		"twtrace_bpf_recursion_total{program=tw_start}": 3, "twtrace_bpf_recursion_total{program=tw_end}": 0,
		"twtrace_process_cpu_seconds_total{process=tracer}": 3, "twtrace_process_cpu_seconds_total{process=speaker}": 0.5,
		"twtrace_process_resident_memory_bytes{process=tracer}": 4096, "twtrace_process_resident_memory_bytes{process=speaker}": 8192})
	wants(t, all, map[string]float64{"twtrace_map_capacity{map=conns}": 512, "twtrace_processes_unnamed_total{why=gone}": 9, "twtrace_processes_unnamed_total{why=throttled}": 0})
	if _, n := sum(all, "twtrace_map_entries"); n != 0 {
		t.Error("there are entries, which nobody has counted")
	}
	v.Conns = 5
	if _, n := sum(all, "twtrace_bpf_runs_total"); n != 0 {
		t.Error("there are runs, which nobody has counted")
	}
	v.Programs[1].Runs, v.Programs[1].Time = 7, 2*time.Second
	m.Observe(c.sample())
	wants(t, series(t, m), map[string]float64{"twtrace_map_entries{map=conns}": 5, "twtrace_bpf_runs_total{program=tw_end}": 7, "twtrace_bpf_run_seconds_total{program=tw_end}": 2,
		"twtrace_bpf_runs_total{program=tw_start}": 0})
}

// TestLint: promtool check metrics has nothing to say.
func TestLint(t *testing.T) {
	for _, d := range []Detail{Full, Basic} {
		m := New(Options{Detail: d, Version: "1.2.3", Vitals: func() event.Vitals {
			return event.Vitals{RingSize: 1, MaxConns: 2, Conns: 1, Programs: []event.Program{{Name: "a", Runs: 1}}, Processes: []event.Usage{{Process: "tracer", CPU: 1, Memory: 1}}}
		}})
		m.SetTrace(Trace{Up: true, Hooks: "fentry", Kernel: "6.12"})
		m.Reloaded(true, start)
		play(t, m, &sessiontest.Source{Events: twentyThree().events}, nil)
		problems, err := testutil.GatherAndLint(m)
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range problems {
			t.Errorf("%s: %s", p.Metric, p.Text)
		}
	}
}

// TestLabels: what would have a series for each connection or process is no label.
func TestLabels(t *testing.T) {
	for _, m := range table {
		for _, l := range slices.Concat(m.labels, m.full) {
			if slices.Contains([]string{"pid", "cookie", "lport", "exe", "cmdline", "cgroup"}, l) {
				t.Errorf("%s has the label %s", m.name, l)
			}
		}
	}
}
