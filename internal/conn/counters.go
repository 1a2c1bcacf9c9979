package conn

import (
	"time"

	"github.com/twtrace/twtrace/internal/event"
)

// eaddrnotavail is the errno of connect() when no port is free; the number is
// Linux's on every architecture Go supports but mips.
const eaddrnotavail = 99

// eaddrinuse is that of bind().
const eaddrinuse = 98

// Counters says what is alive and what happened, of one group or of all. The
// gauges come first, everything after them only grows, but for Opens: when the
// owner of a young connection becomes better known, its opening moves to the
// other group with it.
type Counters struct {
	TimeWait    uint64 // in TIME_WAIT now
	Parked      uint64 // mini-sockets in FIN_WAIT2 now
	Established uint64 // open, or closing without a mini-socket yet

	Opens     uint64 // connections established
	Ends      uint64 // connections that ended, with TIME_WAIT or without
	Closes    uint64 // of those, the ones without TIME_WAIT on this side, and parked ones never promoted
	Enters    uint64 // begins of TIME_WAIT
	Snapshots uint64 // sockets in TIME_WAIT that were there before the trace
	Parks     uint64 // mini-sockets born in FIN_WAIT2
	Refused   uint64 // mini-sockets that the kernel refused

	Exits  [exitSlots]uint64           // ends of TIME_WAIT; read them with Exited
	Long   LongWaits                   // of those, the ones that were started anew
	Closer [event.BothSides + 1]uint64 // connections by whose FIN came first, SideNone unused
	Fails  Fails                       // failed calls
	Lives  uint64                      // connections whose lifetime is known
	Ways   Ways                        // ends by how they came about
}

// LongWait is what no TIME_WAIT takes that is not started anew: 60 s, and the slack of
// the timer wheel, 5.12 s at HZ=100.
const LongWait = 66 * time.Second

// LongWaits are the sockets that were in TIME_WAIT for more than LongWait.
type LongWaits struct {
	N      uint64
	Rearms uint64 // how often their timers were started anew, together
}

func (l *LongWaits) add(e *event.Event) {
	if e.Rearms > 0 && time.Duration(e.InState) > LongWait {
		l.N++
		l.Rearms += uint64(e.Rearms)
	}
}

// exitSlots is one slot for ends whose reason is unknown, and one for each of
// the reasons from Expired to NetnsExit.
const exitSlots = 2 + int(event.NetnsExit-event.Expired)

func exitSlot(r event.Reason) int {
	if r < event.Expired || r > event.NetnsExit {
		return 0
	}
	return 1 + int(r-event.Expired)
}

// Exited is how many times TIME_WAIT ended for r; ReasonNone asks for those
// whose reason is unknown.
func (c *Counters) Exited(r event.Reason) uint64 { return c.Exits[exitSlot(r)] }

// Exit is how many times TIME_WAIT ended.
func (c *Counters) Exit() uint64 {
	var n uint64
	for _, v := range c.Exits {
		n += v
	}
	return n
}

// Alive is how many sockets hold a port: in TIME_WAIT, parked and established.
func (c *Counters) Alive() uint64 { return c.TimeWait + c.Parked + c.Established }

// Add adds o to c.
func (c *Counters) Add(o *Counters) {
	c.TimeWait += o.TimeWait
	c.Parked += o.Parked
	c.Established += o.Established
	c.Opens += o.Opens
	c.Ends += o.Ends
	c.Closes += o.Closes
	c.Enters += o.Enters
	c.Snapshots += o.Snapshots
	c.Parks += o.Parks
	c.Refused += o.Refused
	for i, n := range o.Exits {
		c.Exits[i] += n
	}
	c.Long.N += o.Long.N
	c.Long.Rearms += o.Long.Rearms
	for i, n := range o.Closer {
		c.Closer[i] += n
	}
	c.Fails.merge(&o.Fails)
	c.Lives += o.Lives
	for i, n := range o.Ways {
		c.Ways[i] += n
	}
}

// alive returns the gauge of a phase, nil if sockets in it are not counted.
func (c *Counters) alive(p phase) *uint64 {
	switch p {
	case live:
		return &c.Established
	case parked:
		return &c.Parked
	case timeWait:
		return &c.TimeWait
	}
	return nil
}

// FailCount is how often a call failed with an errno.
type FailCount struct {
	Call  event.Call
	Errno uint16
	N     uint64
}

// Fails counts failed calls by call and errno. It holds the first four kinds of
// failure seen, and the rest in one number, so that it needs no memory of its own.
type Fails struct {
	By    [4]FailCount // unused ones have N 0
	Other uint64
}

func (f *Fails) add(c event.Call, errno uint16) { f.addN(c, errno, 1) }

func (f *Fails) addN(c event.Call, errno uint16, n uint64) {
	for i := range f.By {
		b := &f.By[i]
		if b.N == 0 {
			b.Call, b.Errno = c, errno
		}
		if b.Call == c && b.Errno == errno {
			b.N += n
			return
		}
	}
	f.Other += n
}

func (f *Fails) merge(o *Fails) {
	for _, b := range o.By {
		if b.N != 0 {
			f.addN(b.Call, b.Errno, b.N)
		}
	}
	f.Other += o.Other
}

// Of is how often a call failed with an errno.
func (f *Fails) Of(c event.Call, errno uint16) uint64 {
	for _, b := range f.By {
		if b.Call == c && b.Errno == errno {
			return b.N
		}
	}
	return 0
}

// Total is the number of failed calls.
func (f *Fails) Total() uint64 {
	n := f.Other
	for _, b := range f.By {
		n += b.N
	}
	return n
}

// Totals is the account of the whole table. With nothing dropped or untracked,
// TimeWait = Enters + Snapshots + Unmatched - Exit().
type Totals struct {
	Counters

	Unmatched  uint64 // ends of TIME_WAIT whose begin was never seen
	Duplicates uint64 // facts that were told twice, and ignored
	Untracked  uint64 // sockets not held because MaxSockets was reached
	Dropped    uint64 // sockets removed without an end: reconciled, superseded by a new one on the same tuple, or contradicted

	Groups              int    // groups held
	GroupsIdle          uint64 // groups dropped for being idle; what they counted is in Retired
	GroupsRefused       uint64 // connections folded into the group of the rest
	Destinations        int    // destinations held
	DestinationsRefused uint64 // connections whose destination was not held
	ListenersRefused    uint64 // listeners not remembered

	Retired Counters                     // of the idle groups: Counters = the sum of all groups + Retired
	Lost    [event.StageQueue + 1]uint64 // what the trace lost, by stage
}
