package live

import (
	"time"

	"github.com/twtrace/twtrace/internal/event"
	"github.com/twtrace/twtrace/internal/process"
)

// An event waits nameWait at most for the names of its processes, and maxNameless
// events do at a time: they are looked up beside the stream, most in less than a
// millisecond.
const (
	nameWait    = 50 * time.Millisecond
	maxNameless = 4096
)

// namer completes the processes of a stream of events, in their order.
type namer struct {
	read     func(*event.Event) error
	resolver *process.Resolver
	who      *process.Enricher

	held    []nameless // waits for names; the first may hold up the others
	first   int        // of held
	pending error      // of read, for when nothing is held any more
}

type nameless struct {
	event.Event
	until time.Time
}

func newNamer(read func(*event.Event) error, o process.Options) *namer {
	r := process.NewResolver(o)
	return &namer{read: read, resolver: r, who: process.NewEnricher(r)}
}

// next returns the next event. The errors are those of read.
func (n *namer) next(e *event.Event) error {
	for {
		if n.pop(e) {
			return nil
		}
		if n.pending != nil {
			if n.first < len(n.held) {
				n.wait()
				continue
			}
			err := n.pending
			n.pending = nil
			return err
		}
		if n.pending = n.read(e); n.pending != nil {
			continue
		}
		more := n.who.Complete(e)
		if !more && len(n.held) == 0 {
			return nil
		}
		n.held = append(n.held, nameless{*e, time.Now().Add(nameWait)})
	}
}

// pop takes out the first event that is held if it need not wait any longer.
func (n *namer) pop(e *event.Event) bool {
	if n.first == len(n.held) {
		return false
	}
	h := &n.held[n.first]
	if n.who.Complete(&h.Event) {
		if len(n.held)-n.first < maxNameless && time.Now().Before(h.until) {
			return false
		}
		n.who.Late(&h.Event)
	}
	*e = h.Event
	if n.first++; n.first == len(n.held) {
		n.held, n.first = n.held[:0], 0
	}
	return true
}

// wait waits for an answer, or until the first event has waited long enough.
func (n *namer) wait() {
	timer := time.NewTimer(time.Until(n.held[n.first].until))
	defer timer.Stop()
	select {
	case <-n.resolver.Answered():
	case <-timer.C:
	}
}

// unnamed counts the processes whose details are not in all of their records, by why.
func (n *namer) unnamed() map[string]uint64 {
	out := make(map[string]uint64)
	names := n.who.Names()
	for why, count := range map[string]uint64{"gone": names.Gone, "throttled": names.Throttled} {
		if count > 0 {
			out[why] = count
		}
	}
	return out
}

// unnamed says what is not known of processes on this host.
func unnamed() []string {
	if err := process.Usable(); err != nil {
		return []string{"executables, units, containers and the owners of older sockets: " + err.Error() +
			"; what the kernel reports of a process is known"}
	}
	return nil
}

func (n *namer) stop() { n.resolver.Stop() }
