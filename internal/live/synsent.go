package live

import (
	"net/netip"
	"runtime"
	"time"

	"golang.org/x/sys/unix"

	"github.com/twtrace/twtrace/internal/conn"
	"github.com/twtrace/twtrace/internal/event"
	"github.com/twtrace/twtrace/internal/kernel"
	"github.com/twtrace/twtrace/internal/process"
)

// waiters counts for the table the clients that wait for an answer to their SYN, and the
// sockets that have bound a port and do nothing else. They hold a port, and no event shows
// them until it comes: one for each would cost every connection a quarter more. So the
// kernel is polled, beside the consumer.
type waiters struct {
	due     time.Time
	running chan synSentPoll
}

type synSentPoll struct {
	at        time.Time
	took      time.Duration // of a CPU
	list      []conn.SynSent
	idle      []conn.BoundIdle
	whole     bool       // the rest was wanted
	closeWait []uint64   // cookies of those in CLOSE_WAIT
	lingering []sighting // in CLOSE_WAIT or FIN_WAIT2
}

const (
	// waitersEvery is how often at most the kernel is polled.
	waitersEvery = time.Second
	// waitersRarely is how often while no more than fewWaiting wait: a poll goes through
	// the whole table of the kernel, which takes 10 ms of a CPU where it is empty.
	waitersRarely = 5 * time.Second
	fewWaiting    = 16
	// waitersSparing is the same of a trace that goes on for ever: with 5 s, the polls were half
	// of what an agent took at rest.
	waitersSparing = 20 * time.Second
	// waitersShare bounds the CPU time of polls where they are wanted often: a quarter of a
	// CPU. Whoever watches a host with large tables for ten seconds needs more than one.
	waitersShare = 4
)

// countWaiting counts for the table who waits, if it is due.
func (t *Trace) countWaiting() {
	w := &t.waiters
	now := time.Now()
	if w.running == nil {
		if now.Before(w.due) {
			return
		}
		w.running = make(chan synSentPoll, 1)
		wanted := t.lingering.wanted
		go func() { w.running <- t.pollWaiting(wanted) }()
		return
	}
	select {
	case l := <-w.running:
		w.running = nil
		w.due = l.at.Add(l.pause(t.opt.CountWaiting, t.opt.Sparing))
		t.table.SetSynSent(l.at.UnixNano(), l.list)
		t.table.SetBoundIdle(l.idle)
		t.table.SetCloseWait(l.at.UnixNano(), l.closeWait)
		if l.whole {
			t.lingering.note(l.at, l.lingering)
		}
	default:
	}
}

// pause is how long after the poll it is time for the next.
func (l *synSentPoll) pause(often, sparing bool) time.Duration {
	waiting := len(l.closeWait)
	for _, w := range l.list {
		waiting += w.N
	}
	switch {
	case often:
		return max(waitersEvery, waitersShare*l.took)
	case waiting > fewWaiting:
		return max(waitersEvery, dumpShare*l.took)
	case sparing:
		return max(waitersSparing, dumpShare*l.took)
	}
	return max(waitersRarely, dumpShare*l.took)
}

// pollWaiting counts the sockets in SYN_SENT and CLOSE_WAIT of the namespaces that are
// traced, and notes those in CLOSE_WAIT or FIN_WAIT2 one by one if wanted. It may run beside the
// consumer.
func (t *Trace) pollWaiting(wanted bool) synSentPoll {
	// The kernel goes through its tables in the thread that reads.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	l, spent := synSentPoll{at: time.Now(), whole: wanted}, cpuTime()
	states := kernel.States(event.SynSent, event.CloseWait) | kernel.BoundIdle
	if wanted {
		states |= kernel.States(event.FinWait2)
	}
	type client struct {
		netns  uint32
		local  netip.Addr
		remote netip.AddrPort
	}
	at := make(map[client]int)
	var inodes [][]uint64 // of the sockets, by client
	var holds []uint64    // of those in idle
	list, err := t.namespaces()
	if err == nil {
		for _, ns := range t.traced(list) {
			// Of a namespace that cannot be read, nobody is known to wait.
			_ = ns.Sockets(states, func(k kernel.Socket) error {
				if k.State == event.Closed {
					if len(l.idle) < maxIdle {
						l.idle, holds = append(l.idle, conn.BoundIdle{NetNS: ns.Inum, Port: k.Local.Port()}), append(holds, uint64(k.Inode))
					}
					return nil
				}
				if e := (&sighting{ns.Inum, k}).event(l.at); !t.tracesSocket(&e) {
					return nil
				}
				if k.State != event.SynSent {
					l.linger(sighting{ns.Inum, k})
					return nil
				}
				c := client{ns.Inum, k.Local.Addr(), k.Remote}
				i, ok := at[c]
				if !ok {
					i = len(l.list)
					at[c] = i
					inodes = append(inodes, nil)
					l.list = append(l.list, conn.SynSent{NetNS: ns.Inum, Local: k.Local.Addr(), Remote: k.Remote})
				}
				l.list[i].N++
				if k.Retrans > 0 {
					l.list[i].Resent++
				}
				inodes[i] = append(inodes[i], uint64(k.Inode))
				return nil
			})
		}
	}
	l.name(inodes, holds)
	l.took = cpuTime() - spent
	return l
}

// cpuTime is what this thread has used of a CPU.
func cpuTime() time.Duration {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &t); err != nil {
		return 0
	}
	return time.Duration(t.Nano())
}

// linger notes a connection in CLOSE_WAIT or FIN_WAIT2.
func (l *synSentPoll) linger(k sighting) {
	if k.State == event.CloseWait {
		l.closeWait = append(l.closeWait, k.Cookie)
	}
	if l.whole {
		l.lingering = append(l.lingering, k)
	}
}

// manyWaiting is how many must wait for an answer of one destination, or hold a port,
// before their processes are looked up: that is a walk through /proc.
const manyWaiting = 64

// maxIdle bounds the sockets that only hold a port.
const maxIdle = 1 << 17

// name looks up the processes of many that wait, and of many that only hold a port.
func (l *synSentPoll) name(inodes [][]uint64, holds []uint64) {
	var owners map[uint64]event.Proc
	if len(holds) >= manyWaiting {
		owners, _ = process.SocketOwners()
		for i := range l.idle {
			l.idle[i].Process = owners[holds[i]]
		}
	}
	for i := range l.list {
		if l.list[i].N < manyWaiting {
			continue
		}
		if owners == nil {
			// Of processes that may not be read, nothing is known.
			owners, _ = process.SocketOwners()
		}
		waiting := make(map[event.Proc]uint64)
		for _, inode := range inodes[i] {
			if p := owners[inode]; p.Known() {
				waiting[p]++
			}
		}
		for p, n := range waiting {
			l.list[i].By = append(l.list[i].By, conn.Holder{Process: p, PIDs: 1, N: n})
		}
	}
}

// wait waits for the poll that is running, if any.
func (w *waiters) wait() {
	if w.running != nil {
		<-w.running
	}
}
