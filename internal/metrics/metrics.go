// Package metrics are the Prometheus metrics of a trace: of what package monitor samples
// each interval, from whatever source. One goroutine, the session's, calls Observe and
// Event; a scrape reads what the last Observe has published, and waits for nothing. The
// number of series is bounded, whatever happens on the host: see docs/metrics.md, which is
// made from the table of this package.
package metrics

import (
	"net/http"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/twtrace/twtrace/internal/advice"
	"github.com/twtrace/twtrace/internal/conn"
	"github.com/twtrace/twtrace/internal/event"
	"github.com/twtrace/twtrace/internal/monitor"
)

// Defaults of Options.
const (
	DefaultTopOwners       = 200
	DefaultTopDestinations = 10
)

// maxScrapes is how many scrapes are answered at once; others get a 503.
const maxScrapes = 8

// Options of Metrics. Zero values mean the defaults.
type Options struct {
	Detail          Detail
	TopOwners       int // owners with series of their own
	TopDestinations int // the fullest ones; up to five times as many if more are at warn or crit
	Version         string
	Revision        string
	// Session answers what a sample does not have; nil if nobody does.
	Session Session
	// Vitals is how the kernel side of a live trace is doing; nil if there is none. Observe
	// calls it.
	Vitals func() event.Vitals
}

// Session is what Observe asks a session.Session, on its goroutine.
type Session interface {
	TracedDrift() []event.Drift
	NetNSName(netns uint32) string
}

// Metrics are the metrics of one process. Observe, Event and Restart are for one
// goroutine; all other methods for any.
type Metrics struct {
	opt      Options
	registry *prometheus.Registry    // of what is not in our table
	sampled  atomic.Pointer[[]point] // of the last Observe
	mu       sync.Mutex              // of Set... and Reloaded
	fixed    atomic.Pointer[[]point]
	trace    Trace
	reload   reload

	owners       *owners
	spaces       spaces
	destinations destinations
	storms       stormCount
	events       [event.Held + 1]uint64
	totals       totals
	timings      conn.Timings // of tables before this one
	lastTimings  *conn.Timings
	length       int // of the last batch
}

// New returns the metrics of a process that has no trace yet.
func New(o Options) *Metrics {
	if o.TopOwners <= 0 {
		o.TopOwners = DefaultTopOwners
	}
	if o.TopDestinations <= 0 {
		o.TopDestinations = DefaultTopDestinations
	}
	owners := o.TopOwners
	if o.Detail == Basic {
		owners = 0
	}
	m := &Metrics{opt: o, registry: prometheus.NewRegistry(), owners: newOwners(owners, o.Detail == Basic),
		destinations: destinations{top: o.TopDestinations},
		storms:       stormCount{make(map[stormKey]event.Severity), make(map[event.Reason]uint64)}}
	if o.Session != nil {
		m.spaces.name = o.Session.NetNSName
	}
	m.publishFixed()
	m.registry.MustRegister(collectors.NewGoCollector()) // who answers may not read /proc: the vitals have what processes take
	return m
}

// Handler answers scrapes, in the text format, as OpenMetrics or as protobuf, which alone
// has native histograms.
func (m *Metrics) Handler() http.Handler {
	return promhttp.InstrumentMetricHandler(m.registry, compressed(promhttp.HandlerFor(m, promhttp.HandlerOpts{
		EnableOpenMetrics: true, DisableCompression: true, MaxRequestsInFlight: maxScrapes, Registry: m.registry})))
}

// Register adds metrics of other packages, whose names do not start with those of the
// table.
func (m *Metrics) Register(c prometheus.Collector) error { return m.registry.Register(c) }

// Event counts an event: for monitor.Options.Each. It allocates nothing but for storms.
func (m *Metrics) Event(e *event.Event) {
	if int(e.Kind) < len(m.events) {
		m.events[e.Kind]++
	}
	m.storms.observe(e)
}

