package main

import (
	"cmp"
	"slices"
	"time"

	"github.com/twtrace/twtrace/internal/advice"
	"github.com/twtrace/twtrace/internal/conn"
	"github.com/twtrace/twtrace/internal/event"
	"github.com/twtrace/twtrace/internal/pressure"
	"github.com/twtrace/twtrace/internal/process"
)

// markEvery is how long a mark is the young one. What counts as of late began one to
// two of these ago.
const markEvery = 5 * time.Second

// mark is the counts at one moment: what came since is their difference to those of
// now.
type mark struct {
	at       time.Time
	groups   map[uint64]groupCounts // by Group.ID; of those that did nothing, none
	failed   map[pressure.Key]uint64
	refused  map[uint32]uint64 // TIME_WAIT, by namespace
	counters map[uint32]advice.Counted
	system   map[uint32]timed // by pid
}

// timed is how long a process was in the kernel, up to a moment.
type timed struct {
	at   time.Time
	used time.Duration
}

// firstMark is the begin of the trace, where the counts of the tables begin too.
func (d *diagnosis) firstMark(now time.Time, snap *conn.Snapshot) *mark {
	if d.session == nil || d.session.tape != nil && d.session.tape.from != 0 {
		return d.newMark(now, snap, nil)
	}
	return d.newMark(d.session.beginning(), &conn.Snapshot{}, nil)
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
	pids                     int // of a group of many
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
		fails: g.Fails,
	}
}

// newMark makes a mark, in the memory of one that is over if that is not nil: where
// there are many groups, it is a lot.
func (d *diagnosis) newMark(at time.Time, snap *conn.Snapshot, over *mark) *mark {
	var groups map[uint64]groupCounts
	if over != nil {
		groups = over.groups
		clear(groups)
	} else {
		groups = make(map[uint64]groupCounts, len(snap.Groups))
	}
	m := &mark{at: at, groups: groups, failed: make(map[pressure.Key]uint64),
		refused: make(map[uint32]uint64), counters: make(map[uint32]advice.Counted), system: make(map[uint32]timed)}
	for i := range snap.Groups {
		if v := countsOf(&snap.Groups[i]); v != (groupCounts{}) {
			m.groups[snap.Groups[i].ID] = v
		}
	}
	for i := range snap.Destinations {
		if v := &snap.Destinations[i]; refusals(v) > 0 {
			m.failed[keyOf(v)] = refusals(v)
		}
	}
	for _, b := range snap.Spaces {
		m.refused[b.NetNS] = b.Refused
	}
	if d.limits.tape == nil {
		m.time(snap, at)
	}
	return m
}

// age has a new mark take over, if it is time.
func (d *diagnosis) age(now time.Time, snap *conn.Snapshot) {
	if d.whole || now.Sub(d.young.at) < markEvery {
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

// refusals are the calls that found no port.
func refusals(d *conn.Destination) uint64 {
	if d.Remote.IsValid() {
		return d.Exhausted
	}
	return d.Exhausted + d.Fails.Of(event.Bind, eaddrinuse)
}

// The errnos that findings rest on: Linux's on every architecture Go supports but
// mips.
const (
	enfile     = 23
	emfile     = 24
	eaddrinuse = 98
)

// mostTimed is how many processes are asked how long they were in the kernel: those
// that open most.
const mostTimed = 8

// manyOpened is how many connections such a process must have opened.
const manyOpened = 64

// time notes how long the processes that open most were in the kernel, of those that
// are not known yet.
func (m *mark) time(snap *conn.Snapshot, now time.Time) {
	if len(m.system) >= mostTimed || process.Usable() != nil {
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
	for _, pid := range pids[:min(len(pids), mostTimed-len(m.system))] {
		if t, err := process.SystemTime(pid); err == nil {
			m.system[pid] = timed{now, t}
		}
	}
}
