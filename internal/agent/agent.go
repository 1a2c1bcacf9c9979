// Package agent is the speaking part of `twtrace serve`: it reads the stream of a tracer,
// keeps its last minutes, and answers over HTTP whoever comes late. It needs no right but
// to its two descriptors, the stream and the listener: it asks the kernel nothing.
//
// One goroutine reads the stream and owns the table. Each reader of /v1/stream has its own,
// with a place in the past that they share; none of them can hold up the first one.
package agent

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twtrace/twtrace/internal/event"
	"github.com/twtrace/twtrace/internal/filter"
	"github.com/twtrace/twtrace/internal/monitor"
	"github.com/twtrace/twtrace/internal/record"
	"github.com/twtrace/twtrace/internal/replay"
	"github.com/twtrace/twtrace/internal/session"
)

// Defaults of Options.
const (
	DefaultPast       = 15 * time.Minute
	DefaultPastBytes  = 64 << 20
	DefaultMaxReaders = 16
	DefaultQueue      = 4 << 20
)

// Options of an agent. Zero values mean the defaults.
type Options struct {
	Version    string
	Past       time.Duration // how long records are kept
	PastBytes  int64         // the same in compressed bytes
	MaxReaders int           // of /v1/stream at once
	Queue      int64         // compressed bytes by which a reader may be behind

	// ParseFilter parses the filter of a request; nil takes none.
	ParseFilter func(words string) (*filter.Filter, error)
	// Findings and Ports write what /v1/findings and /v1/ports answer; nil answers neither.
	Findings func(io.Writer, *session.Session, *monitor.Sample) error
	Ports    func(io.Writer, *session.Session, *monitor.Sample) error
	// Web listens for others than the group: see WebConfig. Nil if nobody may.
	Web net.Listener
	// WebConfig is the absolute path of the configuration of Web; "" for HTTP without a password.
	WebConfig string
	// Metrics answers /metrics; nil if nobody does. Watch is called once with the session that
	// reads the stream, and returns what sees each event and each sample of it; nil if nobody
	// wants to.
	Metrics http.Handler
	Watch   func(*session.Session) (each func(*event.Event), observe func(*monitor.Sample))
	// Change has new bounds, and Changed is called when they are in force; nil if they never
	// change.
	Change  <-chan Bounds
	Changed func()
	// Missing is what the kernel does not confine of this process, in words.
	Missing []string
	// Ready is called once, when the agent answers requests; nil if nobody asks. Beat is
	// called with every sample, every few seconds.
	Ready func()
	Beat  func()
	// Talk prints a line on stderr; nil prints nothing.
	Talk func(format string, a ...any)
}

func (o *Options) defaults() {
	if o.Past <= 0 {
		o.Past = DefaultPast
	}
	if o.PastBytes <= 0 {
		o.PastBytes = DefaultPastBytes
	}
	if o.MaxReaders <= 0 {
		o.MaxReaders = DefaultMaxReaders
	}
	if o.Queue <= 0 {
		o.Queue = DefaultQueue
	}
	if o.Talk == nil {
		o.Talk = func(string, ...any) {}
	}
	if o.Ready == nil {
		o.Ready = func() {}
	}
	if o.Changed == nil {
		o.Changed = func() {}
	}
	if o.Beat == nil {
		o.Beat = func() {}
	}
}

// complete is how many blocks have the start record, and the limits that are known then.
const complete = 2

// interval is the time between two samples, of which /v1/findings and /v1/ports are made.
const interval = 5 * time.Second

// agent is a running one.
type agent struct {
	opt   Options
	began time.Time
	past  *past
	known record.Known
	table *session.Session // nil until the first block was read
	watch func(*monitor.Sample)
	came  int            // blocks so far
	cuts  chan chan *cut // readers that start now

	samples atomic.Pointer[sampled]
	started atomic.Pointer[event.StartInfo]
	ended   chan struct{} // closed when the stream is over
	rooms   []*room       // of the listeners

	maxReaders atomic.Int64

	mu      sync.Mutex
	readers map[*reader]struct{}
	refused uint64 // readers beyond MaxReaders
	cutOff  uint64 // readers
	missed  uint64 // records that these did not get
}

// sampled is what is answered of a sample.
type sampled struct {
	at       time.Time
	findings []byte
	ports    []byte
	table    tableStatus
	lost     map[string]uint64
	drift    []event.Drift
	remarks  []string
}

