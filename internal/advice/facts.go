package advice

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/twtrace/twtrace/internal/clock"
	"github.com/twtrace/twtrace/internal/event"
	"github.com/twtrace/twtrace/internal/kernel"
	"github.com/twtrace/twtrace/internal/pressure"
)

// Facts is what is known about one network namespace.
type Facts struct {
	Time                  time.Time   // when the sockets were read
	Clock                 clock.Clock // prints times in findings
	Host                  kernel.Host
	NetNS                 kernel.NetNS
	Enter                 string // puts a command of the user's shell into NetNS; "" or with a blank at its end
	MemAvailable          uint64 // bytes
	Limits                kernel.Limits
	Before, After         kernel.Counters // equal if Window is 0
	HostBefore, HostAfter HostFacts       // equal if Window is 0
	Window                time.Duration   // between Before and After; 0 if they were read once
	Destinations          []Destination   // of outgoing connections
	Listeners             []Listener
	TimeWait              pressure.Expiry // of all sockets in TIME_WAIT
	Traced                bool            // the facts come from a trace
	Coarse                bool            // of connections of clients it is not known who is in CLOSE_WAIT: they count as ESTABLISHED
	Traffic               Traffic         // then
}

// States counts sockets by state. Index FinWait2 holds full sockets only;
// those in a mini-socket are Parked.
type States struct {
	Full   [event.NewSynRecv + 1]uint32
	Parked uint32 // mini-sockets in FIN_WAIT2; those in TIME_WAIT are Full[TimeWait]
}

// Of returns how many sockets are in the state.
func (s *States) Of(state event.State) int { return int(s.Full[state]) }

// All is how many sockets there are.
func (s *States) All() int {
	n := int(s.Parked)
	for _, c := range s.Full {
		n += int(c)
	}
	return n
}

func (s *States) add(k kernel.Socket) {
	switch {
	case k.State == event.FinWait2 && k.Mini():
		s.Parked++
	case int(k.State) < len(s.Full):
		s.Full[k.State]++
	}
}

// Destination is what one source address holds to one address and port:
// the set in which each local port can be used once.
type Destination struct {
	Local  netip.Addr
	Remote netip.AddrPort
	States States          // sockets whose local port connect() chose, or could have chosen
	Bound  uint32          // sockets on other local ports; they take none of the range
	Expiry pressure.Expiry // of those in TIME_WAIT
	Resent uint32          // in SYN_SENT, those whose SYN was sent again; only without a trace

	// Only a trace knows the rest.

	Openers Contributors    // who opened connections in the Window, each with its Flow
	Failers Contributors    // whose connects found no port in the Window
	Holders Contributors    // whose sockets hold the ports now, those in TIME_WAIT included
	Failed  uint64          // connects that found no port in the Window
	Passed  int             // ports that each connect() skips, all those of the first parity; 0 if one of them is free
	Gauge   *pressure.Gauge // the forecast, from the flow; nil if no limit is near
	Begun   int             // sockets in TIME_WAIT whose start the trace saw
	Stamped int             // those of Begun whose peer uses TCP timestamps
	Flow
}

// Listener is a listening socket with what it accepted.
type Listener struct {
	Local   netip.AddrPort
	States  States // of the connections on its port, LISTEN left out
	Waiting uint32 // connections that wait for accept()
	Backlog uint32
	Owner   event.Proc   // who accepts; only of a trace, like what follows
	PIDs    int          // how many processes of its name do
	Holders Contributors // whose the sockets in TIME_WAIT are
	Flow
}

// Counted is the kernel's counters of a namespace and its HostFacts, and when they were
// read.
type Counted struct {
	At time.Time
	kernel.Counters
	Host HostFacts
}

// ReadCounters reads the counters of n, for a later ReadFactsSince.
func ReadCounters(n kernel.NetNS) (Counted, error) {
	c, err := n.Counters()
	if err != nil {
		return Counted{}, err
	}
	a, err := ReadHostFacts(n)
	return Counted{time.Now(), c, a}, err
}

