package diagnose

import (
	"cmp"
	"slices"
	"time"

	"github.com/twtrace/twtrace/internal/advice"
	"github.com/twtrace/twtrace/internal/conn"
	"github.com/twtrace/twtrace/internal/event"
	"github.com/twtrace/twtrace/internal/pressure"
)

// markEvery is how long a mark is the young one. The window that is counted started one
// to two of these ago.
const markEvery = 5 * time.Second

// mark is the counts at one moment: what came since is their difference to those of
// now.
type mark struct {
	at       time.Time
	groups   map[uint64]groupCounts // by Group.ID; of those that did nothing, none
	failed   map[pressure.Key]uint64
	fails    map[pressure.Key]uint64 // for whatever reason
	opened   map[pressure.Key]uint64 // nil unless connections found no room for a group
	refused  map[uint32]uint64       // TIME_WAIT, by namespace
	counters map[uint32]advice.Counted
	peaks    map[uint64]uint32 // the most that any read since showed in the accept queue of a listener, by cookie
	system   map[uint32]timed  // by pid
}

// timed is how long a process was in the kernel, up to a moment.
type timed struct {
	at   time.Time
	used time.Duration
}

// firstMark is the start of the trace, where the counts of the tables start too, or now
// where records before it are not shown.
func (d *Diagnosis) firstMark(now time.Time, snap *conn.Snapshot) *mark {
	if d.opt.TablesOnly || d.opt.FromNow {
		return d.newMark(now, snap, nil)
	}
	return d.newMark(d.session.Began(), &conn.Snapshot{}, nil)
}

// groupCounts is what a mark knows of a group.
type groupCounts struct {
	opens, ends              uint64
	closer                   [event.BothSides + 1]uint64
	resetSent, resetReceived uint64
	exits                    uint64 // with its namespace
	over, byReset            uint64 // ends of TIME_WAIT, and those by a RST
	long                     conn.LongWaits
	fails                    conn.Fails
	givenUp                  conn.GivenUp
	idleResets, dataLost     uint64
	noPort                   uint64
	enters                   uint64 // into TIME_WAIT, those included that the kernel refused
	pids                     int    // of a group of many
}

func countsOf(g *conn.Group) groupCounts {
	pids := 0
	if g.Kind == conn.GroupComm {
		pids = g.PIDs
	}
	return groupCounts{
		pids: pids, opens: g.Opens, ends: g.Ends, closer: g.Closer,
		resetSent: g.Way(event.ResetSent), resetReceived: g.Way(event.ResetReceived),
		exits: g.Exited(event.NetnsExit) + g.Way(event.NetnsExit),
		over:  g.Exit(), byReset: g.Exited(event.Reset), long: g.Long,
		fails: g.Fails, givenUp: g.GivenUp, idleResets: g.IdleResets, dataLost: g.DataLost, noPort: g.NoPort, enters: g.Enters + g.Refused,
	}
}

// newMark makes a mark, in the memory of one that is over if that is not nil: where
// there are many groups, it is a lot.
func (d *Diagnosis) newMark(at time.Time, snap *conn.Snapshot, over *mark) *mark {
	var groups map[uint64]groupCounts
	if over != nil && len(over.groups) < 4*len(snap.Groups)+1024 { // what a map has had it keeps
		groups = over.groups
		clear(groups)
	} else {
		groups = make(map[uint64]groupCounts, len(snap.Groups))
	}
	m := &mark{at: at, groups: groups, failed: make(map[pressure.Key]uint64),
		fails: make(map[pressure.Key]uint64), peaks: make(map[uint64]uint32),
		opened: opened(snap), refused: make(map[uint32]uint64), counters: make(map[uint32]advice.Counted), system: make(map[uint32]timed)}
	for i := range snap.Groups {
		if v := countsOf(&snap.Groups[i]); v != (groupCounts{}) {
			m.groups[snap.Groups[i].ID] = v
		}
	}
	for i := range snap.Destinations {
		if v := &snap.Destinations[i]; refusals(v) > 0 {
			m.failed[keyOf(v)] = refusals(v)
		}
		if v := &snap.Destinations[i]; v.Fails.Total() > 0 {
			m.fails[keyOf(v)] = v.Fails.Total()
		}
	}
	for _, b := range snap.Buckets {
		m.refused[b.NetNS] = b.Refused
	}
	m.time(d.host, snap, at)
	return m
}

// opened is how many connections there were to each destination, where the groups do not
// say it: some found no room for one. At the start of a trace there are none.
func opened(snap *conn.Snapshot) map[pressure.Key]uint64 {
	if snap.Totals.GroupsRefused == 0 && len(snap.Groups) > 0 {
		return nil
	}
	all := make(map[pressure.Key]uint64)
	for i := range snap.Destinations {
		if v := &snap.Destinations[i]; v.Opens > 0 {
			all[keyOf(v)] = v.Opens
		}
	}
	return all
}

// age has a new mark take over, if it is time.
func (d *Diagnosis) age(now time.Time, snap *conn.Snapshot) {
	if d.opt.Whole || now.Sub(d.young.at) < markEvery {
		return
	}
	over := d.old
	if over == d.young { // the first one
		over = nil
	}
	d.old, d.young = d.young, d.newMark(now, snap, over)
}

// know takes over the counters of a namespace, if they are the first ones.
func (m *mark) know(inum uint32, c advice.Counted) {
	if _, ok := m.counters[inum]; !ok {
		m.counters[inum] = c
	}
}

// queues notes how full the accept queues are.
func (m *mark) queues(c advice.Counted) {
	for i := range c.Host.Queues {
		if q := &c.Host.Queues[i]; q.Waiting > m.peaks[q.Cookie] {
			m.peaks[q.Cookie] = q.Waiting
		}
	}
}

// refusals are the calls that found no port.
func refusals(d *conn.Destination) uint64 {
	if d.Remote.IsValid() {
		return d.Exhausted
	}
	return d.Exhausted + d.Fails.Of(event.Bind, event.EADDRINUSE)
}

// maxTimed is how many processes are asked how long they were in the kernel: those
// that open most.
const maxTimed = 8

// manyOpened is how many connections such a process must have opened.
const manyOpened = 64

// time notes how long the processes that open most were in the kernel, of those that
// are not known yet.
func (m *mark) time(h Host, snap *conn.Snapshot, now time.Time) {
	if len(m.system) >= maxTimed || !h.Processes() {
		return
	}
	opens := make(map[uint32]uint64)
	for i := range snap.Groups {
		if g := &snap.Groups[i]; g.Kind == conn.GroupProcess && g.Role == event.Client && g.Owner.Known() {
			opens[g.Owner.PID] += g.Opens
		}
	}
	var pids []uint32
	for pid, n := range opens {
		if _, known := m.system[pid]; n > manyOpened && !known {
			pids = append(pids, pid)
		}
	}
	slices.SortFunc(pids, func(a, b uint32) int { return cmp.Compare(opens[b], opens[a]) })
	for _, pid := range pids[:min(len(pids), maxTimed-len(m.system))] {
		if t, err := h.SystemTime(pid); err == nil {
			m.system[pid] = timed{now, t}
		}
	}
}
