package live

import (
	"errors"
	"io/fs"
	"slices"
	"time"

	"github.com/twtrace/twtrace/internal/event"
	"github.com/twtrace/twtrace/internal/kernel"
	"github.com/twtrace/twtrace/internal/process"
	"github.com/twtrace/twtrace/internal/tracer"
)

// sighting is a socket that sock_diag showed.
type sighting struct {
	netns uint32
	kernel.Socket
}

// state is where a table has it: a full socket is ESTABLISHED there until it ends
// or a mini-socket takes over.
func (s *sighting) state() event.State {
	if s.Mini() {
		return s.State
	}
	return event.Established
}

func (s *sighting) event(at time.Time) event.Event {
	return event.Event{Time: at.UnixNano(), Kind: event.Snapshot, NetNS: s.netns, Cookie: s.Cookie,
		Local: s.Local, Remote: s.Remote, New: s.state(), Remaining: s.remaining()}
}

// remaining is how long TIME_WAIT goes on, in nanoseconds: at least one, where its timer is
// late, as 0 is not known. Other timers are no matter of a table.
func (s *sighting) remaining() int64 {
	if !s.Mini() {
		return 0
	}
	return max(int64(s.Expires), 1)
}

// dump is what the kernel showed: its counters, and its sockets if they were asked
// for.
type dump struct {
	survey     tracer.Survey
	listed     map[uint32]string // the namespaces there are, and their names where they have one
	whole      map[uint32]bool   // of those, the ones whose sockets were all shown
	begin, end time.Time         // of the dump
	sockets    []sighting
	connecting []uint64              // cookies of the clients that wait for an answer
	shown      identities            // all of these
	swept      *swept                // what comparing the owner table came to, if that was asked for
	owners     map[uint64]event.Proc // by the inode of the socket
	err        error
}

// What to dump, beside the counters.
const (
	dumpSockets = 1 << iota // sockets that a table can hold
	dumpOwners              // also listeners, and who has which socket
	dumpClients             // also the clients that wait for an answer
)

// held are the states of the sockets that a table can hold, as the kernel has them.
var held = kernel.States(event.Established, event.FinWait1, event.FinWait2, event.TimeWait,
	event.CloseWait, event.LastAck, event.Closing)

// dump may run beside the consumer: it touches nothing that the trace changes.
func (t *Trace) dump(what int) dump {
	d := dump{listed: make(map[uint32]string), whole: make(map[uint32]bool)}
	list, err := t.namespaces()
	if err != nil {
		d.err = err
		return d
	}
	d.survey = t.tracer.Survey(list)
	for _, ns := range list {
		d.listed[ns.Inum] = ns.Name
	}
	states := held
	if what&dumpOwners != 0 {
		states |= kernel.States(event.Listening, event.SynSent)
	}
	if what&dumpClients != 0 {
		states |= kernel.States(event.SynSent)
	}
	d.begin = time.Now()
	if what&dumpSockets != 0 {
		traced := t.traced(list)
		for i, ns := range traced {
			if what&dumpOwners != 0 {
				t.progress(i, len(traced))
			}
			d.add(ns, states, what)
		}
		if what&dumpOwners != 0 {
			t.progress(len(traced), len(traced))
		}
	}
	d.end = time.Now()
	d.shown = d.identities()
	if what&dumpOwners != 0 {
		d.owners, err = process.SocketOwners()
		if err != nil && !errors.Is(err, fs.ErrPermission) {
			d.err = err
		}
		t.describe(d.owners)
	}
	return d
}

// describe says who the owners are. Each is asked for once, however many sockets it has.
func (t *Trace) describe(owners map[uint64]event.Proc) {
	known := make(map[event.Proc]event.Proc)
	for inode, p := range owners {
		who, ok := known[p]
		if !ok {
			who = t.stream.resolver.Describe(p)
			if t.tracer.Follows(p) {
				who.Who.Followed = true // it is still ours alone
			}
			known[p] = who
		}
		owners[inode] = who
	}
}

// add adds the sockets of one namespace. One that cannot be read to the end may
// be gone by now; its sockets are not missed.
func (d *dump) add(ns kernel.NetNS, states kernel.StateMask, what int) {
	err := ns.Sockets(states, func(k kernel.Socket) error {
		if what&dumpClients != 0 && k.State == event.SynSent {
			d.connecting = append(d.connecting, k.Cookie)
			return nil
		}
		d.sockets = append(d.sockets, sighting{ns.Inum, k})
		return nil
	})
	d.whole[ns.Inum] = err == nil
}

// identities are worked out beside the consumer too: at 131,072 sockets that takes
// as long as the comparison.
func (d *dump) identities() identities {
	ids := newIdentities()
	for i := range d.sockets {
		e := d.sockets[i].event(d.end)
		ids.add(&e)
	}
	for _, cookie := range d.connecting {
		ids.cookies[cookie] = struct{}{}
	}
	return ids
}

// namespaces are all that can be found, and those that the user has named: these
// may be held by a descriptor only.
func (t *Trace) namespaces() ([]kernel.NetNS, error) {
	list, err := kernel.ListNetNS()
	if err != nil {
		return nil, err
	}
	for _, ns := range t.opt.Named {
		listed := slices.ContainsFunc(list, func(n kernel.NetNS) bool { return n.Inum == ns.Inum })
		if !listed && ns.Do(func() error { return nil }) == nil {
			list = append(list, ns)
		}
	}
	return list, nil
}

// traced are the namespaces of list that the filter accepts.
func (t *Trace) traced(list []kernel.NetNS) []kernel.NetNS {
	var out []kernel.NetNS
	for _, ns := range list {
		if t.Traces(ns.Inum) {
			out = append(out, ns)
		}
	}
	return out
}

// makeCookies has the kernel make the cookies of the sockets that are about to end,
// before anything is traced: it makes one when it is first asked for, and a full
// socket without one becomes a mini-socket without one. Sockets that come to this
// state later get theirs from the hooks.
func (t *Trace) makeCookies() error {
	list, err := t.namespaces()
	if err != nil {
		return err
	}
	for _, ns := range t.traced(list) {
		// One that cannot be read has gone, or the records of a few sockets have no cookie.
		_ = ns.Sockets(kernel.States(event.FinWait1, event.FinWait2, event.Closing), func(kernel.Socket) error { return nil })
	}
	return nil
}
