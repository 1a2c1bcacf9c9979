package conn

import (
	"time"

	"github.com/twtrace/twtrace/internal/event"
)

// Counters says what is alive and what happened, of one group or of all. The
// gauges come first. Everything after them only grows, except Opens: when the
// owner of a young connection becomes better known, its opening moves to the
// other group with it.
type Counters struct {
	TimeWait    uint64 // in TIME_WAIT now
	Parked      uint64 // mini-sockets in FIN_WAIT2 now
	Established uint64 // open, or closing without a mini-socket yet; not CloseWait
	CloseWait   uint64 // the peer has closed and the process has not, at the last poll; see Totals.CloseWaitAt
	Bound       uint64 // of all these, those on a port that was bound before connect()
	Guessed     uint64 // of all these, those whose owner is event.Inferred

	Opens     uint64 // connections established
	Ends      uint64 // connections that ended, with TIME_WAIT or without
	Closes    uint64 // those that ended without TIME_WAIT on this side, parked ones that never reached it included
	Enters    uint64 // starts of TIME_WAIT
	Snapshots uint64 // sockets that were in TIME_WAIT before the trace
	Parks     uint64 // mini-sockets born in FIN_WAIT2
	Refused   uint64 // mini-sockets that the kernel refused

	Exits  [exitSlots]uint64           // ends of TIME_WAIT; read them with Exited
	Long   LongWaits                   // ends of TIME_WAIT that took longer because its timer was restarted
	Closer [event.BothSides + 1]uint64 // connections by which side sent its FIN first, SideNone unused
	Fails  Fails                       // failed calls
	NoPort uint64                      // of these, connects that found no free port (event.NoPort)
	Lives  uint64                      // connections whose lifetime is known
	Short  uint64                      // connections whose lifetime was ShortLife or less
	Ways   Ways                        // ends by reason

	GivenUp    GivenUp // of Fails
	IdleResets uint64  // ends by a reset, of connections that the server had closed as idle; see resetWhenIdle
	DataLost   uint64  // ends by a reset that discarded data
}

// LongWait is longer than any TIME_WAIT whose timer was never restarted: 60 s, and
// the slack of the timer wheel, 5.12 s at HZ=100.
const LongWait = 66 * time.Second

// LongWaits counts the sockets that were in TIME_WAIT for more than LongWait.
type LongWaits struct {
	N      uint64
	Rearms uint64 // how often their timers were restarted, in total
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

// Exited is how many times TIME_WAIT ended for r; ReasonNone stands for those
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

// Open is how many full sockets there are, those in CLOSE_WAIT included.
func (c *Counters) Open() uint64 { return c.Established + c.CloseWait }

// Alive is how many sockets hold a port: in TIME_WAIT, parked and open.
func (c *Counters) Alive() uint64 { return c.TimeWait + c.Parked + c.Open() }

// Add adds o to c.
func (c *Counters) Add(o *Counters) {
	c.TimeWait += o.TimeWait
	c.Parked += o.Parked
	c.Established += o.Established
	c.CloseWait += o.CloseWait
	c.Bound += o.Bound
	c.Guessed += o.Guessed
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
	c.NoPort += o.NoPort
	c.GivenUp.Merge(o.GivenUp)
	c.IdleResets += o.IdleResets
	c.DataLost += o.DataLost
	c.Lives += o.Lives
	c.Short += o.Short
	for i, n := range o.Ways {
		c.Ways[i] += n
	}
}

// alive returns the gauge that counts s in its phase, nil if there is none.
func (c *Counters) alive(s *socket) *uint64 {
	switch s.phase {
	case live:
		if s.seen&closeWait != 0 {
			return &c.CloseWait
		}
		return &c.Established
	case parked:
		return &c.Parked
	case timeWait:
		return &c.TimeWait
	}
	return nil
}

// hold adds n to the gauges that count s, if it is alive; n is 1, or -1 to take it out.
func (c *Counters) hold(s *socket, n int) {
	at := c.alive(s)
	if at == nil {
		return
	}
	*at += uint64(n)
	if s.seen&bound != 0 {
		c.Bound += uint64(n)
	}
	if s.owner == event.Inferred {
		c.Guessed += uint64(n)
	}
}

// FailCount is how often a call failed with an errno, for one cause.
type FailCount struct {
	Call  event.Call
	Cause event.Cause
	Errno uint16
	N     uint64
}

// Fails counts failed calls by call, errno and cause: the first four kinds of failure
// seen one by one, the rest in one number, so that it needs no memory of its own.
type Fails struct {
	By    [4]FailCount // unused ones have N 0
	Other uint64
}

func (f *Fails) add(c event.Call, errno uint16, why event.Cause) {
	f.addN(FailCount{Call: c, Cause: why, Errno: errno, N: 1})
}

func (f *Fails) addN(o FailCount) {
	for i := range f.By {
		b := &f.By[i]
		if b.N == 0 {
			b.Call, b.Errno, b.Cause = o.Call, o.Errno, o.Cause
		}
		if b.Call == o.Call && b.Errno == o.Errno && b.Cause == o.Cause {
			b.N += o.N
			return
		}
	}
	f.Other += o.N
}

func (f *Fails) merge(o *Fails) {
	for _, b := range o.By {
		if b.N != 0 {
			f.addN(b)
		}
	}
	f.Other += o.Other
}

// Of is how often a call failed with an errno.
func (f *Fails) Of(c event.Call, errno uint16) (n uint64) {
	for _, b := range f.By {
		if b.Call == c && b.Errno == errno {
			n += b.N
		}
	}
	return n
}

// OfCause is how often a call failed for a cause.
func (f *Fails) OfCause(c event.Call, errno uint16, why event.Cause) uint64 {
	for _, b := range f.By {
		if b.Call == c && b.Errno == errno && b.Cause == why {
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

	CloseWaitAt int64 // when CLOSE_WAIT was last polled, ns since the epoch; 0 if never: Established has those sockets too

	Unmatched  uint64 // ends of TIME_WAIT whose start was never seen
	Duplicates uint64 // facts that came twice; the second one was ignored
	Untracked  uint64 // sockets not held because MaxSockets was reached
	Dropped    uint64 // sockets removed without an end: reconciled, superseded by a new one on the same tuple, or contradicted

	Groups              int    // groups held
	GroupsIdle          uint64 // groups dropped because they were idle; Retired has their counts
	GroupsRefused       uint64 // connections counted in the group of GroupOther because MaxGroups was reached
	Destinations        int    // destinations held
	DestinationsRefused uint64 // connections whose destination was not held
	ListenersRefused    uint64 // listeners not remembered

	Retired Counters             // of the idle groups: Counters = the sum of all groups + Retired
	Lost    [event.Stages]uint64 // events that the trace lost, by stage
}
