package main

import (
	"time"

	"github.com/twtrace/twtrace/internal/conn"
	"github.com/twtrace/twtrace/internal/event"
)

// Reconciliation: the table is compared with the kernel's sockets after any loss,
// and every so often.
//
// The dump runs beside the consumer, which goes on reading: at 131,072 sockets it
// takes some 60 ms, more than a small ring can buffer. Table and dump are compared
// only when the stream has been read past the dump, so that the table knows
// everything that happened before. What happened during the walk is left to the
// stream: a socket that came to its state after the dump began may not be missed in
// it, and one whose end was read since may not be missed in the table. Comparing
// keeps the consumer for some 50 ms at 131,072 sockets; the ring of 8 MiB has room
// for seven times that at 25,000 connections/s.

const (
	// reconcileEvery is how often the table is compared with nothing lost.
	reconcileEvery = 30 * time.Second
	// repairEvery is how often at most, while events are being lost.
	repairEvery = 3 * time.Second
	// surveyEvery is how often at most the counters are read for the sake of
	// namespaces that are new.
	surveyEvery = time.Second
	// dumpShare bounds the time that dumps take: a twentieth.
	dumpShare = 20
	// settleTime is how long after a dump the events of before it may still come:
	// the timer hooks decide some ends up to 50 ms later, on a quiet CPU only when
	// the reader has the kernel look.
	settleTime = 200 * time.Millisecond
)

// reconciler is what a session needs for that.
type reconciler struct {
	due      time.Time // of the next comparison
	begun    time.Time // the last one
	surveyed time.Time
	took     time.Duration

	loss     bool // something was lost since the last dump began
	explains bool // something was lost before it: differences are no surprise
	lossy    bool // something was ever lost
	stranger bool // an event came from a namespace not seen before
	netns    uint32
	known    map[uint32]bool // namespaces at the last look, and those that events came from since
	absent   map[uint32]int  // looks in a row without the namespace, of those the table holds sockets of

	running chan look
	result  *look
	dumping bool       // a dump was begun and is not compared yet
	ended   identities // ends that were read since it began

	added, removed int // by the last comparison that found a difference
	repairedAt     time.Time
}

// witness notes what the comparison has to know of the stream.
func (s *session) witness(e *event.Event) {
	r := &s.reconcile
	if e.NetNS != r.netns && e.NetNS != 0 {
		r.netns = e.NetNS
		if !r.known[e.NetNS] {
			r.stranger, r.known[e.NetNS] = true, true
		}
	}
	switch e.Kind {
	case event.TimeWaitExit, event.Close, event.TimeWaitRefused:
		if r.dumping {
			r.ended.add(e)
		}
		if _, ok := s.adopted[e.Cookie]; ok {
			delete(s.adopted, e.Cookie)
			_ = s.tracer.Disown(e.Cookie) // the worst is an entry that nobody asks for
		}
	}
	s.seen = max(s.seen, e.Time)
}

// lostSome has the table compared soon.
func (r *reconciler) lostSome() { r.loss, r.lossy = true, true }

// reconcileTable does what is due of it. The ring was empty, when it was last looked at,
// if idle.
func (s *session) reconcileTable(idle bool, handle func(*event.Event) error) error {
	r := &s.reconcile
	now := time.Now()
	if r.running == nil && r.result == nil {
		s.startLook(now)
		return nil
	}
	if r.result == nil {
		select {
		case l := <-r.running:
			r.running, r.result = nil, &l
		default:
			return nil
		}
	}
	past := r.result.end.Add(settleTime)
	readPast := s.seen >= past.UnixNano() || idle && !s.tracer.Emptied().Before(past)
	if now.Before(past) || !readPast {
		return nil
	}
	l := r.result
	r.result, r.dumping = nil, false
	s.learn(l)
	return s.compare(l, handle)
}

// learn notes which namespaces there are.
func (s *session) learn(l *look) {
	for inum := range l.listed {
		s.reconcile.known[inum] = true
	}
	s.names = l.listed
}

