package live

import (
	"errors"
	"net/netip"
	"slices"
	"time"

	"github.com/twtrace/twtrace/internal/event"
	"github.com/twtrace/twtrace/internal/tracer"
)

// Sockets that were there before the trace.
//
// The hooks count and report first, and the dump is taken after that: whatever
// begins or ends while the dump walks through the sockets is in the stream. What
// is in the dump is then one of three:
//
//   - its start is in the stream: it is no socket from before, and the dump adds
//     nothing;
//   - its end is in the stream and its start is not: it was there before and ended
//     since, so it is a snapshot record, and its end follows;
//   - neither: it was there before, and is still.
//
// What is not in the dump but ends in the stream was gone before the walk came by;
// it is an end without a start. So nothing is missed, and to count nothing twice it
// is enough to know of each socket in the dump whether its start is in the stream.
// For that the stream is read until the ring is empty after the dump was taken: a
// start reaches the ring before the socket can be found (the timer is started
// under the lock that hides the socket from sock_diag). What was read is kept, so
// that snapshots come out first.
//
// Three things blur this. A promotion is visible to the dump some microseconds
// before it is in the ring, so a TIME_WAIT socket can be a snapshot and start in the
// stream later; the table then counts the start, and not the snapshot.
// And a mini-socket that was born without a cookie gets one from the dump, so that
// the start in the stream has none: it is found by its addresses. The third is the
// full socket that hands over to its mini-socket at the very start; see handedOver.

// maxEarly bounds what is kept of the stream while the dump is taken: some 15 MB.
// More stays in the ring.
const maxEarly = 1 << 15

// ownersKnownAfter is when every TIME_WAIT socket from before has ended, unless
// its timer is started anew: 60 s and what the timer wheel adds.
const ownersKnownAfter = 62 * time.Second

// addPreexisting adds the sockets from before to the table, and queues the records of
// those in TIME_WAIT, and the events since.
func (t *Trace) addPreexisting() error {
	result := make(chan dump, 1)
	go func() { result <- t.dump(dumpSockets | dumpOwners) }()
	early, d, err := t.readDuring(result)
	if err != nil {
		return err
	}
	if d.err != nil {
		return d.err
	}
	if _, err := t.tracer.Compare(d.survey); err != nil {
		return err
	}
	t.learn(&d)
	t.addListeners(&d)
	early = slices.DeleteFunc(early, func(e event.Event) bool { return handedOver(&e) })
	started := startsIn(early)
	t.backlog = backlog{at: d.end, connecting: connecting(&d, early), early: early}
	inTimeWait := d.sockets[:0] // what is kept is never ahead of what is read
	for _, k := range d.sockets {
		e := k.event(d.end)
		switch {
		case held&(1<<k.State) == 0 || started.has(&e) || !t.tracesSocket(&e):
		case k.state() == event.TimeWait:
			inTimeWait = append(inTimeWait, k)
			t.ownersKnown = t.began.Add(ownersKnownAfter)
		default:
			if err := t.addOne(&k, &e, &d); err != nil {
				return err
			}
		}
	}
	t.backlog.sockets = inTimeWait
	return nil
}

// backlog is what comes before the stream: sockets in TIME_WAIT from before, as
// they were at a time, and the events that were read since.
type backlog struct {
	at         time.Time
	sockets    []sighting
	connecting map[destination]event.Proc
	early      []event.Event
}

// next takes out the next event, and reports whether there was one.
func (b *backlog) next(e *event.Event) bool {
	switch {
	case len(b.sockets) > 0:
		*e = b.sockets[0].event(b.at)
		if p := b.connecting[destination{e.NetNS, e.Remote}]; p.Known() {
			e.Process, e.Owner = p, event.Inferred
		}
		b.sockets = b.sockets[1:]
		return true
	case len(b.early) > 0:
		*e, b.early = b.early[0], b.early[1:]
		return true
	}
	*b = backlog{}
	return false
}

func (b *backlog) empty() bool { return len(b.sockets)+len(b.early) == 0 }

