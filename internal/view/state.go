package view

import (
	"cmp"
	"regexp"
	"slices"
	"strconv"
	"time"

	"github.com/twtrace/twtrace/internal/clock"
	"github.com/twtrace/twtrace/internal/conn"
	"github.com/twtrace/twtrace/internal/event"
	"github.com/twtrace/twtrace/internal/pressure"
	"github.com/twtrace/twtrace/internal/rows"
)

// Builder makes a State of each interval. The zero Builder is ready.
type Builder struct {
	Host   string
	Clock  clock.Clock
	Begin  time.Time                 // of the trace
	Limits conn.LimitsFunc           // of namespace 0, shown before any socket was seen; nil if unknown
	Name   func(netns uint32) string // nil if no namespace has one
	Home   uint32                    // the namespace that is traced alone, 0 if it is not one

	at        int64
	rows      rows.Builder
	past      pastValues
	troubled  troubled
	listeners listening
}

// Forget clears the histories.
func (b *Builder) Forget() { b.past = pastValues{} }

// Build makes the state at a snapshot with the pressure r measured of it. The caller
// adds what neither has: findings, events, SelfCPU, SelfRSS and the status in words.
// SelfCPU is set to unknown. The state keeps what r holds.
func (b *Builder) Build(s *conn.Snapshot, r *pressure.Reading) *State {
	st := &State{
		Time: time.Unix(0, s.At), Clock: b.Clock, Host: b.Host, Mode: "LIVE", SelfCPU: -1,
		Lost:     s.Totals.Lost,
		TimeWait: s.Totals.TimeWait, Parked: s.Totals.Parked, Established: s.Totals.Established,
		CloseWait: s.Totals.CloseWait, Polled: s.Totals.CloseWaitAt != 0,
		Pressure: *r, Worst: worst(r), Buckets: b.buckets(r),
	}
	b.rows.Name = b.Name
	st.Rows, st.Rates = b.rows.Build(s, r)
	st.listed = slices.Concat(st.Rows, b.listeners.rows(s, st.Rows, b.name)) // the past keeps it: no larger than that
	st.Rows = st.listed[:len(st.Rows):len(st.Rows)]                          // one piece of memory
	if !b.Begin.IsZero() {
		st.Uptime = st.Time.Sub(b.Begin)
	}
	if b.at != 0 {
		st.Interval = time.Duration(s.At - b.at)
	}
	b.at = s.At
	st.Past = b.past.add(st)
	st.Trouble = b.troubled.see(st)
	return st
}

// numbered is a network namespace in a filter.
var numbered = regexp.MustCompile(`\b\d{10}\b`)

// Named is a filter in words with the names of the network namespaces, where they have some.
func (b *Builder) Named(filter string) string {
	return numbered.ReplaceAllStringFunc(filter, func(s string) string {
		n, err := strconv.ParseUint(s, 10, 32)
		if err != nil {
			return s
		}
		return cmp.Or(b.name(uint32(n)), s)
	})
}

// name is what a network namespace is called, "" if it has no name.
func (b *Builder) name(netns uint32) string {
	if b.Name == nil {
		return ""
	}
	return b.Name(netns)
}

// worst is the fullest gauge of ports that anything is in use of, of the worst
// severity.
func worst(r *pressure.Reading) *pressure.Gauge {
	ports, local := r.Worst(pressure.Ports), r.Worst(pressure.LocalPorts)
	switch {
	case ports == nil:
		return local
	case local != nil && (local.Severity > ports.Severity || local.Severity == ports.Severity && local.Share() > ports.Share()):
		return local
	}
	return ports
}

// buckets is the namespace that is nearest to its limit.
func (b *Builder) buckets(r *pressure.Reading) Buckets {
	v := Buckets{Only: true}
	n := 0
	for i := range r.Gauges {
		g := &r.Gauges[i]
		if g.What != pressure.Buckets {
			continue
		}
		if n++; n > 1 {
			break
		}
		v = Buckets{Severity: g.Severity, NetNS: g.NetNS, Used: uint64(g.Used), Max: uint64(g.Limit), None: g.Limited && g.Limit == 0, NoLimit: g.Unlimited,
			Refusing: g.Refused > 0}
	}
	v.Only = n <= 1
	if n == 0 && b.Limits != nil { // nothing is in use yet
		v.NetNS = b.Home
		if l, ok := b.Limits(b.Home); ok {
			v.Max, v.None, v.NoLimit = uint64(max(l.MaxTW, 0)), l.MaxTW == 0, l.MaxTW < 0
		}
	}
	v.Name = b.name(v.NetNS)
	return v
}

// lost is the sum of all stages.
func lost(l *[event.Stages]uint64) uint64 {
	var n uint64
	for _, v := range l {
		n += v
	}
	return n
}
