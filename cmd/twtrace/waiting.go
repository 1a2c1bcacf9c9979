package main

import (
	"net/netip"
	"time"

	"github.com/twtrace/twtrace/internal/conn"
	"github.com/twtrace/twtrace/internal/event"
	"github.com/twtrace/twtrace/internal/kernel"
	"github.com/twtrace/twtrace/internal/process"
)

// waiters tells the table how many clients wait for an answer to their SYN. They
// hold a port, and there is no event of them until it comes: one for each would
// cost every connection a quarter more. So the kernel is asked, beside the consumer.
type waiters struct {
	often   bool // the number is what the user looks at
	due     time.Time
	running chan waitingLook
}

type waitingLook struct {
	at    time.Time
	took  time.Duration
	list  []conn.Waiting
	stood bool       // the rest was wanted
	stand []sighting // in CLOSE_WAIT or FIN_WAIT2
}

const (
	// waitersEvery is how often at most the kernel is asked.
	waitersEvery = time.Second
	// waitersRarely is how often while no more than fewWaiting wait: a look goes through the
	// whole table of the kernel, which takes 10 ms of a CPU where it is empty.
	waitersRarely = 5 * time.Second
	fewWaiting    = 16
)

// countWaiting has the table know who waits, if it is due.
func (s *session) countWaiting() {
	w := &s.waiters
	now := time.Now()
	if w.running == nil {
		if now.Before(w.due) {
			return
		}
		w.running = make(chan waitingLook, 1)
		wanted := s.standing.wanted
		go func() { w.running <- s.lookWaiting(wanted) }()
		return
	}
	select {
	case l := <-w.running:
		w.running = nil
		w.due = l.at.Add(l.pause(w.often))
		s.table.SetWaiting(l.at.UnixNano(), l.list)
		if l.stood {
			s.standing.note(l.at, l.stand)
		}
	default:
	}
}

// pause is how long after the look it is time for the next.
func (l *waitingLook) pause(often bool) time.Duration {
	waiting := 0
	for _, w := range l.list {
		waiting += w.N
	}
	every := waitersEvery
	if !often && waiting <= fewWaiting {
		every = waitersRarely
	}
	return max(every, dumpShare*l.took)
}

// lookWaiting counts the sockets in SYN_SENT of the namespaces that are traced, and
// notes those that may stand in CLOSE_WAIT or FIN_WAIT2. It may run beside the
// consumer.
func (s *session) lookWaiting(standing bool) waitingLook {
	l := waitingLook{at: time.Now(), stood: standing}
	states := kernel.States(event.SynSent)
	if standing {
		states |= kernel.States(event.CloseWait, event.FinWait2)
	}
	type client struct {
		netns  uint32
		local  netip.Addr
		remote netip.AddrPort
	}
	at := make(map[client]int)
	var inodes [][]uint64 // of the sockets, by client
	list, err := s.namespaces()
	if err == nil {
		for _, ns := range s.traced(list) {
			// Of a namespace that cannot be read, nobody is known to wait.
			_ = ns.Sockets(states, func(k kernel.Socket) error {
				if e := (&sighting{ns.Inum, k}).event(l.at); !s.traces(&e) {
					return nil
				}
				if k.State != event.SynSent {
					l.stand = append(l.stand, sighting{ns.Inum, k})
					return nil
				}
				c := client{ns.Inum, k.Local.Addr(), k.Remote}
				i, ok := at[c]
				if !ok {
					i = len(l.list)
					at[c] = i
					inodes = append(inodes, nil)
					l.list = append(l.list, conn.Waiting{NetNS: ns.Inum, Local: k.Local.Addr(), Remote: k.Remote})
				}
				l.list[i].N++
				inodes[i] = append(inodes[i], uint64(k.Inode))
				return nil
			})
		}
	}
	l.name(inodes)
	l.took = time.Since(l.at)
	return l
}

// manyWaiting is how many must wait for an answer of one destination for it to be
// worth the while to look who that is: it is a walk through /proc.
const manyWaiting = 64

// name finds out who the clients are of which many wait.
func (l *waitingLook) name(inodes [][]uint64) {
	var owners map[uint64]event.Proc
	for i := range l.list {
		if l.list[i].N < manyWaiting {
			continue
		}
		if owners == nil {
			// Of processes that may not be looked at, nothing is known.
			owners, _ = process.SocketOwners()
		}
		waiting := make(map[string]int)
		for _, inode := range inodes[i] {
			if p := owners[inode]; p.Known() {
				if waiting[p.Comm]++; waiting[p.Comm] > waiting[l.list[i].By.Comm] || !l.list[i].By.Known() {
					l.list[i].By = p
				}
			}
		}
	}
}

// wait ends the look that is running, if any.
func (w *waiters) wait() {
	if w.running != nil {
		<-w.running
	}
}
