// Package conn turns events into connections and the TIME_WAIT table: how many
// sockets each process holds towards where, in which state, and what became of
// them. It is a pure state machine. It starts no goroutine, does no I/O and
// reads no clock: time is that of the events, and of the caller for views.
//
// Memory is bounded. A socket costs 48 bytes and 11 to 21 more in the index that
// finds it by its cookie, and the table holds at most Options.MaxSockets. A group
// (one row: an owner and where it connects to) costs about 0.8 KiB with its
// histogram, 0.4 KiB more for its last closes, and 0.6 KiB more as a client that opened
// more than a few connections; a destination costs 0.3 KiB, and
// one with more than a few sockets 0.8 KiB more for its flow. Both are limited, and
// dropped when nothing in them is alive and nothing happened for Options.Idle.
// 262,144 sockets in TIME_WAIT and 100,000 live ones of some hundred groups take 23
// to 33 MiB; the full number of groups and destinations would add 85 MiB, and 50 MiB
// more if all destinations were busy. When few more destinations fit, the table
// holds those that clients connect to often, and counts the others.
//
// Events come in ring order, which is not time order, so the end of a socket may
// come just before its start. States therefore only move forward, each fact of a
// connection counts once, and the table remembers the last few thousand sockets
// that ended, for events that come late.
package conn

import (
	"hash/maphash"
	"time"

	"github.com/twtrace/twtrace/internal/event"
)

// Defaults of Options.
const (
	DefaultMaxSockets      = 1 << 20
	DefaultMaxGroups       = 65536
	DefaultMaxDestinations = 65536
	DefaultMaxPIDs         = 32
	DefaultIdle            = 2 * time.Minute
)

// Options bounds a Table. Zero values mean the defaults.
type Options struct {
	MaxSockets      int           // sockets held at once; Totals.Untracked counts the others
	MaxGroups       int           // groups; the others share one group of GroupOther
	MaxDestinations int           // destinations; Totals.DestinationsRefused counts the others
	MaxPIDs         int           // processes of one comm and destination, before they share a group
	Idle            time.Duration // how long the table keeps a group without a socket
	Limits          LimitsFunc    // nil if no limit is known
}

// Table is the state of all connections. It is not safe for concurrent use.
type Table struct {
	opt       Options
	seed      maphash.Seed
	now       int64 // the latest time seen
	swept     int64 // when idle groups were last dropped
	sockets   socketSet
	ended     recent
	listeners listeners
	listening map[listening]struct{}
	taken     map[uint32]*takenPorts // by network namespace
	boundIdle []BoundIdle
	closeWait []uint64 // keys of the connections that the last poll showed so
	tuples    map[fourNumbers]*TupleFail
	groups    groupSet
	dests     destSet
	netns     netnsSet
	total     Totals
	timings   *Timings
}

// New returns an empty table.
func New(o Options) *Table {
	o.MaxSockets = orDefault(o.MaxSockets, DefaultMaxSockets)
	o.MaxGroups = orDefault(o.MaxGroups, DefaultMaxGroups)
	o.MaxDestinations = orDefault(o.MaxDestinations, DefaultMaxDestinations)
	o.MaxPIDs = orDefault(o.MaxPIDs, DefaultMaxPIDs)
	if o.Idle <= 0 {
		o.Idle = DefaultIdle
	}
	seed := maphash.MakeSeed()
	return &Table{
		opt:       o,
		seed:      seed,
		sockets:   socketSet{ids: newIndex(seed)},
		listeners: listeners{at: make(map[listenKey][]listener)},
		listening: make(map[listening]struct{}),
		taken:     make(map[uint32]*takenPorts),
		tuples:    make(map[fourNumbers]*TupleFail),
		groups:    newGroupSet(seed),
		dests:     newDestSet(),
		netns:     make(netnsSet),
		timings:   new(Timings),
	}
}

func orDefault(n, def int) int {
	if n <= 0 {
		return def
	}
	return n
}

// Apply takes one event into account and completes it where the table knows
// more than its source: Process and Owner, and InState of a TimeWaitExit. It
// allocates only for what it sees for the first time.
func (t *Table) Apply(e *event.Event) {
	if e.Time > t.now {
		t.now = e.Time
		if t.now-t.swept > sweepEvery {
			t.Sweep(t.now)
		}
	}
	switch e.Kind {
	case event.Open, event.Parked, event.TimeWaitEnter, event.Snapshot,
		event.TimeWaitExit, event.TimeWaitRefused, event.Close:
		t.advance(e)
	case event.StateChange:
		s := t.sockets.get(t.key(e))
		if s == nil {
			s = new(socket)
		}
		t.complete(e, s)
	case event.Fail:
		t.fail(e)
	case event.Listen:
		t.pinListener(e)
		if !t.listeners.note(e) {
			t.total.ListenersRefused++
		}
	case event.Lost:
		t.total.Lost[e.Stage.Index()] += e.Count
	}
}

// fail counts a call that failed. The table holds no socket for it: a connection
// that never existed has no state.
func (t *Table) fail(e *event.Event) {
	var none socket
	t.complete(e, &none)
	t.failPort(e)
	t.timings.searched(e)
	g := t.groups.get(t.group(e))
	g.touch(e)
	for _, c := range []*Counters{&g.Counters, &t.total.Counters} {
		c.Fails.add(e.Call, e.Errno, e.Cause)
		if e.Cause == event.NoPort {
			c.NoPort++
		}
		c.GivenUp.add(e)
	}
}
