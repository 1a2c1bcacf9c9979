// Package diagnose makes the facts of package advice from the table of connections, and
// from what a Host answers beside it.
package diagnose

import (
	"errors"
	"slices"
	"time"

	"github.com/twtrace/twtrace/internal/advice"
	"github.com/twtrace/twtrace/internal/clock"
	"github.com/twtrace/twtrace/internal/conn"
	"github.com/twtrace/twtrace/internal/event"
	"github.com/twtrace/twtrace/internal/kernel"
	"github.com/twtrace/twtrace/internal/pressure"
	"github.com/twtrace/twtrace/internal/session"
)

// Host answers what no event says about the host that is traced. live.Trace asks the
// kernel, replay.Files answers from the recording.
type Host interface {
	// Space returns a network namespace whose limits are known, with them.
	Space(netns uint32) (kernel.NetNS, kernel.Limits, bool)
	// Count reads the kernel's counters of a network namespace. The error is
	// errors.ErrUnsupported of a recording.
	Count(kernel.NetNS) (advice.Counted, error)
	// Sockets calls fn for each socket of a network namespace that is in one of the states
	// now. The error is errors.ErrUnsupported of a recording.
	Sockets(kernel.NetNS, kernel.StateMask, func(kernel.Socket) error) error
	// MemAvailable is MemAvailable of /proc/meminfo, in bytes.
	MemAvailable() (uint64, error)
	// Processes reports whether processes can be asked about: SystemTime, GoModules, Runs
	// and Descriptors.
	Processes() bool
	// SystemTime is how long a process was in the kernel so far.
	SystemTime(pid uint32) (time.Duration, error)
	// GoModules returns what the executable of a process is built from; ok is false if it
	// is no Go program.
	GoModules(pid uint32) (paths []string, ok bool)
	// Runs reports whether a process is there.
	Runs(pid uint32) bool
	// Stopped reports whether a signal or a debugger has stopped a process.
	Stopped(pid uint32) bool
	// Descriptors returns how many descriptors a process has open and may have, and
	// with pid 0 those of the whole host.
	Descriptors(pid uint32) (used, limit uint64, err error)
	// Holders returns the sockets on a local port of a network namespace, with their
	// processes where they are known; none of a recording. One that is only bound is in
	// state Closed.
	Holders(ns kernel.NetNS, port uint16, now time.Time) []conn.Socket
	// WatchLingering has Lingering know something from the next poll on.
	WatchLingering()
	// Lingering returns the connections of a network namespace that stay in CLOSE_WAIT
	// or FIN_WAIT2.
	Lingering(netns uint32, since, now time.Time) []session.Lingering
}

// Options of a Diagnosis.
type Options struct {
	// Spaces are the network namespaces to diagnose; nil: the fullest, at most
	// maxDiagnosed.
	Spaces func(*pressure.Reading) []uint32
	// Always are network namespaces that are diagnosed though nothing fills up there, if
	// there is room for them.
	Always []uint32
	// FromNow counts from the first call on, and not from the start of the trace: what
	// was before is not asked for.
	FromNow bool
	// Whole counts what happened since the first call, and not in the last seconds.
	Whole bool
	// TablesOnly leaves out what needs a pass over all sockets, and what the trace
	// knows of itself.
	TablesOnly bool
	// Clock prints the times in findings.
	Clock clock.Clock
}

// Diagnosis makes findings of a trace, one that runs or one in files.
type Diagnosis struct {
	opt     Options
	session *session.Session
	host    Host
	builds  builds
	old     *mark // since when is counted
	young   *mark // what takes its place
	lookups map[takenKey]*lookup
	called  time.Time // when Facts was called before
}

// New returns a Diagnosis of the trace of s.
func New(s *session.Session, h Host, o Options) *Diagnosis {
	return &Diagnosis{opt: o, session: s, host: h, builds: make(builds)}
}

// maxDiagnosed is how many network namespaces are diagnosed, the worst first.
const maxDiagnosed = 4

// Findings returns what is wrong, the worst first.
func (d *Diagnosis) Findings(now time.Time, r *pressure.Reading, snap *conn.Snapshot) []advice.Finding {
	return advice.Diagnose(d.Facts(now, r, snap)...)
}

// Facts gathers the facts of the namespaces that are diagnosed, from a snapshot of the
// table and a reading of its limits at now.
func (d *Diagnosis) Facts(now time.Time, r *pressure.Reading, snap *conn.Snapshot) []advice.Facts {
	if d.old == nil {
		d.old = d.firstMark(now, snap)
		d.young = d.old
	}
	d.old.time(d.host, snap, now)
	if !d.opt.TablesOnly {
		d.host.WatchLingering()
	}
	gauges := make(map[pressure.Key]*pressure.Gauge, len(r.Gauges))
	for i := range r.Gauges {
		gauges[r.Gauges[i].Key] = &r.Gauges[i]
	}
	var all []advice.Facts
	for _, inum := range d.spaces(r, snap) {
		f, ok := d.space(inum, now, snap)
		if !ok {
			continue
		}
		d.destinations(&f, snap, gauges)
		d.timers(&f)
		d.timeWait(&f, snap)
		f.Traffic.Buckets = gauges[pressure.Key{What: pressure.Buckets, NetNS: inum}]
		d.traffic(&f, now, snap)
		d.sole(&f, snap)
		d.searches(&f)
		all = append(all, f)
	}
	if len(all) > 0 {
		d.exits(&all[0].Traffic, snap)
	}
	d.forgetTaken(now)
	d.called = now
	d.age(now, snap)
	return all
}

