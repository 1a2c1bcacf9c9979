// Package sessiontest is a session.Source without a kernel and without files: a list of
// events, and a clock that goes on between them. It is a diagnose.Host as well. With it
// the engine runs in a test as an ordinary user.
package sessiontest

import (
	"context"
	"errors"
	"io"
	"time"

	"github.com/twtrace/twtrace/internal/advice"
	"github.com/twtrace/twtrace/internal/conn"
	"github.com/twtrace/twtrace/internal/event"
	"github.com/twtrace/twtrace/internal/kernel"
	"github.com/twtrace/twtrace/internal/session"
)

// Step is the time between two moments at which there is no event to read.
const Step = 50 * time.Millisecond

// Source plays events. Set its fields before it is read.
type Source struct {
	Events []event.Event // by time
	Before []event.Event // what the table has from before, and no record is written of
	Queued int           // how many of Events are of sockets from before
	Until  time.Time     // when it ends; the time of the last event at the earliest
	Fail   error         // what Next returns at the end, in place of io.EOF
	Found  []event.Event // what Tend finds, one a call; the table is given each first
	AtEnd  []event.Event // what Tend finds once Next has returned io.EOF

	From    time.Time       // Began
	Header  event.StartInfo // of the start record
	Last    *event.EndInfo  // of the end record; nil if there is none
	ByNetNS map[uint32]kernel.Limits
	Names   map[uint32]string // of network namespaces
	Drifted []event.Drift
	Owners  time.Time // OwnersKnown
	Says    []string  // Remarks
	Blind   []string  // Missing
	Flaw    error     // Damage
	Has     bool      // Storms
	Only    []uint32  // the network namespaces that are traced; nil for all
	Part    time.Time // what is before it is not shown

	Linger []session.Lingering
	Dumped []kernel.Socket // what Sockets shows; if Counts is nil, that is not supported
	// OnPorts are the sockets that sock_diag shows on local ports.
	OnPorts []conn.Socket
	Counts  map[uint32]advice.Counted // of the kernel, by network namespace; nil: not supported
	Pids    map[uint32]bool           // those that can be asked about, and whether they run; nil: none can

	Closed bool                    // Close was called
	Tended []bool                  // the calls of Tend, with what idle was
	Wanted func(*event.Event) bool // of Begin

	table  *conn.Table
	now    time.Time
	idle   time.Time // the last pause
	next   int
	finish bool
	over   bool // Next returned io.EOF
}

var _ session.Source = (*Source)(nil)

// Limits are those of a kernel that was just installed, of a client with so many ports.
func Limits(ports int) kernel.Limits {
	return kernel.Limits{PortLow: 40000, PortHigh: uint16(40000 + ports - 1), MaxTWBuckets: 65536, TWReuse: 2,
		Timestamps: 1, TWReuseDelayMS: 1000, FinTimeout: time.Minute, UnprivPortStart: 1024}
}

// Begin gives the table what it has from before.
func (s *Source) Begin(t *conn.Table, wanted func(*event.Event) bool) error {
	s.table, s.Wanted = t, wanted
	if s.now = s.From; s.now.IsZero() && len(s.Events) > 0 {
		s.now = time.Unix(0, s.Events[0].Time)
	}
	s.idle = s.now
	for _, e := range s.Before {
		if wanted(&e) {
			t.Apply(&e)
		}
	}
	return nil
}

// Next returns the next event once it is time, or session.ErrIdle.
func (s *Source) Next(ctx context.Context, e *event.Event) error {
	switch {
	case s.finish:
		return s.end()
	case s.next < len(s.Events):
		at := time.Unix(0, s.Events[s.next].Time)
		if at.Sub(s.idle) >= Step {
			return s.pause(Step)
		}
		*e = s.Events[s.next]
		s.next++
		if at.After(s.now) {
			s.now = at
		}
		return nil
	case s.now.Before(s.Until):
		return s.pause(min(Step, s.Until.Sub(s.idle)))
	}
	return s.end()
}

// pause lets time go on since the last pause, with no event to read.
func (s *Source) pause(d time.Duration) error {
	s.idle = s.idle.Add(d)
	if s.idle.After(s.now) {
		s.now = s.idle
	}
	return session.ErrIdle
}

func (s *Source) end() error {
	if s.Fail != nil {
		return s.Fail
	}
	s.over = true
	return io.EOF
}

// Tend passes the next of Found on, and at the end all of AtEnd.
func (s *Source) Tend(idle bool, found func(*event.Event) error) error {
	s.Tended = append(s.Tended, idle)
	due := &s.Found
	n := min(len(s.Found), 1)
	if s.over {
		due, n = &s.AtEnd, len(s.AtEnd)
	}
	for range n {
		e := (*due)[0]
		*due = (*due)[1:]
		s.table.Apply(&e)
		if err := found(&e); err != nil {
			return err
		}
	}
	return nil
}

