package conn

import (
	"net/netip"

	"github.com/twtrace/twtrace/internal/event"
)

// closesKept is how many of its last closes a group remembers.
const closesKept = 5

// Closed is the end of one connection, or of its full socket where TIME_WAIT follows.
type Closed struct {
	Time      int64          // ns since the epoch
	Life      int64          // ns from ESTABLISHED on, 0 if unknown
	Remote    netip.AddrPort // the remote end
	LocalPort uint16
	Kind      event.Kind // TimeWaitEnter, TimeWaitRefused or Close
	Reason    event.Reason
	Closer    event.Side
}

// closes remembers the last ones of a group, in a ring.
type closes struct {
	ring  [closesKept]Closed
	n     uint64   // how many there were
	shown []Closed // what list returned last; nil after another close
}

func (c *closes) add(e *event.Event) {
	c.ring[c.n%closesKept] = Closed{Time: e.Time, Life: e.Life, Remote: e.Remote, LocalPort: e.Local.Port(),
		Kind: e.Kind, Reason: e.Reason, Closer: e.Closer}
	c.n++
	c.shown = nil
}

// close remembers the close that e reports.
func (g *group) close(e *event.Event) {
	if g.closes == nil {
		g.closes = new(closes)
	}
	g.closes.add(e)
}

// list returns the closes, the latest first. Nothing changes the list afterwards.
func (c *closes) list() []Closed {
	if c == nil {
		return nil
	}
	if c.shown == nil {
		n := min(c.n, closesKept)
		c.shown = make([]Closed, n)
		for i := range n {
			c.shown[i] = c.ring[(c.n-1-i)%closesKept]
		}
	}
	return c.shown
}

// Ways counts ends of connections by their reason; read them with Way.
type Ways [event.FinWait2Timeout + 1]uint32

// Way is how many connections ended for r, one of the reasons of time_wait_enter,
// time_wait_refused and close.
func (c *Counters) Way(r event.Reason) uint64 { return uint64(c.Ways[min(r, event.FinWait2Timeout)]) }