// spaces are the network namespaces to diagnose.
func (d *Diagnosis) spaces(r *pressure.Reading, snap *conn.Snapshot) []uint32 {
	if d.opt.Spaces != nil {
		return d.opt.Spaces(r)
	}
	all := Fullest(r)
	// Where calls fail, there may be no socket at all.
	for i := range snap.Groups {
		g := &snap.Groups[i]
		if len(all) < maxDiagnosed && g.Fails.Total() > 0 && g.Kind != conn.GroupOther && !slices.Contains(all, g.NetNS) {
			all = append(all, g.NetNS)
		}
	}
	for _, ns := range d.opt.Always {
		if len(all) < maxDiagnosed && !slices.Contains(all, ns) {
			all = append(all, ns)
		}
	}
	return all
}

// Fullest are the network namespaces that are nearest to a limit, from the gauges,
// which come the worst first.
func Fullest(r *pressure.Reading) []uint32 {
	var out []uint32
	for i := range r.Gauges {
		ns := r.Gauges[i].NetNS
		if !slices.Contains(out, ns) {
			if out = append(out, ns); len(out) == maxDiagnosed {
				break
			}
		}
	}
	return out
}

// space is what the host says of a network namespace; ok is false if it says nothing.
func (d *Diagnosis) space(inum uint32, now time.Time, snap *conn.Snapshot) (f advice.Facts, ok bool) {
	ns, limits, ok := d.host.Space(inum)
	if !ok {
		return f, false
	}
	f = advice.Facts{Time: now, Clock: d.opt.Clock, NetNS: ns, Limits: limits, Traced: true, Enter: ns.Enter()}
	counted, err := d.host.Count(ns)
	switch {
	case errors.Is(err, errors.ErrUnsupported):
		d.countByTable(&f, snap)
		return f, true
	case err != nil:
		return f, false
	}
	if f.MemAvailable, err = d.host.MemAvailable(); err != nil {
		return f, false
	}
	d.old.know(inum, counted)
	d.young.know(inum, counted)
	d.old.queues(counted)
	d.young.queues(counted)
	for i := range counted.Host.Queues {
		q := &counted.Host.Queues[i]
		q.Peak = d.old.peaks[q.Cookie]
	}
	f.Between(d.old.counters[inum], counted)
	f.Traffic.Window = f.Time.Sub(d.old.at)
	return f, true
}

// countByTable sets what the table counts, where nobody can ask the kernel.
func (d *Diagnosis) countByTable(f *advice.Facts, snap *conn.Snapshot) {
	f.Window = f.Time.Sub(d.old.at)
	if i := slices.IndexFunc(snap.Buckets, func(b conn.Buckets) bool { return b.NetNS == f.NetNS.Inum }); i >= 0 {
		b := &snap.Buckets[i]
		f.After = kernel.Counters{TimeWait: uint64(b.Used()), TWOverflow: b.Refused}
		f.Before.TWOverflow = d.old.refused[f.NetNS.Inum]
	}
}

// timeWait adds how long the sockets in TIME_WAIT of the namespace have left.
func (d *Diagnosis) timeWait(f *advice.Facts, snap *conn.Snapshot) {
	i := slices.IndexFunc(snap.Buckets, func(b conn.Buckets) bool { return b.NetNS == f.NetNS.Inum })
	if i < 0 {
		return
	}
	b := &snap.Buckets[i]
	expiry(&f.TimeWait, b.TimeWait, b.Flow)
	d.closers(f, snap, b.Used())
}

// exits adds what went away with its namespace, which nobody can read any more.
func (d *Diagnosis) exits(t *advice.Traffic, snap *conn.Snapshot) {
	gone := make(map[uint32]bool)
	for i := range snap.Groups {
		g := &snap.Groups[i]
		before := d.old.groups[g.ID]
		if n := less(countsOf(g).exits, before.exits); n > 0 {
			t.NetnsExits += n
			gone[g.NetNS] = true
		}
	}
	t.NetnsGone = len(gone)
}

// less is by how much a count has grown.
func less(now, before uint64) uint64 { return now - min(now, before) }

// uses is the states of a destination, as a dump of the sockets would have them.
func uses(d *conn.Destination) (s advice.States) {
	s.Full[event.TimeWait] = uint32(d.TimeWait)
	s.Full[event.Established] = uint32(d.Established + d.CloseWait)
	s.Full[event.SynSent] = uint32(d.SynSent)
	s.Parked = uint32(d.Parked)
	return s
}
