package advice

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/twtrace/twtrace/internal/event"
	"github.com/twtrace/twtrace/internal/kernel"
	"github.com/twtrace/twtrace/internal/pressure"
)

// Facts is what was seen of one network namespace.
type Facts struct {
	Time            time.Time // of the look at the sockets
	Host            kernel.Host
	NetNS           kernel.NetNS
	Enter           string // what brings a command of the user's shell into NetNS; "" or with a blank at its end
	MemAvailable    uint64 // bytes
	Limits          kernel.Limits
	Before, After   kernel.Counters // the same where Window is 0
	Earlier, Around Around          // the same twice where Window is 0
	Window          time.Duration   // between Before and After; 0 if there was one look only
	Destinations    []Destination   // of outgoing connections
	Listeners       []Listener
	TimeWait        pressure.Expiry // of all sockets in TIME_WAIT
	Traced          bool            // the facts are a trace's
	Traffic         Traffic         // then
}

// States counts sockets by state. Index FinWait2 holds full sockets only;
// those that a mini-socket keeps are Parked.
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

// Destination is what one source address holds towards one address and port:
// the set in which a local port can be used once.
type Destination struct {
	Local  netip.Addr
	Remote netip.AddrPort
	States States          // sockets whose local port connect() chose, or could have chosen
	Bound  uint32          // sockets on other local ports; they take none of the range
	Expiry pressure.Expiry // of those in TIME_WAIT
	Resent uint32          // in SYN_SENT, those whose SYN was sent again; of a look only

	// The rest is seen by a trace only.

	Owner   event.Proc      // who opened most of late, before the trace too
	PIDs    int             // processes of that name, about
	Opener  event.Proc      // who opened most in the Window, if that is another name than Owner's
	Openers int             // processes of that name
	Failed  uint64          // connects that found no port in the Window
	Passed  int             // ports that each connect() passes over, all those of the first parity; 0 if one of them is free
	Gauge   *pressure.Gauge // the forecast, from the flow; nil where nothing is near a limit
	Begun   int             // of those in TIME_WAIT, the ones that the trace saw begin
	Stamped int             // of these, the ones whose peer uses TCP timestamps
	Flow
}

// byOpener is d with who opened most in the Window for its owner: who connects, where
// another one holds the ports.
func (d Destination) byOpener() Destination {
	if d.Opener.Known() {
		d.Owner, d.PIDs = d.Opener, d.Openers
	}
	return d
}

// Listener is a listening socket with what it accepted.
type Listener struct {
	Local   netip.AddrPort
	States  States // of the connections on its port, LISTEN left out
	Waiting uint32 // connections that wait for accept()
	Backlog uint32
	Owner   event.Proc // of a trace only, like what follows
	Flow
}

// Counted is the kernel's counters of a namespace with what surrounds its connections,
// and when they were read.
type Counted struct {
	At time.Time
	kernel.Counters
	Around Around
}

// Count reads the counters of n, for a later LookSince.
func Count(n kernel.NetNS) (Counted, error) {
	c, err := n.Counters()
	if err != nil {
		return Counted{}, err
	}
	a, err := LookAround(n)
	return Counted{time.Now(), c, a}, err
}

// accepted tells whether k is what l has accepted, at one of its addresses.
func (l *Listener) accepted(k Listener) bool {
	return k.Local == l.Local || k.Local.Port() == l.Local.Port() && l.Local.Addr().IsUnspecified()
}

// Look gathers facts about n. With a window it reads the counters twice, that
// far apart, and the sockets at its end. It needs no privilege for the current
// namespace.
func Look(ctx context.Context, n kernel.NetNS, window time.Duration) (Facts, error) {
	if window <= 0 {
		return LookSince(ctx, n, Counted{})
	}
	before, err := Count(n)
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
	return LookSince(ctx, n, before)
}

// LookSince gathers facts about n, with what its counters have counted since
// before; the zero Counted stands for one look only.
func LookSince(ctx context.Context, n kernel.NetNS, before Counted) (Facts, error) {
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
	after, err := Count(n)
	if err != nil {
		return Facts{}, err
	}
	if before.At.IsZero() {
		before = after
	}
	f.Between(before, after)
	if err := f.Around.LookAtTracked(n); err != nil {
		return Facts{}, err
	}
	if err := f.lookAtSockets(ctx); err != nil {
		return Facts{}, err
	}
	return f, nil
}

// LookAtListeners sets the listeners alone to what sock_diag shows, where the rest is
// known better from a trace, and counts the entries of conntrack if they matter.
func (f *Facts) LookAtListeners(ctx context.Context) error {
	seen := *f
	if err := seen.lookAtSockets(ctx); err != nil {
		return err
	}
	for i := range seen.Listeners {
		l := &seen.Listeners[i]
		if at := slices.IndexFunc(f.Listeners, l.accepted); at >= 0 {
			l.Owner, l.Flow = f.Listeners[at].Owner, f.Listeners[at].Flow
		}
	}
	f.Listeners = seen.Listeners
	return f.Around.LookAtTracked(f.NetNS)
}

// Between sets what was counted up to after, and since before.
func (f *Facts) Between(before, after Counted) {
	f.Time, f.Window = after.At, after.At.Sub(before.At)
	f.Before, f.After = before.Counters, after.Counters
	f.Earlier, f.Around = before.Around, after.Around
}

// lookAtSockets sets the destinations, the listeners and what is in TIME_WAIT to
// what sock_diag shows.
func (f *Facts) lookAtSockets(ctx context.Context) error {
	c := newCensus(f.Limits)
	if err := f.NetNS.Sockets(kernel.States(event.Listening), c.add); err != nil {
		return err
	}
	err := f.NetNS.Sockets(kernel.AllStates&^kernel.States(event.Listening), func(s kernel.Socket) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		return c.add(s)
	})
	if err != nil {
		return err
	}
	f.Destinations, f.Listeners, f.TimeWait = c.result()
	return nil
}
