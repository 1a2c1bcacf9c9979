package main

import (
	"net/netip"
	"time"

	"github.com/twtrace/twtrace/internal/conn"
	"github.com/twtrace/twtrace/internal/event"
	"github.com/twtrace/twtrace/internal/kernel"
)

// waiters tells the table how many clients wait for an answer to their SYN. They
// hold a port, and there is no event of them until it comes: one for each would
// cost every connection a quarter more. So the kernel is asked, beside the consumer.
type waiters struct {
	due     time.Time
	running chan waitingLook
}

type waitingLook struct {
	at   time.Time
	took time.Duration
	list []conn.Waiting
}

// waitersEvery is how often at most the kernel is asked.
const waitersEvery = time.Second

// countWaiting has the table know who waits, if it is due.
func (s *session) countWaiting() {
	w := &s.waiters
	now := time.Now()
	if w.running == nil {
		if now.Before(w.due) {
			return
		}
		w.running = make(chan waitingLook, 1)
		go func() { w.running <- s.lookWaiting() }()
		return
	}
	select {
	case l := <-w.running:
		w.running = nil
		w.due = l.at.Add(max(waitersEvery, dumpShare*l.took))
		s.table.SetWaiting(l.at.UnixNano(), l.list)
	default:
	}
}

// lookWaiting counts the sockets in SYN_SENT of the namespaces that are traced. It
// may run beside the consumer.
func (s *session) lookWaiting() waitingLook {
	l := waitingLook{at: time.Now()}
	type client struct {
		netns  uint32
		local  netip.Addr
		remote netip.AddrPort
	}
	at := make(map[client]int)
	list, err := s.namespaces()
	if err == nil {
		for _, ns := range s.traced(list) {
			// Of a namespace that cannot be read, nobody is known to wait.
			_ = ns.Sockets(kernel.States(event.SynSent), func(k kernel.Socket) error {
				if e := (&sighting{ns.Inum, k}).event(l.at); !s.traces(&e) {
					return nil
				}
				c := client{ns.Inum, k.Local.Addr(), k.Remote}
				i, ok := at[c]
				if !ok {
					i = len(l.list)
					at[c] = i
					l.list = append(l.list, conn.Waiting{NetNS: ns.Inum, Local: k.Local.Addr(), Remote: k.Remote})
				}
				l.list[i].N++
				return nil
			})
		}
	}
	l.took = time.Since(l.at)
	return l
}

// wait ends the look that is running, if any.
func (w *waiters) wait() {
	if w.running != nil {
		<-w.running
	}
}
