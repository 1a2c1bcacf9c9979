package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os/signal"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/urfave/cli/v2"
	"golang.org/x/sys/unix"

	"github.com/twtrace/twtrace/internal/conn"
	"github.com/twtrace/twtrace/internal/event"
	"github.com/twtrace/twtrace/internal/filter"
	"github.com/twtrace/twtrace/internal/kernel"
	"github.com/twtrace/twtrace/internal/output"
	"github.com/twtrace/twtrace/internal/process"
	"github.com/twtrace/twtrace/internal/tracer"
)

// lossInterval is how often the losses are looked at, to be reported soon.
const lossInterval = time.Second

// session is a running trace with the table that completes its events. Its methods
// are for one goroutine, but for stop.
type session struct {
	tracer   *tracer.Tracer // nil if tape is not
	tape     *tape          // trace files in the place of a running trace
	stream   *namer         // the events of tracer, with the names of their processes
	limits   *limitsCache   // of all namespaces, or of those in tape
	table    *conn.Table
	filter   *filter.Filter
	static   filter.Filter                 // the part of it that a socket alone decides
	wanted   func(*event.Event) bool       // what the table is to hold, of what static lets through
	talk     func(format string, a ...any) // to stderr; nil if that is not to be written to
	duration time.Duration
	job      *job              // the command that is traced, nil if none is
	named    []kernel.NetNS    // by the user, who wants to see these alone
	names    map[uint32]string // of the namespaces there are; "" for one that has none

	began       time.Time
	firstLook   *firstLook          // how far it is, nil once it is over
	ownersKnown time.Time           // when no socket is left whose owner cannot be known
	queue       backlog             // sockets from before, and what was read meanwhile
	adopted     map[uint64]struct{} // cookies of the parked ones from before
	seen        int64               // the latest event, ns since the epoch
	reconcile   reconciler
	waiters     waiters
	standing    standing
	storms      *stormWatch // nil if nobody wants to know

	lost    map[event.Stage]uint64 // reported so far
	late    uint64                 // begins of TIME_WAIT that were found at its end only
	lossDue time.Time
	drift   []event.Drift // as of the last comparison

	stopping atomic.Bool
	ending   ending
	mu       sync.Mutex
	why      string // why it ended, for the end record
}

// openSession starts a trace as the flags say. It ends with its context, after
// --duration, or by stop.
func openSession(c *cli.Context) (*session, error) {
	if c.IsSet("read") {
		return newReplay(c)
	}
	for _, name := range []string{"from", "to", "speed"} {
		if c.IsSet(name) {
			return nil, usagef("--%s is for trace files: name them with -r", name)
		}
	}
	f, err := parseFilter(c)
	if err != nil {
		return nil, err
	}
	duration, err := positive(c, "duration")
	if err != nil {
		return nil, err
	}
	topts, err := parseTracer(c, f)
	if err != nil {
		return nil, err
	}
	if topts.Follow, err = parseFollow(c, f); err != nil {
		return nil, err
	}
	topts.AllStates = c.String("states") == "all"
	var named []kernel.NetNS
	if f.NetNS.Active() && !f.NetNS.Not {
		if named, err = findNetNS(c.String("netns")); err != nil {
			return nil, usagef("--netns: %v", err)
		}
	}
	shown, stop := showFirstLook(c.App.ErrWriter)
	s, err := beginSession(shown, topts, process.Options{Cmdlines: c.Bool("cmdline")}, named...)
	stop()
	if err != nil {
		return nil, err
	}
	s.duration = duration
	s.talk = func(format string, a ...any) { note(c, format, a...) }
	return s, nil
}

// newSession opens the tracer and looks at what is there already.
func newSession(topts tracer.Options, who process.Options, named ...kernel.NetNS) (*session, error) {
	return beginSession(nil, topts, who, named...)
}