// accepted reports whether k is what l has accepted, at one of its addresses.
func (l *Listener) accepted(k Listener) bool {
	return k.Local == l.Local || k.Local.Port() == l.Local.Port() && l.Local.Addr().IsUnspecified()
}

// ReadFacts reads facts about n. With a window it reads the counters twice, that
// far apart, and the sockets at its end. It needs no privilege for the current
// namespace. The error is ctx's if that ends first.
func ReadFacts(ctx context.Context, n kernel.NetNS, window time.Duration) (Facts, error) {
	if window <= 0 {
		return ReadFactsSince(ctx, n, Counted{})
	}
	before, err := ReadCounters(n)
	if err != nil {
		return Facts{}, err
	}
	wait := time.NewTimer(window)
	defer wait.Stop()
	select {
	case <-ctx.Done():
		return Facts{}, fmt.Errorf("watch network namespace %s: %w", n, ctx.Err())
	case <-wait.C:
	}
	return ReadFactsSince(ctx, n, before)
}

// ReadFactsSince reads facts about n, with the counters before for comparison; if
// before is zero, it reads them once.
func ReadFactsSince(ctx context.Context, n kernel.NetNS, before Counted) (Facts, error) {
	f := Facts{NetNS: n, Enter: n.Enter()}
	var err error
	if f.Host, err = kernel.ThisHost(); err != nil {
		return Facts{}, err
	}
	if f.MemAvailable, err = kernel.MemAvailable(); err != nil {
		return Facts{}, err
	}
	if f.Limits, err = n.Limits(); err != nil {
		return Facts{}, err
	}
	after, err := ReadCounters(n)
	if err != nil {
		return Facts{}, err
	}
	if before.At.IsZero() {
		before = after
	}
	f.Between(before, after)
	f.HostAfter.nameQueues()
	if err := f.HostAfter.CountTracked(n); err != nil {
		return Facts{}, err
	}
	if err := f.readSockets(ctx); err != nil {
		return Facts{}, err
	}
	return f, nil
}

// ReadListeners sets only the listeners to what sock_diag shows, where a trace knows the
// rest better, and counts the entries of conntrack if they matter.
func (f *Facts) ReadListeners(ctx context.Context) error {
	seen := *f
	if err := seen.readSockets(ctx); err != nil {
		return err
	}
	for i := range seen.Listeners {
		l := &seen.Listeners[i]
		if at := slices.IndexFunc(f.Listeners, l.accepted); at >= 0 {
			known := &f.Listeners[at]
			l.Owner, l.PIDs, l.Holders, l.Flow = known.Owner, known.PIDs, known.Holders, known.Flow
		}
	}
	f.Listeners = seen.Listeners
	return f.HostAfter.CountTracked(f.NetNS)
}

// Between sets the counters before and after, and the window between them.
func (f *Facts) Between(before, after Counted) {
	f.Time, f.Window = after.At, after.At.Sub(before.At)
	f.Before, f.After = before.Counters, after.Counters
	f.HostBefore, f.HostAfter = before.Host, after.Host
}

// readSockets sets the destinations, the listeners and TimeWait to what sock_diag shows.
func (f *Facts) readSockets(ctx context.Context) error {
	c := newCensus(f.Limits)
	if err := f.NetNS.Sockets(kernel.States(event.Listening), c.add); err != nil {
		return err
	}
	err := f.NetNS.Sockets(kernel.AllStates&^kernel.States(event.Listening)|kernel.BoundIdle, func(s kernel.Socket) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		return c.add(s)
	})
	if err != nil {
		return err
	}
	f.Destinations, f.Listeners, f.TimeWait = c.result()
	if !f.Traced {
		f.Traffic.Range.Ports = len(c.taken)
	}
	return nil
}
