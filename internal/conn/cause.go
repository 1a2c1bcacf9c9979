package conn

import "github.com/twtrace/twtrace/internal/event"

// causeOf is why a call failed with EADDRNOTAVAIL, which has several causes; d is the
// destination of a connect(), nil if the table does not hold it. It is CauseNone if it is
// not known: the search for a port failed, and the table knows of free ones, or does not
// know how many there are. Then the socket has a range of its own (IP_LOCAL_PORT_RANGE),
// the kernel had no memory, or the table has not seen all sockets.
func (t *Table) causeOf(e *event.Event, d *dest) event.Cause {
	switch {
	case e.Cause == event.GaveUp:
		return event.GaveUp
	case e.Errno != event.EADDRNOTAVAIL:
		return event.CauseNone
	case e.Cause != event.CauseNone: // a recording has it
		return e.Cause
	case e.Call == event.Bind:
		return event.NotLocal
	case e.Call != event.Connect:
		return event.CauseNone
	}
	// The kernel looks for an address before SYN_SENT, and for a port in it.
	searched := e.Old == event.SynSent
	if e.Local.Port() != 0 && (e.Bound || searched) {
		return event.TupleTaken
	}
	l, known := t.limits(e.NetNS)
	switch {
	case known && t.noneFree(e.NetNS, d, &l):
		return event.NoPort
	case !searched && e.Remote.Addr().Is6() && !e.Remote.Addr().Is4In6():
		return event.NoAddress
	}
	return event.CauseNone
}

// noneFreeShare is which share of the usable ports may look free when connect() finds
// none: what the table has read lags a little behind the kernel.
const noneFreeShare = 0.05

// noneFree reports whether no port was left for a connect() to d.
func (t *Table) noneFree(netns uint32, d *dest, l *Limits) bool {
	taken := t.takenFor(netns, l)
	if d != nil && d.key.netns == netns {
		taken += int(d.used() + d.synSent)
	}
	return float64(l.Usable-taken) <= noneFreeShare*float64(l.Usable)
}

// fourNumbers is the four numbers of a connection.
type fourNumbers struct {
	netns         uint32
	local, remote [16]byte
	lport, rport  uint16
}

// TupleFail is a connect() that failed because its four numbers were taken.
type TupleFail struct {
	Event event.Event // the last one: NetNS, Local, Remote, Process, Time
	N     uint64      // how often; only grows
}

// maxTupleFails bounds those that a table remembers.
const maxTupleFails = 256

// failTuple remembers which four numbers were taken.
func (t *Table) failTuple(e *event.Event) {
	k := fourNumbers{e.NetNS, e.Local.Addr().As16(), e.Remote.Addr().As16(), e.Local.Port(), e.Remote.Port()}
	f := t.tuples[k]
	if f == nil {
		if len(t.tuples) >= maxTupleFails {
			return
		}
		f = &TupleFail{}
		t.tuples[k] = f
	}
	f.Event = event.Event{Time: e.Time, NetNS: e.NetNS, Local: e.Local, Remote: e.Remote, Process: cloneName(e.Process)}
	f.N++
}

// TupleFails are the connects of a network namespace that failed because their four
// numbers were taken, in no order.
func (t *Table) TupleFails(netns uint32) []TupleFail {
	var out []TupleFail
	for k, f := range t.tuples {
		if k.netns == netns {
			out = append(out, *f)
		}
	}
	return out
}