// Restart has the counters go on where the next sample is of another table.
func (m *Metrics) Restart() {
	m.owners.restart()
	m.totals.restart()
	if m.lastTimings != nil {
		m.timings.Merge(m.lastTimings)
		m.lastTimings = nil
	}
	clear(m.storms.active)
}

// Observe publishes a sample. It keeps nothing of it.
func (m *Metrics) Observe(s *monitor.Sample) {
	b := &batch{detail: m.opt.Detail, points: make([]point, 0, m.length+m.length/8)}
	b.add(sampleTime, nil, float64(s.Now.UnixNano())/1e9)
	m.totals.observe(s.Table, s.Status.Reset)
	m.totals.points(b)
	m.owners.observe(s.Table, s.Status.Reset)
	m.owners.points(b)
	m.spaces.observe(b, s.Table, &s.Pressure)
	if m.opt.Detail == Full {
		m.destinations.observe(b, &s.Pressure, m.spaces.nameOf)
	}
	m.storms.points(b)
	m.histograms(b, s.Table.Timings)
	findings(b, s.Findings)
	for k := event.Snapshot; k <= event.Lost; k++ {
		b.add(events, label(events.labels, k.String()), float64(m.events[k]))
	}
	m.drift(b)
	unknownOwners(b, s.Table)
	if m.opt.Vitals != nil {
		vitals(b, m.opt.Vitals())
	}
	m.foldings(b)
	m.length = len(b.points)
	m.sampled.Store(&b.points)
}

// histograms adds those of all tables that were sampled.
func (m *Metrics) histograms(b *batch, t *conn.Timings) {
	sum := m.timings
	if t != nil {
		sum.Merge(t)
		if m.lastTimings == nil {
			m.lastTimings = new(conn.Timings)
		}
		*m.lastTimings = *t
	}
	for role := range sum.Life {
		b.addHistogram(lifetime, label(lifetime.labels, roleName(event.Role(role))), histogramOf(&sum.Life[role], conn.LifeMarks))
	}
	b.addHistogram(twDuration, nil, histogramOf(&sum.TimeWait, conn.TimeWaitMarks))
	b.addHistogram(portSearch, nil, histogramOf(&sum.Search, conn.SearchMarks))
}

// findings adds those that are present, consequences of others too.
func findings(b *batch, list []advice.Finding) {
	type key struct {
		id       string
		severity event.Severity
	}
	n := make(map[key]int)
	var count func([]advice.Finding)
	count = func(list []advice.Finding) {
		for i := range list {
			if f := &list[i]; f.Severity >= event.Info {
				n[key{f.ID, f.Severity}]++
			}
			count(list[i].Under)
		}
	}
	count(list)
	for k, v := range n {
		b.add(finding, label(finding.labels, k.id, severityName(k.severity)), float64(v))
	}
}

// drift adds the differences to the kernel's counters: 0 where nobody compares them.
func (m *Metrics) drift(b *batch) {
	var births, reused, refused, alive int64
	if m.opt.Session != nil {
		for _, d := range m.opt.Session.TracedDrift() {
			births, reused = births+abs(d.Births), reused+abs(d.Reused)
			refused, alive = refused+abs(d.Refused), alive+abs(d.Alive)
		}
	}
	for name, n := range map[string]int64{"births": births, "reused": reused, "refused": refused, "alive": alive} {
		b.add(drift, label(drift.labels, name), float64(n))
	}
}

func abs(n int64) int64 { return max(n, -n) }

