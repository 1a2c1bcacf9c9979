package agent

import (
	"time"

	"github.com/twtrace/twtrace/internal/event"
	"github.com/twtrace/twtrace/internal/record"
	"github.com/twtrace/twtrace/internal/session"
)

// cut is a point of the recording where a reader may start: every socket that is alive
// there, with its owner, the limits, and the records from there on.
type cut struct {
	at     time.Time
	before uint64 // records of the recording before it
	known  record.Known
	limits []record.Limits
	events []event.Event // until they are packed
	first  place         // in the past, of the first block behind it

	packed chan struct{} // closed when blocks is set
	blocks []*record.Block
	size   int64
	err    error
}

func newCut(at time.Time, k *record.Known) *cut {
	c := &cut{at: at, limits: k.Limits(), packed: make(chan struct{})}
	c.known.Trace, c.known.Start = k.Trace, k.Start
	return c
}

// take takes over the sockets of a table, as records of what was there.
func (c *cut) take(s *session.Session) {
	at := c.at.UnixNano()
	for k := range s.Table().Sockets() {
		e := event.Event{Time: at, Kind: event.Snapshot, NetNS: k.NetNS, Cookie: k.Cookie, Local: k.Local, Remote: k.Remote,
			New: k.State, Process: k.Process, Owner: k.Owner, Bound: k.Bound}
		if !k.Guessed {
			e.Role = k.Role
		}
		if k.State == event.TimeWait {
			e.Remaining = max(k.Since+int64(event.TimeWaitLen)-at, 1)
		}
		c.events = append(c.events, e)
	}
}

// pack makes blocks of the records. It may be called by a goroutine of its own.
func (c *cut) pack() {
	defer close(c.packed)
	p, err := record.NewPacker()
	if err != nil {
		c.err = err
		return
	}
	for i := range c.events {
		c.keep(p.Add(&c.events[i]))
	}
	c.keep(p.Take())
	c.events = nil
}

func (c *cut) keep(b *record.Block) {
	if b != nil {
		c.blocks, c.size = append(c.blocks, b), c.size+int64(len(b.Frame))
	}
}