// Start and End are the records of Header and Last. The reason why it ended is that of
// Last where nobody stopped it.
func (s *Source) Start() (event.Event, error) {
	h := s.Header
	return event.Event{Time: s.Began().UnixNano(), Kind: event.Start, Start: &h}, nil
}

func (s *Source) End(why string) (event.Event, error) {
	if s.Last == nil {
		return event.Event{}, nil
	}
	last := *s.Last
	if why != "" {
		last.Why = why
	}
	return event.Event{Time: s.now.UnixNano(), Kind: event.End, End: &last}, nil
}

func (s *Source) Limits(netns uint32) (kernel.Limits, bool) {
	k, ok := s.ByNetNS[netns]
	return k, ok
}

func (s *Source) AllLimits() (map[uint32]kernel.Limits, time.Time) { return s.ByNetNS, s.Began() }

func (s *Source) Began() time.Time {
	if s.From.IsZero() && len(s.Events) > 0 {
		return time.Unix(0, s.Events[0].Time)
	}
	return s.From
}

func (s *Source) Traces(netns uint32) bool {
	for _, n := range s.Only {
		if n == netns {
			return true
		}
	}
	return s.Only == nil
}

func (s *Source) Early() bool                   { return s.next < s.Queued }
func (s *Source) Finish()                       { s.finish = true }
func (s *Source) Close()                        { s.Closed = true }
func (s *Source) Now() time.Time                { return s.now }
func (s *Source) Shows(e *event.Event) bool     { return !time.Unix(0, e.Time).Before(s.Part) }
func (s *Source) Storms() bool                  { return s.Has }
func (s *Source) Mode() string                  { return "TEST" }
func (s *Source) NetNSName(netns uint32) string { return s.Names[netns] }
func (s *Source) Missing() []string             { return s.Blind }
func (s *Source) OwnersKnown() time.Time        { return s.Owners }
func (s *Source) Drift() []event.Drift          { return s.Drifted }
func (s *Source) Remarks(time.Time) []string    { return s.Says }
func (s *Source) Damage() error                 { return s.Flaw }

// What a diagnose.Host answers.

func (s *Source) Space(netns uint32) (kernel.NetNS, kernel.Limits, bool) {
	k, ok := s.ByNetNS[netns]
	_, live := s.Counts[netns]
	return kernel.NetNS{Inum: netns, Name: s.Names[netns], Recorded: !live, Home: !live}, k, ok
}

func (s *Source) Count(ns kernel.NetNS) (advice.Counted, error) {
	c, ok := s.Counts[ns.Inum]
	if !ok {
		return c, errors.ErrUnsupported
	}
	c.At = s.now
	return c, nil
}

func (s *Source) MemAvailable() (uint64, error) { return 8 << 30, nil }
func (s *Source) Processes() bool               { return s.Pids != nil }
func (s *Source) Runs(pid uint32) bool          { return s.Pids[pid] }
func (s *Source) Stopped(uint32) bool           { return false }

func (s *Source) GoModules(uint32) ([]string, bool) { return nil, false }

func (s *Source) SystemTime(pid uint32) (time.Duration, error) {
	if !s.Pids[pid] {
		return 0, errors.ErrUnsupported
	}
	return 0, nil
}

func (s *Source) Descriptors(pid uint32) (used, limit uint64, err error) {
	if pid != 0 && !s.Pids[pid] {
		return 0, 0, errors.ErrUnsupported
	}
	return 64, 1024, nil
}

// Sockets yields Dumped.
func (s *Source) Sockets(_ kernel.NetNS, states kernel.StateMask, fn func(kernel.Socket) error) error {
	if s.Counts == nil {
		return errors.ErrUnsupported
	}
	for _, k := range s.Dumped {
		if states&kernel.States(k.State) == 0 {
			continue
		}
		if err := fn(k); err != nil {
			return err
		}
	}
	return nil
}

// Holders returns those of OnPorts.
func (s *Source) Holders(ns kernel.NetNS, port uint16, _ time.Time) (out []conn.Socket) {
	for _, k := range s.OnPorts {
		if k.NetNS == ns.Inum && k.Local.Port() == port {
			out = append(out, k)
		}
	}
	return out
}

func (s *Source) WatchLingering() {}

func (s *Source) Lingering(netns uint32, _, _ time.Time) (out []session.Lingering) {
	for _, l := range s.Linger {
		if l.NetNS == netns {
			out = append(out, l)
		}
	}
	return out
}
