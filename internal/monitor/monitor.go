// Package monitor makes one Sample an interval of a session: the table of connections,
// the pressure on its limits, the findings, and how the trace itself is doing. It reads
// live traces and recordings alike.
package monitor

import (
	"context"
	"errors"
	"io"
	"sync/atomic"
	"time"

	"github.com/twtrace/twtrace/internal/advice"
	"github.com/twtrace/twtrace/internal/conn"
	"github.com/twtrace/twtrace/internal/diagnose"
	"github.com/twtrace/twtrace/internal/event"
	"github.com/twtrace/twtrace/internal/pressure"
	"github.com/twtrace/twtrace/internal/session"
)

// Sample is the state of a trace at the end of an interval. It is valid until the next
// one is asked for.
type Sample struct {
	Now      time.Time
	Table    *conn.Snapshot
	Pressure pressure.Reading
	Findings []advice.Finding // the worst first
	Status   Status
}

// Status is how the trace itself is doing.
type Status struct {
	Mode     string        // LIVE, or REPLAY and the time
	Interval time.Duration // between two samples
	Filter   string        // in words, "" if there is none
	Remarks  []string      // about the trace itself, in a few words each
	CPU      float64       // used since the sample before, 1 is a whole one
	Memory   uint64        // resident, in bytes; 0 if unknown
	Reset    bool          // the counts started anew since the sample before
}

// Options of a Monitor.
type Options struct {
	Interval time.Duration
	// Partial samples the last interval too where the trace ends within it, as a
	// recording does.
	Partial  bool
	Diagnose diagnose.Options
	// Each sees every event that the session passes on; nil if nobody is to see them.
	Each func(*event.Event)
	// Idle is called between two events, some 20 times a second at least; nil if there
	// is nothing to do.
	Idle func()
}

// Monitor samples a session. Its methods are for one goroutine, but for SetInterval and
// Reset.
type Monitor struct {
	session  *session.Session
	opt      Options
	diagnose *diagnose.Diagnosis
	meter    *pressure.Meter
	snapshot conn.Snapshot
	every    atomic.Int64 // ns between two samples
	reset    atomic.Bool  // to be done at the next sample
	due      time.Time
	sampled  time.Time // the last sample
	usage    usage
}

// New returns a monitor of s, which has read what is from before the part that was
// asked for.
func New(ctx context.Context, s *session.Session, h diagnose.Host, o Options) (*Monitor, error) {
	m := &Monitor{session: s, opt: o, diagnose: diagnose.New(s, h, o.Diagnose), meter: pressure.NewMeter(s.ConnLimits)}
	m.every.Store(int64(o.Interval))
	if err := s.CatchUp(ctx, m.each); err != nil {
		return nil, err
	}
	m.due = s.Now().Add(o.Interval)
	m.usage.since()
	return m, nil
}

func (m *Monitor) each(e *event.Event) error {
	if m.opt.Each != nil {
		m.opt.Each(e)
	}
	return nil
}

// Interval is the time between two samples.
func (m *Monitor) Interval() time.Duration { return time.Duration(m.every.Load()) }

// SetInterval changes the interval from the next sample on.
func (m *Monitor) SetInterval(d time.Duration) { m.every.Store(int64(d)) }

// Reset forgets what is over, at the next sample.
func (m *Monitor) Reset() { m.reset.Store(true) }

// errDue ends the read of one interval.
var errDue = errors.New("the interval is over")

// Next reads events until the interval is over and returns the state then. The error is
// io.EOF when the trace has ended, and ctx's when that is done.
func (m *Monitor) Next(ctx context.Context) (*Sample, error) { return m.Until(ctx, m.due) }

// Until is Next for an interval that ends at due.
func (m *Monitor) Until(ctx context.Context, due time.Time) (*Sample, error) {
	if err := m.read(ctx, due); err != nil {
		return nil, err
	}
	now := m.session.Now()
	m.due, m.sampled = now.Add(m.Interval()), now
	reset := m.reset.Swap(false)
	if reset {
		m.session.Table().Forget()
	}
	s := m.Sample()
	s.Status = m.status(s.Now)
	s.Status.Reset = reset
	s.Findings = m.diagnose.Findings(s.Now, &s.Pressure, s.Table)
	return s, nil
}

// Due is when the interval that Next reads is over.
func (m *Monitor) Due() time.Time { return m.due }

// read reads events until due.
func (m *Monitor) read(ctx context.Context, due time.Time) error {
	err := m.session.Run(ctx, m.each, func() error {
		if m.opt.Idle != nil {
			m.opt.Idle()
		}
		if !m.session.Now().Before(due) {
			return errDue
		}
		return ctx.Err()
	})
	switch {
	case errors.Is(err, errDue):
		return nil
	case err == nil && m.opt.Partial && m.session.Now().After(m.sampled):
		return nil
	case err == nil:
		return io.EOF
	}
	return err
}

// Sample is the state now, without reading any event, findings or status.
func (m *Monitor) Sample() *Sample {
	now := m.session.Now()
	m.session.Table().Snapshot(now.UnixNano(), &m.snapshot)
	return &Sample{Now: now, Table: &m.snapshot, Pressure: m.meter.Measure(&m.snapshot)}
}

// Facts are those at this moment, by network namespace.
func (m *Monitor) Facts() []advice.Facts {
	s := m.Sample()
	return m.diagnose.Facts(s.Now, &s.Pressure, s.Table)
}

func (m *Monitor) status(now time.Time) Status {
	cpu := m.usage.since()
	return Status{Mode: m.session.Mode(), Interval: m.Interval(), Filter: m.session.Filter().String(),
		Remarks: m.session.Remarks(now), CPU: cpu, Memory: residentMemory()}
}