// beginSession is newSession, and shows how far it is.
func beginSession(shown *firstLook, topts tracer.Options, who process.Options, named ...kernel.NetNS) (*session, error) {
	f := topts.Filter
	limits := &limitsCache{}
	limits.refresh()
	s := &session{firstLook: shown, limits: limits, table: conn.New(conn.Options{Limits: limits.of}), filter: f, named: named,
		wanted:  func(*event.Event) bool { return true },
		adopted: make(map[uint64]struct{}), lost: make(map[event.Stage]uint64),
		reconcile: reconciler{known: make(map[uint32]bool)}}
	if f != nil {
		if k := f.Kernel(); k.Processes() {
			s.wanted = s.relevant // the stream tells nothing of others, nor when they end
		}
		s.static = filter.Filter{Family: f.Family, NetNS: f.NetNS,
			LPorts: f.LPorts, RPorts: f.RPorts, LAddrs: f.LAddrs, RAddrs: f.RAddrs}
	}
	if err := s.nameSockets(); err != nil {
		return nil, err
	}
	var err error
	if s.tracer, err = tracer.Open(topts); err != nil {
		return nil, err
	}
	s.stream = newNamer(s.tracer.Read, who)
	s.began = time.Now()
	if err := s.lookAround(); err != nil {
		s.close()
		return nil, err
	}
	s.firstLook = nil
	debug.FreeOSMemory() // the kernel's types and the dump took several times what stays
	s.reconcile.due = time.Now().Add(reconcileEvery)
	s.reconcile.begun = time.Now()
	return s, nil
}

// traces tells whether the hooks report what happens to the socket of e.
func (s *session) traces(e *event.Event) bool { return s.static.Match(e) }

func (s *session) tracedNetNS(inum uint32) bool {
	n := filter.Filter{NetNS: s.static.NetNS}
	return n.Match(&event.Event{NetNS: inum})
}

// relevant reports whether a table that shows only what the filter lets through
// is to know of e. The owner that the table would infer is not known yet.
func (s *session) relevant(e *event.Event) bool {
	if e.Kind == event.Listen {
		return true
	}
	e.Process, e.Owner = e.KnownOwner()
	if s.filter.Match(e) {
		return true
	}
	state, _ := s.table.Held(e)
	return state != event.StateNone
}

// catchSignals has the context of c end with the first SIGINT or SIGTERM, from here
// on: a session that is still starting ends as one that runs. A second signal kills,
// since the first one gives the signals back to the system.
func catchSignals(c *cli.Context) (release func()) {
	ctx, stop := signal.NotifyContext(c.Context, unix.SIGINT, unix.SIGTERM)
	context.AfterFunc(ctx, stop)
	c.Context = ctx
	return stop
}

// stopOn ends the session with ctx, and after its duration.
func (s *session) stopOn(ctx context.Context) (release func()) {
	timer := (<-chan time.Time)(nil)
	if s.duration > 0 {
		timer = time.After(s.duration)
	}
	done := make(chan struct{})
	go func() {
		select {
		case <-ctx.Done():
			s.stop("signal")
		case <-timer:
			s.stop("duration")
		case <-done:
		}
	}()
	return func() { close(done) }
}

// stop ends the session; the first reason stays. It may be called from any goroutine.
func (s *session) stop(why string) {
	s.mu.Lock()
	if s.why == "" {
		s.why = why
	}
	s.mu.Unlock()
	s.stopping.Store(true)
}

func (s *session) close() {
	if s.tape != nil {
		s.tape.reader.Close()
		return
	}
	s.reconcile.wait()
	s.waiters.wait()
	s.stream.stop()
	s.tracer.Close()
}

// next returns the next event: sockets from before, then the stream. The errors
// are those of tracer.Read.
func (s *session) next(e *event.Event) error {
	if s.tape != nil {
		return s.nextOnTape(e)
	}
	if s.queue.next(e) {
		s.stream.who.Complete(e)
		s.witness(e)
		return nil
	}
	if s.stopping.Load() {
		s.endWell()
	}
	err := s.stream.next(e)
	if err == nil {
		s.witness(e)
	}
	return err
}

// nextOnTape is next on trace files: what they lost is in them.
func (s *session) nextOnTape(e *event.Event) error {
	if s.stopping.Load() {
		return io.EOF
	}
	err := s.tape.next(e)
	switch {
	case err == nil && e.Kind == event.Lost:
		s.lost[e.Stage] += e.Count
	case errors.Is(err, io.EOF):
		if end := s.tape.reader.End(); end != nil {
			s.drift = end.End.Drift
		}
	}
	return err
}

// clock is the time of the trace: now, or where the files are being read.
func (s *session) clock() time.Time {
	if s.tape != nil {
		return time.Unix(0, s.tape.now)
	}
	return time.Now()
}

