package live

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
// only when the stream has been read past the dump. What happened during the walk is
// left to the stream: a socket that came to its state after the dump started may not
// be missed in it, and one whose end was read since may not be missed in the table.
// Comparing keeps the consumer for some 50 ms at 131,072 sockets; the ring of 8 MiB
// has room for seven times that at 25,000 connections/s.
//
// To have read past the dump is not to know all that it shows. The kernel writes the
// state of a socket first and the hooks report it a few instructions later (a
// promotion, the close of a full socket), or up to 50 ms later (an end that the timer
// hooks have not decided). In between the CPU may be stopped, by an interrupt or by its
// host, for as long as it takes. So with nothing lost no difference is believed at
// once: what one comparison shows is a doubt, and what the next dump shows again,
// seconds later, is repaired. After a loss, a difference has its explanation.

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

// reconciler is what a trace needs for that.
type reconciler struct {
	due      time.Time // of the next comparison
	begun    time.Time // when the last one started
	surveyed time.Time
	took     time.Duration

	loss     bool // something was lost since the last dump started
	explains bool // something was lost before it: differences are no surprise
	lossy    bool // something was ever lost
	stranger bool // an event came from a namespace not seen before
	netns    uint32
	known    map[uint32]bool // namespaces at the last dump, and those that events came from since
	absent   map[uint32]int  // dumps in a row without the namespace, of those the table holds sockets of

	running chan dump
	result  *dump
	dumping bool       // a dump was started and is not compared yet
	ended   identities // ends that were read since it started
	doubts  doubts     // of the comparison before this one
	unsure  bool       // the counters differ, and did not at the survey before

	added, removed int // by the last comparison that found a difference
	repairedAt     time.Time
}

// doubts are differences between table and kernel that a comparison has found and not
// repaired: an event that is on its way may explain them.
type doubts struct {
	missing map[uint64]event.State // in the table, by cookie: the state that the kernel showed
	gone    identities             // in the table and not in the kernel
}

func newDoubts() doubts { return doubts{make(map[uint64]event.State), newIdentities()} }

func (d doubts) some() bool {
	return len(d.missing)+len(d.gone.cookies)+len(d.gone.tuples) > 0
}

// witness notes what the comparison has to know of the stream.
func (t *Trace) witness(e *event.Event) {
	r := &t.reconcile
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
		if _, ok := t.adopted[e.Cookie]; ok {
			delete(t.adopted, e.Cookie)
			_ = t.tracer.Disown(e.Cookie) // the worst is an entry that nobody asks for
		}
	}
	t.seen = max(t.seen, e.Time)
}

// lostSome has the table compared soon.
func (r *reconciler) lostSome() { r.loss, r.lossy = true, true }

// reconcileTable does what is due of it. The ring was empty at the last poll if idle.
func (t *Trace) reconcileTable(idle bool, found func(*event.Event) error) error {
	r := &t.reconcile
	now := time.Now()
	if r.running == nil && r.result == nil {
		t.startDump(now)
		return nil
	}
	if r.result == nil {
		select {
		case d := <-r.running:
			r.running, r.result = nil, &d
		default:
			return nil
		}
	}
	past := r.result.end.Add(settleTime)
	readPast := t.seen >= t.stamp(past) || idle && !t.tracer.Emptied().Before(past)
	if now.Before(past) || !readPast {
		return nil
	}
	d := r.result
	r.result, r.dumping = nil, false
	t.learn(d)
	return t.compare(d, found)
}

// Reconcile has the table compared with the kernel's sockets as soon as possible.
func (t *Trace) Reconcile() { t.reconcile.due = time.Now() }

// Reconciling reports whether such a comparison is due or running.
func (t *Trace) Reconciling() bool {
	return t.reconcile.dumping || time.Now().After(t.reconcile.due)
}

// learn notes which namespaces there are.
func (t *Trace) learn(d *dump) {
	for inum := range d.listed {
		t.reconcile.known[inum] = true
	}
	t.names = d.listed
}

// startDump starts what is due, if anything.
func (t *Trace) startDump(now time.Time) {
	r := &t.reconcile
	pause := max(repairEvery, dumpShare*r.took)
	what := 0
	switch {
	case now.After(r.due), r.loss && now.Sub(r.begun) > pause:
		what = dumpSockets
		r.explains, r.loss = r.loss, false
		r.begun, r.due = now, now.Add(max(reconcileEvery, pause))
		r.dumping, r.ended = true, newIdentities()
		r.known = make(map[uint32]bool)
		if now.After(t.sweeper.due) {
			what |= dumpClients
		}
	case (r.stranger || r.unsure) && now.Sub(r.surveyed) > surveyEvery:
	default:
		return
	}
	r.stranger, r.surveyed = false, now
	r.running = make(chan dump, 1)
	suspects := t.sweeper.suspects
	go func() {
		d := t.dump(what)
		if what&dumpClients != 0 && d.err == nil {
			s := t.sweep(&d, suspects)
			d.swept = &s
		}
		r.running <- d
	}()
}

