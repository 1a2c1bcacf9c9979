package main

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

// remaining is how long TIME_WAIT goes on, in nanoseconds. Other timers are no
// matter of a table.
func (s *sighting) remaining() int64 {
	if !s.Mini() {
		return 0
	}
	return int64(s.Expires)
}

// look is what the kernel showed of itself: its counters, and its sockets if they
// were asked for.
type look struct {
	survey     tracer.Survey
	listed     map[uint32]string // namespaces that there are, and their names where they have one
	whole      map[uint32]bool   // of those, the ones whose sockets were all shown
	begin, end time.Time         // of the dump
	sockets    []sighting
	shown      identities            // the same
	owners     map[uint64]event.Proc // by the inode of the socket
	err        error
}

// What to look at, beside the counters.
const (
	lookSockets = 1 << iota // sockets that a table can hold
	lookOwners              // also listeners, and who has which socket
)

// held are the states of the sockets that a table can hold, as the kernel has them.
var held = kernel.States(event.Established, event.FinWait1, event.FinWait2, event.TimeWait,
	event.CloseWait, event.LastAck, event.Closing)

// look may run beside the consumer: it touches nothing that the session changes.
func (s *session) look(what int) look {
	l := look{listed: make(map[uint32]string), whole: make(map[uint32]bool)}
	list, err := s.namespaces()
	if err != nil {
		l.err = err
		return l
	}
	l.survey = s.tracer.Survey(list)
	for _, ns := range list {
		l.listed[ns.Inum] = ns.Name
	}
	states := held
	if what&lookOwners != 0 {
		states |= kernel.States(event.Listening, event.SynSent)
	}
	l.begin = time.Now()
	if what&lookSockets != 0 {
		traced := s.traced(list)
		s.firstLook.begin(len(traced))
		for _, ns := range traced {
			l.dump(ns, states)
			s.firstLook.step()
		}
	}
	l.end = time.Now()
	l.shown = l.identities()
	if what&lookOwners != 0 {
		l.owners, err = process.SocketOwners()
		if err != nil && !errors.Is(err, fs.ErrPermission) {
			l.err = err
		}
		s.describe(l.owners)
	}
	return l
}

// describe says who the owners are. Each is asked for once, however many sockets it has.
func (s *session) describe(owners map[uint64]event.Proc) {
	known := make(map[event.Proc]event.Proc)
	for inode, p := range owners {
		d, ok := known[p]
		if !ok {
			d = s.stream.resolver.Describe(p)
			if s.tracer.Follows(p) {
				d.Who.Followed = true // it is still ours alone
			}
			known[p] = d
		}
		owners[inode] = d
	}
}

// dump adds the sockets of one namespace. One that cannot be read to the end may
// be gone by now; its sockets are not missed.
func (l *look) dump(ns kernel.NetNS, states kernel.StateMask) {
	err := ns.Sockets(states, func(k kernel.Socket) error {
		l.sockets = append(l.sockets, sighting{ns.Inum, k})
		return nil
	})
	l.whole[ns.Inum] = err == nil
}

// identities are worked out beside the consumer too: at 131,072 sockets that takes
// as long as the comparison.
func (l *look) identities() identities {
	ids := newIdentities()
	for i := range l.sockets {
		e := l.sockets[i].event(l.end)
		ids.add(&e)
	}
	return ids
}

// namespaces are all that can be found, and those that the user has named: these
// may be held by a descriptor only.
func (s *session) namespaces() ([]kernel.NetNS, error) {
	list, err := kernel.ListNetNS()
	if err != nil {
		return nil, err
	}
	for _, ns := range s.named {
		listed := slices.ContainsFunc(list, func(n kernel.NetNS) bool { return n.Inum == ns.Inum })
		if !listed && ns.Do(func() error { return nil }) == nil {
			list = append(list, ns)
		}
	}
	return list, nil
}

// traced are the namespaces of list that the filter lets through.
func (s *session) traced(list []kernel.NetNS) []kernel.NetNS {
	var out []kernel.NetNS
	for _, ns := range list {
		if s.tracedNetNS(ns.Inum) {
			out = append(out, ns)
		}
	}
	return out
}

// nameSockets has the kernel give a cookie to the sockets that are about to end,
// before anything is traced: it makes them when they are first asked for, and a
// full socket that becomes a mini-socket before it has one makes one with none.
// Those that come to this state later get theirs from the hooks.
func (s *session) nameSockets() error {
	list, err := s.namespaces()
	if err != nil {
		return err
	}
	for _, ns := range s.traced(list) {
		// One that cannot be read has gone, or the records of a few sockets have no cookie.
		_ = ns.Sockets(kernel.States(event.FinWait1, event.FinWait2, event.Closing), func(kernel.Socket) error { return nil })
	}
	return nil
}
