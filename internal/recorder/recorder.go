// Package recorder writes the records of a session to trace files: those of `twtrace
// record`, and those that a user starts and stops while another verb runs.
package recorder

import (
	"context"
	"errors"
	"io"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/twtrace/twtrace/internal/event"
	"github.com/twtrace/twtrace/internal/kernel"
	"github.com/twtrace/twtrace/internal/record"
	"github.com/twtrace/twtrace/internal/session"
)

// DefaultMinFree is how many bytes of a file system are left for those who need them
// more.
const DefaultMinFree = 64 << 20

// Options of a Recorder, beside those of its files.
type Options struct {
	Count   int              // stop after as many records; 0 is no limit
	Signals <-chan os.Signal // SIGHUP, SIGUSR1 and SIGUSR2; nil if there are none
	Stderr  io.Writer        // for progress, if it is a terminal
	// Full reports whether nothing more can be written now, as Queue.Full: records are lost
	// then, and counted. Nil if all can.
	Full func() bool
}

// Recorder writes the records of a session to files.
type Recorder struct {
	printer session.Printer
	session *session.Session
	opt     Options
	w       *record.Writer
	limits  time.Time // when the limits were read that are in the file
	home    uint32    // the network namespace of the user's shell, 0 if it is not known
	flight  bool      // the last part is kept in memory, and written on a storm
	shown   time.Time // the progress
	records uint64    // at that time
	dirty   bool      // a progress line is on the terminal
	left    uint64    // records left out since the last lost record
	missed  uint64    // all that were
}

// New returns a recorder of a session.
func New(s *session.Session, o Options) *Recorder {
	r := &Recorder{session: s, opt: o}
	r.home, _ = kernel.ShellNetNS()
	r.printer = session.Printer{Session: s, Out: r, Left: o.Count}
	return r
}

// Run writes the trace to files until it ends, and then its summary to stderr.
func (r *Recorder) Run(ctx context.Context, o record.Options) error {
	r.flight = o.Flight()
	first, err := r.session.Start()
	if err != nil {
		return err
	}
	if r.w, err = record.NewWriter(o, &first, time.Now()); err != nil {
		return err
	}
	r.writeLimits()
	if err = r.writePreexisting(r.session.Began(), false); err == nil && r.session.Job() != nil {
		err = r.session.Job().Start()
	}
	if err == nil {
		err = r.session.Run(ctx, r.record, r.tend)
	}
	var last *event.Event
	if err == nil {
		var end event.Event
		if end, err = r.session.EndRecord(); err == nil && end.Kind != event.KindNone {
			last = &end
			err = r.count(&end)
		}
	}
	closed := r.w.Close(last)
	if !errors.Is(err, closed) { // Close returns what Write did
		err = errors.Join(err, closed)
	}
	r.clearLine()
	r.summary(r.w.Stats())
	return err
}

// writePreexisting writes what the table knows from before a recording that starts at a
// time: those in TIME_WAIT too, if timeWait. Else their records are about to come.
func (r *Recorder) writePreexisting(at time.Time, timeWait bool) error {
	for k := range r.session.Table().Sockets() {
		e := event.Event{Time: at.UnixNano(), Kind: event.Snapshot, NetNS: k.NetNS, Cookie: k.Cookie,
			Local: k.Local, Remote: k.Remote, New: k.State, Role: k.Role, Process: k.Process, Owner: k.Owner}
		if k.State == event.TimeWait {
			e.Remaining = max(k.Since+int64(event.TimeWaitLen)-at.UnixNano(), 1)
		}
		if k.State == event.TimeWait && !timeWait || !r.session.Filter().Match(&e) {
			continue
		}
		if err := r.w.Write(&e); err != nil {
			return err
		}
	}
	return nil
}

// writeLimits writes the limits to the file if they were read again.
func (r *Recorder) writeLimits() {
	limits, read := r.session.AllLimits()
	if r.limits.Equal(read) {
		return
	}
	r.w.SetRead(record.Read{At: read, Before: r.limits})
	r.limits = read
	for netns, k := range limits {
		if r.session.Traces(netns) {
			r.w.SetLimits(netns, k.Map())
			r.w.SetName(netns, r.session.NetNSName(netns), netns == r.home)
		}
	}
}

// record writes e, if the user asked for it.
func (r *Recorder) record(e *event.Event) error {
	if !e.Kind.Record() {
		if e.Kind != event.Parked || !r.session.Filter().Match(e) {
			return nil
		}
		return r.Write(e)
	}
	if err := r.printer.Print(e); err != nil {
		return err
	}
	if r.flight && e.Kind == event.StormStart {
		return r.trigger("storm started")
	}
	return nil
}

// Write and Flush are those of a session.Writer. Write leaves a record out where nothing can
// be written now.
func (r *Recorder) Write(e *event.Event) error {
	if e.Kind != event.Lost && r.full() {
		r.left++
		return nil
	}
	if err := r.reportLeft(); err != nil {
		return err
	}
	return r.w.Write(e)
}

func (r *Recorder) full() bool { return r.opt.Full != nil && r.opt.Full() }

// reportLeft writes a lost record of what was left out since the last one.
func (r *Recorder) reportLeft() error {
	if r.left == 0 {
		return nil
	}
	e := event.Event{Time: r.session.Now().UnixNano(), Kind: event.Lost, Stage: event.StageQueue, Count: r.left}
	r.missed, r.left = r.missed+r.left, 0
	r.session.Lose(&e)
	return r.w.Write(&e)
}

// count adds to an end record what was left out.
func (r *Recorder) count(end *event.Event) error {
	if err := r.reportLeft(); err != nil || r.missed == 0 {
		return err
	}
	if end.End.Lost == nil {
		end.End.Lost = make(map[string]uint64)
	}
	end.End.Lost[event.StageQueue.String()] += r.missed
	return nil
}

func (r *Recorder) Flush() error { return r.w.Flush() }

func (r *Recorder) trigger(why string) error {
	name, err := r.w.Trigger(time.Now())
	if err == nil {
		r.clearLine()
		r.session.Talk("%s: writing the last part to %s", why, name)
	}
	return err
}

// tend does what is due: blocks, files, signals and the progress line.
func (r *Recorder) tend() error {
	now := time.Now()
	r.writeLimits()
	if !r.full() {
		if err := errors.Join(r.reportLeft(), r.w.Tick(now)); err != nil {
			return err
		}
	}
	for {
		select {
		case sig := <-r.opt.Signals:
			if err := r.signal(sig); err != nil {
				return err
			}
			continue
		default:
		}
		break
	}
	if now.Sub(r.shown) >= time.Second {
		r.progress(now)
	}
	return nil
}

func (r *Recorder) signal(sig os.Signal) error {
	switch {
	case sig == unix.SIGHUP:
		switch done, err := r.w.Reopen(); {
		case err != nil:
			return err
		case !done:
			r.session.Talk("SIGHUP: file not renamed; still writing to it")
		}
	case sig == unix.SIGUSR1:
		r.clearLine()
		r.summary(r.w.Stats())
	case r.flight:
		return r.trigger("SIGUSR2")
	default:
		return r.w.Flush()
	}
	return nil
}