// handedOver reports whether e is the end of a full socket that is about to become a
// mini-socket, or has, while the hooks start to count. Of such a socket they know
// nothing yet, so they do not see that it is no close; the mini-socket is in the
// dump or in the stream. An end that the mini-socket has has its timestamps.
func handedOver(e *event.Event) bool {
	return e.Kind == event.Close && (e.Old == event.FinWait2 || e.Old == event.Closing) &&
		e.Stamps == event.Unknown && e.Reason == event.ReasonNone && !e.CloseProc.Known() && !e.Opener.Known()
}

// readDuring reads the stream until the result is there, and then until it is
// empty, or past the dump.
func (t *Trace) readDuring(result <-chan dump) (early []event.Event, d dump, err error) {
	done := false
	for {
		if len(early) >= maxEarly && !done {
			d, done = <-result, true
		}
		select {
		case d = <-result:
			done = true
		default:
		}
		var e event.Event
		switch err := t.stream.next(&e); {
		case err == nil:
			early = append(early, e)
			if done && e.Time > d.end.Add(settleTime).UnixNano() {
				return early, d, nil
			}
		case errors.Is(err, tracer.ErrIdle):
			if done && !t.tracer.Emptied().Before(d.end) {
				return early, d, nil
			}
		default:
			if !done {
				<-result
			}
			return nil, d, err
		}
	}
}

// addOne adds to the table a socket from before that is no record: a parked one, or a
// full one with its owner.
func (t *Trace) addOne(k *sighting, e *event.Event, d *dump) error {
	if e.New == event.FinWait2 {
		if e.Cookie != 0 {
			if err := t.tracer.Adopt(e); err != nil {
				return err
			}
			t.adopted[e.Cookie] = struct{}{}
		}
	} else if p, ok := d.owners[uint64(k.Inode)]; ok && k.Inode != 0 {
		e.Process, e.Owner = p, event.ByProc
	}
	if t.wanted(e) {
		t.table.Apply(e)
	}
	return nil
}

// identities are connections by their cookie, and by their addresses where they
// had none.
type identities struct {
	cookies map[uint64]struct{}
	tuples  map[event.Tuple]struct{}
}

func newIdentities() identities {
	return identities{make(map[uint64]struct{}), make(map[event.Tuple]struct{})}
}

func (i identities) add(e *event.Event) {
	if e.Cookie != 0 {
		i.cookies[e.Cookie] = struct{}{}
	} else {
		i.tuples[e.Tuple()] = struct{}{}
	}
}

// has also finds what had no cookie then.
func (i identities) has(e *event.Event) bool {
	if _, ok := i.cookies[e.Cookie]; ok {
		return true
	}
	_, ok := i.tuples[e.Tuple()]
	return ok
}

// startsIn are the connections that start in the stream, in any way.
func startsIn(stream []event.Event) identities {
	ids := newIdentities()
	for i := range stream {
		switch e := &stream[i]; e.Kind {
		case event.Open, event.Parked, event.TimeWaitEnter:
			ids.add(e)
		}
	}
	return ids
}

// destination is where a client connects to.
type destination struct {
	netns  uint32
	remote netip.AddrPort
}

// connecting are the processes that alone have connections to a destination now,
// or open one; where there are several, it has the zero Proc.
func connecting(d *dump, early []event.Event) map[destination]event.Proc {
	to := make(map[destination]event.Proc)
	add := func(d destination, p event.Proc) {
		if have, ok := to[d]; ok && have.PID != p.PID {
			p = event.Proc{}
		}
		to[d] = p
	}
	type service struct {
		netns uint32
		port  uint16
	}
	served := make(map[service]bool)
	for i := range d.sockets {
		if k := &d.sockets[i]; k.State == event.Listening {
			served[service{k.netns, k.Local.Port()}] = true
		}
	}
	for i := range d.sockets {
		k := &d.sockets[i]
		if k.State == event.Listening || k.Mini() || served[service{k.netns, k.Local.Port()}] {
			continue
		}
		if p, ok := d.owners[uint64(k.Inode)]; ok {
			add(destination{k.netns, k.Remote}, p)
		}
	}
	for i := range early {
		if e := &early[i]; e.Opener.Known() && e.Kind != event.Fail { // who only fails holds nothing
			add(destination{e.NetNS, e.Remote}, e.Opener)
		}
	}
	return to
}