// vitals adds how the kernel side is doing.
func vitals(b *batch, v event.Vitals) {
	if v.RingSize > 0 {
		b.add(ringUsed, nil, float64(v.RingUsed))
		b.add(ringSize, nil, float64(v.RingSize))
	}
	if v.MaxConns > 0 {
		l := label(mapCapacity.labels, "conns")
		b.add(mapCapacity, l, float64(v.MaxConns))
		if v.Conns > 0 {
			b.add(mapEntries, l, float64(v.Conns))
		}
	}
	for _, why := range []string{"gone", "throttled"} {
		b.add(unnamed, label(unnamed.labels, why), float64(v.Unnamed[why]))
	}
	for _, p := range v.Processes {
		l := label(processCPU.labels, clean(p.Process))
		b.add(processCPU, l, p.CPU.Seconds())
		b.add(processMemory, l, float64(p.Memory))
	}
	counted := slices.ContainsFunc(v.Programs, func(p event.Program) bool { return p.Runs > 0 })
	for _, p := range v.Programs {
		l := label(bpfRuns.labels, clean(p.Name))
		b.add(bpfSkipped, l, float64(p.Skipped))
		if counted {
			b.add(bpfRuns, l, float64(p.Runs))
			b.add(bpfSeconds, l, p.Time.Seconds())
		}
	}
}

// unknownOwners counts the sockets of groups whose owner is not known.
func unknownOwners(b *batch, t *conn.Snapshot) {
	var before, rest uint64
	for i := range t.Groups {
		g := &t.Groups[i]
		switch {
		case g.Kind != conn.GroupProcess || g.Owner.Comm != "":
		case g.Opens+g.Parks+g.Enters == 0:
			before += g.Alive()
		default:
			rest += g.Alive()
		}
	}
	b.add(unknown, label(unknown.labels, "before"), float64(before))
	b.add(unknown, label(unknown.labels, "other"), float64(rest))
}

// foldings adds what has no series of its own.
func (m *Metrics) foldings(b *batch) {
	add := func(n uint64, list ...*metric) {
		for _, of := range list {
			b.add(folded, label(folded.labels, of.name), float64(n))
		}
	}
	add(m.spaces.folded, timeWait)
	if m.opt.Detail == Basic {
		return
	}
	add(m.owners.folded, opened, closed, shortLived, open, ownerTW)
	add(m.owners.failsFolded, failed)
	add(m.destinations.folded, portsUsed)
	for i, f := range families {
		b.add(retired, label(retired.labels, f.metric.name), float64(m.owners.retired[i]))
	}
	b.add(retired, label(retired.labels, failed.name), float64(m.owners.gone))
}

// Trace says what is traced, and how.
type Trace struct {
	Up       bool   // hooks are attached
	Hooks    string // the set of them: "fentry" or "timer"; "" if none was ever attached
	Kernel   string // its release
	Syscalls bool   // system calls are traced
}

// SetTrace publishes what is traced. Until then nothing is.
func (m *Metrics) SetTrace(t Trace) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.trace = t
	m.publishFixed()
}

// reload is the last time that the configuration was read again.
type reload struct {
	done, ok bool
	at       time.Time // the last one that worked
}

// Reloaded publishes that the configuration was read again, and whether it could be used.
func (m *Metrics) Reloaded(ok bool, at time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.reload.done, m.reload.ok = true, ok
	if ok {
		m.reload.at = at
	}
	m.publishFixed()
}

// publishFixed publishes what no sample has.
func (m *Metrics) publishFixed() {
	b := &batch{detail: m.opt.Detail}
	b.add(buildInfo, label(buildInfo.labels, clean(m.opt.Version), clean(m.opt.Revision), runtime.Version()), 1)
	if t := m.trace; t.Hooks != "" {
		on := "off"
		if t.Syscalls {
			on = "on"
		}
		b.add(traceInfo, label(traceInfo.labels, clean(t.Hooks), clean(t.Kernel), on), 1)
	}
	b.add(traceUp, nil, float64(btoi(m.trace.Up)))
	if m.reload.done {
		b.add(reloaded, nil, float64(btoi(m.reload.ok)))
		if !m.reload.at.IsZero() {
			b.add(reloadedAt, nil, float64(m.reload.at.UnixNano())/1e9)
		}
	}
	m.fixed.Store(&b.points)
}