// tendEvery is after how many events of a ring that never gets empty the session
// looks after itself.
const tendEvery = 1 << 14

// read hands every event to handle, completed by the table, until the end. When
// there is nothing to read it calls idle; of a ring that never gets empty, now and then.
func (s *session) read(handle func(*event.Event) error, idle func() error) error {
	var e event.Event
	for n := 1; ; n++ {
		err := s.next(&e)
		switch {
		case err == nil:
			repeated := s.repeated(&e)
			s.table.Apply(&e)
			s.storms.observe(&e)
			if !repeated && (s.tape == nil || s.tape.shows(&e)) {
				err = handle(&e)
			}
			if err == nil && n%tendEvery == 0 && s.tape == nil {
				if err = s.tend(false, handle); err == nil {
					err = idle()
				}
			}
		case errors.Is(err, tracer.ErrIdle):
			if err = s.tend(true, handle); err == nil {
				err = idle()
			}
		case errors.Is(err, io.EOF):
			s.lossDue = time.Time{}
			return s.reportLosses(handle)
		}
		if err != nil {
			return err
		}
	}
}

// repeated tells whether e is a begin of TIME_WAIT that was a snapshot record
// already: a promotion is visible in the kernel before the event is.
func (s *session) repeated(e *event.Event) bool {
	if e.Kind != event.TimeWaitEnter {
		return false
	}
	_, snapshot := s.table.Held(e)
	return snapshot
}

// tend does what is due beside reading.
func (s *session) tend(idle bool, handle func(*event.Event) error) error {
	if s.tape != nil {
		return nil
	}
	if s.job != nil && idle && s.job.over() {
		s.stop("command")
	}
	if err := s.reportLosses(handle); err != nil {
		return err
	}
	s.countWaiting()
	if err := s.storms.tick(time.Now(), handle); err != nil {
		return err
	}
	return s.reconcileTable(idle, handle)
}

// reportLosses makes lost events of what was lost since the last look.
func (s *session) reportLosses(handle func(*event.Event) error) error {
	now := time.Now()
	if s.tape != nil || now.Before(s.lossDue) {
		return nil
	}
	s.lossDue = now.Add(lossInterval)
	a, err := s.tracer.Account()
	if err != nil {
		return err
	}
	s.late = a.Late
	for _, stage := range slices.Sorted(maps.Keys(a.Lost)) {
		if n := a.Lost[stage]; n > s.lost[stage] {
			e := event.Event{Time: now.UnixNano(), Kind: event.Lost, Stage: stage, Count: n - s.lost[stage]}
			s.lost[stage] = n
			s.reconcile.lostSome()
			s.table.Apply(&e)
			if err := handle(&e); err != nil {
				return err
			}
		}
	}
	return nil
}

// startEvent is the first record of the trace.
func (s *session) startEvent() (event.Event, error) {
	if s.tape != nil {
		return s.tape.reader.Start(), nil
	}
	home, err := s.home()
	if err != nil {
		return event.Event{}, err
	}
	info, err := s.tracer.StartInfo(version, s.filter.String(), home)
	if err != nil {
		return event.Event{}, err
	}
	info.Schema = output.Schema
	info.Missing = append(info.Missing, unnamed()...)
	return event.Event{Time: s.tracer.Began.UnixNano(), Kind: event.Start, Start: info}, nil
}

// home is the namespace whose limits are those of the trace: the one that is
// traced alone, else that of this process.
func (s *session) home() (kernel.NetNS, error) {
	if len(s.named) == 1 {
		return s.named[0], nil
	}
	return kernel.CurrentNetNS()
}

// endEvent is the last record of the trace, to be asked for when it is over. A
// recording that is not whole, or was not read to its end, has none: KindNone.
func (s *session) endEvent() (event.Event, error) {
	if s.tape != nil {
		if end := s.tape.reader.End(); end != nil {
			return *end, nil
		}
		return event.Event{}, nil
	}
	info, err := s.tracer.EndInfo(s.why)
	if err != nil {
		return event.Event{}, err
	}
	info.Unnamed = s.stream.unnamed()
	return event.Event{Time: time.Now().UnixNano(), Kind: event.End, End: info}, nil
}

// note prints a line of talk on stderr.
func note(c *cli.Context, format string, args ...any) {
	fmt.Fprintf(c.App.ErrWriter, "twtrace: "+format+"\n", args...)
}
