package conn

import (
	"time"

	"github.com/twtrace/twtrace/internal/event"
)

// GivenUp is the connects whose process closed the socket before an answer came.
type GivenUp struct {
	N      uint64
	Timed  uint64        // of these, those whose connect() the trace saw
	Waited time.Duration // in SYN_SENT, by all of Timed together
}

func (g *GivenUp) add(e *event.Event) {
	if e.Cause == event.GaveUp {
		g.N++
		if e.InState > 0 {
			g.Timed++
			g.Waited += time.Duration(e.InState)
		}
	}
}

// Mean is how long they waited, 0 if that is not known.
func (g GivenUp) Mean() time.Duration {
	if g.Timed == 0 {
		return 0
	}
	return g.Waited / time.Duration(g.Timed)
}

// Merge adds o to g.
func (g *GivenUp) Merge(o GivenUp) {
	g.N += o.N
	g.Timed += o.Timed
	g.Waited += o.Waited
}

// Since is what came after before.
func (g GivenUp) Since(before GivenUp) GivenUp {
	if before.N > g.N {
		return GivenUp{}
	}
	return GivenUp{g.N - before.N, g.Timed - before.Timed, g.Waited - before.Waited}
}

// IdleClosed is for how long a connection must have carried no data for its close to count
// as that of an idle one. The shortest idle timeouts of servers are a second; a server that
// closes behind an answer does so within milliseconds.
const IdleClosed = 250 * time.Millisecond

// resetWhenIdle reports whether e is the end of a connection that its server closed because
// it was idle, while its client still used it: the server's FIN came first, then the
// client's data, and the server's kernel answered that with a reset. Both ends see it: the
// client by its data that nobody acknowledged, the server by the reset after its own close.
func resetWhenIdle(e *event.Event, role event.Role) bool {
	if e.Kind != event.Close || time.Duration(e.Idle) < IdleClosed {
		return false
	}
	switch role {
	case event.Client:
		return e.Reason == event.ResetReceived && e.Closer == event.RemoteSide && e.DataLost &&
			(e.Old == event.CloseWait || e.Old == event.LastAck)
	case event.Server:
		return e.Reason == event.ResetSent && e.Closer == event.LocalSide && e.Old == event.FinWait2
	}
	return false
}

// countReset counts the reset that e reports, if any, for a group and for all.
func (t *Table) countReset(e *event.Event, g *group) {
	if e.Kind != event.Close {
		return
	}
	idle := resetWhenIdle(e, g.key.role)
	for _, c := range []*Counters{&g.Counters, &t.total.Counters} {
		if e.DataLost {
			c.DataLost++
		}
		if idle {
			c.IdleResets++
		}
	}
	if idle {
		if g.idle == nil {
			g.idle = new(Hist)
		}
		g.idle.Add(time.Duration(e.Idle))
	}
}
