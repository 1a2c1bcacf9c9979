// Package rows is what tables of connections are made of, as numbers: who has which
// sockets, how that changes, and what is known of their lives. It makes a Row of each
// group of a snapshot, merges them by what they have in common, and sorts them. How a
// Row looks is for those that show it.
package rows

import (
	"math"
	"net/netip"
	"strconv"

	"github.com/twtrace/twtrace/internal/conn"
	"github.com/twtrace/twtrace/internal/event"
)

// Rates are per second over the last interval; NaN where no interval has passed.
type Rates struct {
	In    float64 // sockets that entered TIME_WAIT
	Out   float64 // sockets that left TIME_WAIT
	Open  float64 // connections established
	Close float64 // connections that ended
	Fail  float64 // calls that failed
}

// Known reports whether a rate is one: a number.
func Known(rate float64) bool { return !math.IsNaN(rate) && !math.IsInf(rate, 0) }

// Row is what one line of a table is about: the connections of an owner, say, to one
// destination.
type Row struct {
	Severity event.Severity
	NetNS    uint32 // 0 in a row of several
	Space    string // the name of NetNS, "" if it has none
	Kind     conn.GroupKind
	PreStart bool // sockets from before the trace: their owner cannot be known
	Owner    event.Proc
	Label    string // what the row is called, if it is not its owner
	PIDs     int    // how many processes, 0 if unknown
	About    bool   // PIDs is an estimate
	Owners   int    // how many owners fall together in the row
	Role     event.Role
	Local    netip.AddrPort // port 0 of clients; of a listener at any address that took connections at several, that: 0.0.0.0 or ::
	Listen   netip.AddrPort // where a server listens that listens at any address; else not valid
	Remote   netip.AddrPort // not valid of servers
	Peers    int            // destinations in a row of many
	Clients  int            // remote addresses of a server, about; at least, if AtLeast
	AtLeast  bool

	TimeWait    uint64
	Parked      uint64
	Established uint64 // not those in CloseWait
	CloseWait   uint64
	Polled      bool // CloseWait is known; otherwise Established has those too
	Rates
	Total  conn.Counters // what happened since the start of the trace
	Life   conn.Hist
	Closer [event.BothSides + 1]uint64
	Ports  int // local ports in use towards the destination, by anyone; of many the worst
	Usable int // how many there are, 0 if unknown

	Minute [MinuteBins]uint32 // TIME_WAIT in the last minute, oldest first

	First  int64         // when it was first seen, ns since the epoch
	Recent []conn.Closed // the last ones, the latest first

	ID Key // in the grouping that made it; of a Builder's row as a flow
}

// Share is how much of its ports is in use, negative if that is not known.
func (r *Row) Share() float64 {
	if r.Usable <= 0 {
		return -1
	}
	return float64(r.Ports) / float64(r.Usable)
}

// ClosedBy is the side that closes first most often, how often it does, and of how many
// connections that is known.
func (r *Row) ClosedBy() (side event.Side, n, of uint64) {
	for s := event.LocalSide; s <= event.BothSides; s++ {
		of += r.Closer[s]
		if r.Closer[s] > n {
			side, n = s, r.Closer[s]
		}
	}
	return side, n, of
}

// Name is what the row is called, "" if nothing is known.
func (r *Row) Name() string {
	switch {
	case r.Label != "":
		return r.Label
	case r.Kind == conn.GroupOther:
		return "(other)"
	case r.PreStart:
		return "(pre-start)"
	case r.Owner.Comm == "" && r.Owners > 1:
		return "(" + strconv.Itoa(r.Owners) + " owners)"
	}
	return r.Owner.Comm
}