// Run serves the stream of a tracer to those who connect to ln, until the stream ends or
// ctx is done. The error is that of the stream; its end is none. It closes ln; the caller
// closes the stream.
func Run(ctx context.Context, stream io.Reader, ln net.Listener, o Options) error {
	o.defaults()
	a := &agent{opt: o, began: time.Now(), past: newPast(o.Past, o.PastBytes), cuts: make(chan chan *cut, o.MaxReaders),
		ended: make(chan struct{}), readers: make(map[*reader]struct{})}
	a.maxReaders.Store(int64(o.MaxReaders))
	servers := []*http.Server{a.serve(ln)}
	if o.Web != nil {
		s, err := a.serveWeb(o.Web)
		if err != nil {
			return errors.Join(err, drain(servers))
		}
		servers = append(servers, s)
	}
	go a.change()
	err := a.read(ctx, stream)
	close(a.ended)
	a.past.end()
	return errors.Join(err, drain(servers))
}

// read reads the stream to its end.
func (a *agent) read(ctx context.Context, stream io.Reader) error {
	files, err := replay.Follow(replay.Options{OnBlock: a.block}, "the tracer", stream)
	if err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return err
	}
	defer files.Close()
	a.started.Store(files.Header())
	s, err := session.New(files, session.Options{})
	if err != nil {
		return err
	}
	a.table = s
	var m *monitor.Monitor
	idle := func() {
		if a.samples.Load() == nil && a.came >= complete {
			err = a.publish(m.Sample())
			a.opt.Ready()
		}
	}
	mo := monitor.Options{Interval: interval, Idle: idle}
	if a.opt.Watch != nil {
		mo.Each, a.watch = a.opt.Watch(s)
	}
	if m, err = monitor.New(ctx, s, files, mo); err != nil {
		return err
	}
	for {
		sample, failed := m.Next(ctx)
		err := errors.Join(err, failed)
		switch {
		case errors.Is(err, io.EOF), errors.Is(err, context.Canceled):
			return nil
		case err != nil:
			return fmt.Errorf("read the stream of the tracer: %w", err)
		}
		if err := a.publish(sample); err != nil {
			return err
		}
		a.opt.Beat()
	}
}

// block takes the next block of the tracer: the table has all events before it.
func (a *agent) block(b *record.Block) {
	a.came++
	a.known.Learn(&b.Header)
	at := a.past.time(b)
	if a.past.full(b, at) {
		a.past.turn(a.cut(at), at)
	}
	a.past.add(b, at)
	a.checkReaders()
	for {
		select {
		case want := <-a.cuts:
			want <- a.cutHere(b, at)
		default:
			return
		}
	}
}

// cut is what a reader has to know of the recording who starts before the next block.
func (a *agent) cut(at time.Time) *cut {
	c := newCut(at, &a.known)
	if a.table != nil {
		c.take(a.table)
	}
	go c.pack()
	return c
}

// cutHere is a cut for a reader of what comes from now on. The block b is in the past
// already, and is the first that the reader gets.
func (a *agent) cutHere(b *record.Block, at time.Time) *cut {
	c := a.cut(at)
	c.first, c.before = a.past.last(b)
	return c
}

// publish has requests answered by a sample.
func (a *agent) publish(m *monitor.Sample) error {
	s := &sampled{at: m.Now, lost: make(map[string]uint64), drift: a.table.Drift(), remarks: a.table.Remarks(m.Now)}
	for stage, n := range a.table.Lost() {
		s.lost[stage.String()] = n
	}
	t := &m.Table.Totals
	s.table = tableStatus{TimeWait: t.TimeWait, Parked: t.Parked, Open: t.Open(), Opened: t.Opens, Entered: t.Enters, Untracked: t.Untracked}
	for _, f := range []struct {
		write func(io.Writer, *session.Session, *monitor.Sample) error
		to    *[]byte
	}{{a.opt.Findings, &s.findings}, {a.opt.Ports, &s.ports}} {
		var buf bytes.Buffer
		if f.write == nil {
			continue
		}
		if err := f.write(&buf, a.table, m); err != nil {
			return err
		}
		*f.to = buf.Bytes()
	}
	if a.watch != nil {
		a.watch(m)
	}
	a.samples.Store(s)
	return nil
}
