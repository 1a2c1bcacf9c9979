package main

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
//   - its begin is in the stream: it is no socket from before, and the dump tells
//     nothing new;
//   - its end is in the stream and its begin is not: it was there before and ended
//     since, so it is a snapshot record, and its end follows;
//   - neither: it was there before, and is still.
//
// What is not in the dump but ends in the stream was gone before the walk came by;
// it is an end with no begin. So nothing is missed, and to count nothing twice it
// is enough to know of each socket in the dump whether its begin is in the stream.
// For that the stream is read until the ring is empty after the dump was taken: a
// begin reaches the ring before the socket can be found (the timer is started
// under the lock that hides the socket from sock_diag). What was read is kept, so
// that snapshots come out first.
//
// Three things blur this. A promotion is visible to the dump some microseconds
// before it is in the ring, so a TIME_WAIT socket can be in the dump and begin in
// the stream later; the table knows, and repeats are left out (see session.repeated).
// And a mini-socket that was born without a cookie gets one from the dump, so that
// the begin in the stream has none: it is found by its addresses. The third is the
// full socket that hands over to its mini-socket at the very start; see handedOver.

// maxEarly bounds what is kept of the stream while the dump is taken: some 15 MB.
// More stays in the ring.
const maxEarly = 1 << 15

// ownersKnownAfter is when every TIME_WAIT socket from before has ended, unless
// its timer is started anew: 60 s and what the timer wheel adds.
const ownersKnownAfter = 62 * time.Second

// lookAround makes the sockets from before known to the table, and queues their
// records and the events since.
func (s *session) lookAround() error {
	result := make(chan look, 1)
	go func() { result <- s.look(lookSockets | lookOwners) }()
	early, l, err := s.readDuring(result)
	if err != nil {
		return err
	}
	if l.err != nil {
		return l.err
	}
	if _, err := s.tracer.Compare(l.survey); err != nil {
		return err
	}
	s.learn(&l)
	s.knowListeners(&l)
	early = slices.DeleteFunc(early, func(e event.Event) bool { return handedOver(&e) })
	begun := beginsIn(early)
	s.queue = backlog{at: l.end, connecting: connecting(&l, early), early: early}
	inTimeWait := l.sockets[:0] // what is kept is never ahead of what is read
	for _, k := range l.sockets {
		e := k.event(l.end)
		switch {
		case held&(1<<k.State) == 0 || begun.has(&e) || !s.traces(&e):
		case k.state() == event.TimeWait:
			inTimeWait = append(inTimeWait, k)
			s.ownersKnown = s.began.Add(ownersKnownAfter)
		default:
			if err := s.before(&k, &e, &l); err != nil {
				return err
			}
		}
	}
	s.queue.sockets = inTimeWait
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

// handedOver tells whether e is the end of a full socket that is about to become a
// mini-socket, or has, while the hooks begin to count. Of such a socket they know
// nothing yet, so they do not see that it is no close; the mini-socket is in the
// dump or in the stream. An end that the mini-socket has has its timestamps.
func handedOver(e *event.Event) bool {
	return e.Kind == event.Close && (e.Old == event.FinWait2 || e.Old == event.Closing) &&
		e.Stamps == event.Unknown && e.Reason == event.ReasonNone && !e.CloseProc.Known() && !e.Opener.Known()
}

// readDuring reads the stream until the result is there, and then until it is
// empty, or past the dump.
func (s *session) readDuring(result <-chan look) (early []event.Event, l look, err error) {
	done := false
	for {
		if len(early) >= maxEarly && !done {
			l, done = <-result, true
		}
		select {
		case l = <-result:
			done = true
		default:
		}
		var e event.Event
		switch err := s.stream.next(&e); {
		case err == nil:
			early = append(early, e)
			if done && e.Time > l.end.Add(settleTime).UnixNano() {
				return early, l, nil
			}
		case errors.Is(err, tracer.ErrIdle):
			if done && !s.tracer.Emptied().Before(l.end) {
				return early, l, nil
			}
		default:
			if !done {
				<-result
			}
			return nil, l, err
		}
	}
}

// before tells the table of a socket from before that is no record: a parked one,
// or a full one with its owner.
func (s *session) before(k *sighting, e *event.Event, l *look) error {
	if e.New == event.FinWait2 {
		if e.Cookie != 0 {
			if err := s.tracer.Adopt(e); err != nil {
				return err
			}
			s.adopted[e.Cookie] = struct{}{}
		}
	} else if p, ok := l.owners[uint64(k.Inode)]; ok && k.Inode != 0 {
		e.Process, e.Owner = p, event.ByProc
	}
	if s.wanted(e) {
		s.table.Apply(e)
	}
	return nil
}

// identities are connections by their cookie, and by their addresses where they
// had none.
type identities struct {
	cookies map[uint64]struct{}
	tuples  map[tuple]struct{}
}

type tuple struct {
	netns         uint32
	local, remote netip.AddrPort
}

func newIdentities() identities {
	return identities{make(map[uint64]struct{}), make(map[tuple]struct{})}
}

func tupleOf(e *event.Event) tuple { return tuple{e.NetNS, e.Local, e.Remote} }

func (i identities) add(e *event.Event) {
	if e.Cookie != 0 {
		i.cookies[e.Cookie] = struct{}{}
	} else {
		i.tuples[tupleOf(e)] = struct{}{}
	}
}

// has also finds what had no cookie then.
func (i identities) has(e *event.Event) bool {
	if _, ok := i.cookies[e.Cookie]; ok {
		return true
	}
	_, ok := i.tuples[tupleOf(e)]
	return ok
}

// beginsIn are the connections that begin in the stream, in any way.
func beginsIn(stream []event.Event) identities {
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
func connecting(l *look, early []event.Event) map[destination]event.Proc {
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
	for i := range l.sockets {
		if k := &l.sockets[i]; k.State == event.Listening {
			served[service{k.netns, k.Local.Port()}] = true
		}
	}
	for i := range l.sockets {
		k := &l.sockets[i]
		if k.State == event.Listening || k.Mini() || served[service{k.netns, k.Local.Port()}] {
			continue
		}
		if p, ok := l.owners[uint64(k.Inode)]; ok {
			add(destination{k.netns, k.Remote}, p)
		}
	}
	for i := range early {
		if e := &early[i]; e.Opener.Known() {
			add(destination{e.NetNS, e.Remote}, e.Opener)
		}
	}
	return to
}
