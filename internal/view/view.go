// Package view is the live view: what it shows (State), a pure function that
// lays it out (Frame), the same as plain tables for pipes (Batch), and a thin
// loop that draws frames on a terminal and reads keys. It knows events only
// through the tables of package conn, so that a trace file feeds it as well as
// a live trace does.
package view

import (
	"time"

	"github.com/twtrace/twtrace/internal/advice"
	"github.com/twtrace/twtrace/internal/clock"
	"github.com/twtrace/twtrace/internal/event"
	"github.com/twtrace/twtrace/internal/pressure"
	"github.com/twtrace/twtrace/internal/rows"
)

// State is everything that one frame shows.
type State struct {
	Time     time.Time
	Clock    clock.Clock // prints the times on the screen
	Host     string
	Mode     string        // "LIVE", "REPLAY 22:14:07 x4"
	Uptime   time.Duration // of the trace
	Interval time.Duration
	Lost     [event.Stages]uint64
	SelfCPU  float64 // twtrace's own use of CPU, 1 is a whole one; negative if unknown
	SelfRSS  uint64  // twtrace's own memory in bytes, 0 if unknown

	TimeWait    uint64
	Parked      uint64
	Established uint64 // not those in CloseWait
	CloseWait   uint64
	Polled      bool // CloseWait is known; otherwise Established has those too
	Rates       rows.Rates
	Past        Series  // the last intervals
	Trouble     Trouble // what the table shows first

	Pressure pressure.Reading // of all limits, the worst first
	Buckets  Buckets          // of those, the fullest namespace's TIME_WAIT sockets
	Worst    *pressure.Gauge  // of those, where the ports are used most, nil if nowhere

	Severity event.Severity // of Finding
	Finding  string         // the top finding in words with its rule, "" if there is none

	Remarks []string // on the trace itself, each in a few words

	Recording Recording // of the trace to a file, the last one

	Rows     []rows.Row       // flows; the frame groups and sorts them
	listed   []rows.Row       // Rows, and behind them the listeners that have no connection; nil if nobody asked for them
	Filter   string           // of the trace in words, "" if there is none
	Traced   string           // the same for people: with the names of namespaces
	Events   []Entry          // the latest first
	Findings []advice.Finding // the worst first
}

// Buckets is how near a network namespace is to its tcp_max_tw_buckets.
type Buckets struct {
	Severity event.Severity
	NetNS    uint32
	Name     string // of the namespace, "" if it has none
	Used     uint64 // mini-sockets, in TIME_WAIT and parked
	Max      uint64 // 0 if unknown, or if None or NoLimit
	None     bool   // tcp_max_tw_buckets is 0
	NoLimit  bool   // tcp_max_tw_buckets is negative
	Refusing bool   // some were refused in the last interval
	Only     bool   // no other namespace was seen
}

// Recording is the file that the user has the trace recorded to.
type Recording struct {
	Path    string
	Records uint64
	Bytes   int64  // written so far
	Failed  string // why it ended by itself, "" if it did not
}

// Caps is what the terminal can show.
type Caps struct {
	Unicode bool // UTF-8: bars, arrows and sparklines
	Style   bool // bold and reverse
	Color   bool // the sixteen ANSI colours
}