// compare repairs the table where it differs, and takes the counters in.
func (t *Trace) compare(d *dump, found func(*event.Event) error) error {
	if d.err != nil {
		t.talk("could not compare the table with the kernel's sockets: %v", d.err)
		return nil
	}
	r := &t.reconcile
	now, err := t.tracer.Compare(d.survey)
	if err != nil {
		return err
	}
	t.drift = t.tracer.Drift()
	r.unsure = len(now) > len(t.drift)
	if len(d.whole) == 0 {
		return nil
	}
	r.took = d.end.Sub(d.begin)
	if d.swept != nil {
		t.noteSweep(d.swept)
	}
	removed, added, err := t.repair(d, found)
	if added+removed > 0 {
		r.added, r.removed, r.repairedAt = added, removed, time.Now()
		t.reportRepair()
	}
	return err
}

// repair has the table agree with a dump, but for what is in doubt. What is gets
// another dump soon.
func (t *Trace) repair(d *dump, found func(*event.Event) error) (removed, added int, err error) {
	r := &t.reconcile
	doubts := newDoubts()
	removed = t.removeGone(d, &doubts)
	added, err = t.addMissing(d, &doubts, found)
	r.doubts = doubts
	if soon := r.begun.Add(max(repairEvery, dumpShare*r.took)); (doubts.some() || len(t.sweeper.suspects) > 0) && soon.Before(r.due) {
		r.due = soon
	}
	return removed, added, err
}

// removeGone takes out of the table what the kernel no longer has.
func (t *Trace) removeGone(d *dump, doubts *doubts) int {
	r := &t.reconcile
	absent := make(map[uint32]int)
	n := t.table.Reconcile(time.Unix(0, t.stamp(d.begin)), func(k conn.Socket) bool {
		whole, dumped := d.whole[k.NetNS]
		if _, listed := d.listed[k.NetNS]; !dumped && !listed {
			// It may be gone, and its sockets with it, and their ends are in the stream;
			// or it is held by a descriptor only, and cannot be found.
			absent[k.NetNS] = r.absent[k.NetNS] + 1
			return !r.lossy || absent[k.NetNS] <= 2
		}
		if !whole || d.shows(k) {
			return true
		}
		e := event.Event{Cookie: k.Cookie, NetNS: k.NetNS, Local: k.Local, Remote: k.Remote}
		if r.explains || r.doubts.gone.has(&e) {
			return false
		}
		doubts.gone.add(&e)
		return true
	})
	r.absent = absent
	return n
}

// shows reports whether a socket is in the dump. Of those that had no cookie when they
// were first seen there are few, if any.
func (d *dump) shows(k conn.Socket) bool {
	if k.Cookie != 0 {
		_, ok := d.shown.cookies[k.Cookie]
		return ok
	}
	for i := range d.sockets {
		s := &d.sockets[i]
		if s.netns == k.NetNS && s.Local == k.Local && s.Remote == k.Remote {
			return true
		}
	}
	return false
}

// addMissing puts into the table what the kernel has and the table has not, as
// snapshots. Those in TIME_WAIT are records: their start was none.
func (t *Trace) addMissing(d *dump, doubts *doubts, found func(*event.Event) error) (int, error) {
	r := &t.reconcile
	n := 0
	var e event.Event
	for i := range d.sockets {
		k := &d.sockets[i]
		if depth(t.table.StateOf(k.Cookie)) >= depth(k.state()) {
			continue // as nearly all are
		}
		e = k.event(d.end)
		e.Time = t.stamp(d.end)
		if !t.tracesSocket(&e) || r.ended.has(&e) {
			continue
		}
		if depth(t.table.Held(&e)) >= depth(e.New) || !t.wanted(&e) {
			continue
		}
		if !r.explains && r.doubts.missing[k.Cookie] != e.New {
			doubts.missing[k.Cookie] = e.New
			continue
		}
		t.table.Apply(&e)
		if t.table.Held(&e) != e.New {
			continue // there is no room for it, or the table knows its end
		}
		n++
		if e.New != event.TimeWait {
			continue
		}
		if err := found(&e); err != nil {
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

// reportRepair says on stderr what a loss came to. With nothing lost, the kernel's
// counters show what was not seen: drift.
func (t *Trace) reportRepair() {
	r := &t.reconcile
	if !r.explains {
		return
	}
	t.talk("compared the table with the kernel's sockets after the loss: added %d missing, removed %d gone", r.added, r.removed)
}

// stamp is a time as events have it: their clock does not follow the host's when that is
// set.
func (t *Trace) stamp(at time.Time) int64 { return t.began.UnixNano() + int64(at.Sub(t.began)) }

// wait waits for the dump that is running, if any.
func (r *reconciler) wait() {
	if r.running != nil {
		<-r.running
	}
}
