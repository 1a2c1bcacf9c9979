// Package view is the live view: what it shows (State), a pure function that
// lays it out (Frame), the same as plain tables for pipes (Batch), and a thin
// loop that draws frames on a terminal and reads keys. It knows events only
// through the tables of package conn, so that a trace file feeds it as well as
// a live trace does.
package view

import (
	"net/netip"
	"time"

	"github.com/twtrace/twtrace/internal/advice"
	"github.com/twtrace/twtrace/internal/conn"
	"github.com/twtrace/twtrace/internal/event"
	"github.com/twtrace/twtrace/internal/pressure"
)

// Severity is how bad something is.
type Severity uint8

// The severities that are marked.
const (
	Fine Severity = iota
	Warn
	Crit
)

func (s Severity) String() string { return [...]string{"", "WARN", "CRIT"}[min(s, Crit)] }

// mark is the sign of a severity: colour is never the only one.
func (s Severity) mark() string { return [...]string{" ", "~", "!"}[min(s, Crit)] }

// Rates are per second over the last interval; NaN where no interval has passed.
type Rates struct {
	In    float64 // begins of TIME_WAIT
	Out   float64 // ends of TIME_WAIT
	Open  float64 // connections established
	Close float64 // connections that ended
	Fail  float64 // calls that failed
}

// State is everything that one frame shows.
type State struct {
	Time     time.Time
	Host     string
	Mode     string        // "LIVE", "REPLAY 22:14:07 x4"
	Uptime   time.Duration // of the trace
	Interval time.Duration
	Lost     [event.StageQueue + 1]uint64
	SelfCPU  float64 // twtrace's own use of CPU, 1 is a whole one; negative if unknown
	SelfRSS  uint64  // twtrace's own memory in bytes, 0 if unknown

	TimeWait    uint64
	Parked      uint64
	Established uint64
	Rates       Rates
	History     []uint64 // TIME_WAIT at the last intervals, oldest first
	Opened      []uint64 // connections opened per second then

	Pressure pressure.Reading // of all limits, the worst first
	Buckets  Buckets          // of those, the fullest namespace's TIME_WAIT sockets
	Worst    *pressure.Gauge  // of those, where the ports are used most, nil if nowhere

	Severity Severity // of Finding
	Finding  string   // the top finding in words with its rule, "" if there is none

	Remarks []string // what to know of the trace itself, each in a few words

	Recording Recording // of the trace to a file, the last one

	Rows     []Row            // flows; the frame groups and sorts them
	Filter   string           // of the trace in words, "" if there is none
	Events   []Entry          // the latest first
	Findings []advice.Finding // the worst first
}

// Buckets is how near a network namespace is to its tcp_max_tw_buckets.
type Buckets struct {
	Severity Severity
	NetNS    uint32
	Name     string // of the namespace, "" if it has none
	Used     uint64 // mini-sockets, in TIME_WAIT and parked
	Max      uint64 // 0 if unknown
	Refusing bool   // some were refused in the last interval
	Only     bool   // no other namespace was seen
}

// Recording is what becomes of the file that the user has the trace recorded to.
type Recording struct {
	Path    string
	Records uint64
	Bytes   int64  // written so far
	Failed  string // why it has ended by itself, "" if it has not
}

// Row is one line of the table.
type Row struct {
	Severity Severity
	NetNS    uint32
	Kind     conn.GroupKind
	PreStart bool // sockets from before the trace, of which no owner can be known
	Owner    event.Proc
	Label    string // what the row is called, if it is not its owner
	PIDs     int    // how many processes, 0 if unknown
	About    bool   // PIDs is an estimate
	Owners   int    // how many owners fall together in the row
	Role     event.Role
	Local    netip.AddrPort // port 0 of clients
	Remote   netip.AddrPort // not valid of servers
	Peers    int            // destinations in a row of many
	Clients  int            // remote addresses of a server, about

	TimeWait    uint64
	Parked      uint64
	Established uint64
	Rates
	Total  conn.Counters // what happened since the start of the trace
	Life   conn.Hist
	Closer [event.BothSides + 1]uint64
	Ports  int // local ports in use towards the destination, by anyone; of many the worst
	Usable int // how many there are, 0 if unknown

	Minute [sparkBins]uint32 // TIME_WAIT in the last minute, oldest first

	First  int64         // when it was first seen, ns since the epoch
	Recent []conn.Closed // the last ones, the latest first

	id rowKey // in the grouping that made it; of a Builder's row as a flow
}

// share is how much of its ports is in use, negative if that is not known.
func (r *Row) share() float64 {
	if r.Usable <= 0 {
		return -1
	}
	return float64(r.Ports) / float64(r.Usable)
}

// closer is the side that closes first most often, and its share of those known.
func (r *Row) closer() (side event.Side, n, of uint64) {
	for s := event.LocalSide; s <= event.BothSides; s++ {
		of += r.Closer[s]
		if r.Closer[s] > n {
			side, n = s, r.Closer[s]
		}
	}
	return side, n, of
}

// Caps is what the terminal can show.
type Caps struct {
	Unicode bool // UTF-8: bars, arrows and sparklines
	Style   bool // bold and reverse
	Color   bool // the sixteen ANSI colours
}