// startLook starts what is due, if anything.
func (s *session) startLook(now time.Time) {
	r := &s.reconcile
	pause := max(repairEvery, dumpShare*r.took)
	what := 0
	switch {
	case now.After(r.due), r.loss && now.Sub(r.begun) > pause:
		what = lookSockets
		r.explains, r.loss = r.loss, false
		r.begun, r.due = now, now.Add(max(reconcileEvery, pause))
		r.dumping, r.ended = true, newIdentities()
		r.known = make(map[uint32]bool)
	case r.stranger && now.Sub(r.surveyed) > surveyEvery:
	default:
		return
	}
	r.stranger, r.surveyed = false, now
	r.running = make(chan look, 1)
	go func() { r.running <- s.look(what) }()
}

// compare repairs the table where it differs, and takes the counters in.
func (s *session) compare(l *look, handle func(*event.Event) error) error {
	if l.err != nil {
		if s.talk != nil {
			s.talk("the table could not be compared with the kernel's sockets: %v", l.err)
		}
		return nil
	}
	drift, err := s.tracer.Compare(l.survey)
	if err != nil {
		return err
	}
	s.drift = drift
	if len(l.whole) == 0 {
		return nil
	}
	r := &s.reconcile
	r.took = l.end.Sub(l.begin)
	removed := s.removeGone(l, l.shown)
	added, err := s.addMissing(l, handle)
	if added+removed > 0 {
		r.added, r.removed, r.repairedAt = added, removed, time.Now()
		s.tellRepair()
	}
	return err
}

// removeGone takes out of the table what the kernel no longer has.
func (s *session) removeGone(l *look, shown identities) int {
	r := &s.reconcile
	absent := make(map[uint32]int)
	n := s.table.Reconcile(l.begin, func(k conn.Socket) bool {
		whole, found := l.whole[k.NetNS]
		if _, listed := l.listed[k.NetNS]; !found && !listed {
			// It may be gone, and its sockets with it, of which the stream tells;
			// or it is held by a descriptor only, and cannot be found.
			absent[k.NetNS] = r.absent[k.NetNS] + 1
			return !r.lossy || absent[k.NetNS] <= 2
		}
		if !whole {
			return true
		}
		if k.Cookie != 0 {
			_, ok := shown.cookies[k.Cookie]
			return ok
		}
		return l.shows(k)
	})
	r.absent = absent
	return n
}

// shows looks for a socket that had no cookie when it was first seen. There are
// few, if any.
func (l *look) shows(k conn.Socket) bool {
	for i := range l.sockets {
		s := &l.sockets[i]
		if s.netns == k.NetNS && s.Local == k.Local && s.Remote == k.Remote {
			return true
		}
	}
	return false
}

// addMissing puts into the table what the kernel has and the table has not, as
// snapshots. Those in TIME_WAIT are records: their begin was none.
func (s *session) addMissing(l *look, handle func(*event.Event) error) (int, error) {
	n := 0
	var e event.Event
	for i := range l.sockets {
		k := &l.sockets[i]
		if depth(s.table.StateOf(k.Cookie)) >= depth(k.state()) {
			continue // as nearly all are
		}
		e = k.event(l.end)
		if !s.traces(&e) || s.reconcile.ended.has(&e) {
			continue
		}
		if state, _ := s.table.Held(&e); depth(state) >= depth(e.New) || !s.wanted(&e) {
			continue
		}
		s.table.Apply(&e)
		if state, _ := s.table.Held(&e); state != e.New {
			continue // there is no room for it, or it is told to have ended
		}
		n++
		if e.New != event.TimeWait {
			continue
		}
		if err := handle(&e); err != nil {
			return n, err
		}
	}
	return n, nil
}

// depth orders the states that a table knows: sockets only go down.
func depth(s event.State) int {
	switch s {
	case event.Established:
		return 1
	case event.FinWait2:
		return 2
	case event.TimeWait:
		return 3
	}
	return 0
}

// tellRepair says on stderr what a loss has come to. With nothing lost, it is the
// kernel's counters that tell what was not seen: drift.
func (s *session) tellRepair() {
	r := &s.reconcile
	if s.talk == nil || !r.explains {
		return
	}
	s.talk("after the loss the table was compared with the kernel's sockets: %d were missing, %d were gone", r.added, r.removed)
}

// wait ends the look that is running, if any.
func (r *reconciler) wait() {
	if r.running != nil {
		<-r.running
	}
}
