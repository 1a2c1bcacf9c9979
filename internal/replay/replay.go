// Package replay is a session.Source over trace files. Its time is that of the
// recording, and goes on by steps; the records have what the trace knew.
package replay

import (
	"cmp"
	"context"
	"errors"
	"io"
	"maps"
	"math"
	"strconv"
	"time"

	"github.com/twtrace/twtrace/internal/clock"
	"github.com/twtrace/twtrace/internal/conn"
	"github.com/twtrace/twtrace/internal/event"
	"github.com/twtrace/twtrace/internal/filter"
	"github.com/twtrace/twtrace/internal/kernel"
	"github.com/twtrace/twtrace/internal/record"
	"github.com/twtrace/twtrace/internal/session"
)

// Options of a replay.
type Options struct {
	Files  []string // in any order; "-" is Stdin
	Stdin  io.Reader
	Filter *filter.Filter // only its network namespaces count here
	Speed  float64        // times as fast as it happened; 0 is at once
	// Now is how far a stream had come when it was opened.
	Now time.Time
	// Held has Shows accept the sockets that were open before, too.
	Held bool
	// OnBlock is called with each block of a stream, when Next has returned the events of all
	// blocks before, and none of the block; nil if nobody asks.
	OnBlock func(*record.Block)
	// Talk prints a line on stderr; nil prints nothing.
	Talk func(format string, a ...any)
}

// Files are trace files of one recording. They are a session.Source.
type Files struct {
	Playback
	opt     Options
	reader  *record.Reader
	limits  map[uint32]kernel.Limits // of the namespaces that the files have
	names   map[uint32]string        // of the namespaces that have one
	home    uint32                   // the namespace of the shell that started the recording; 0: not known
	changes []Change                 // of sysctls
	coming  []coming
	start   *kernel.Limits // of the start record, for files that have no namespaces
	traced  filter.Filter
	from    int64   // records before it are read and not shown; ns since the epoch, 0: from the start
	to      int64   // 0: to the end
	covers  *Extent // of a recording whose end is not known before it is read, if a part of it is wanted

	began  int64 // ns since the epoch: the trace, or the files if they start in its middle
	now    int64 // ns since the epoch
	quiet  int64 // how far time has gone on since the last event
	ahead  event.Event
	held   bool // ahead is the next event
	over   error
	played time.Time // when a step was due last
	finish bool
	drift  []event.Drift

	stream  bool      // the recording is still being written; see Follow
	learned time.Time // when limits of it came last
	vitals  event.Vitals
	total   event.EndInfo
}

var _ session.Source = (*Files)(nil)

// step is how far the time of a recording goes at once, as the tracer's poll interval.
const step = int64(50 * time.Millisecond)

// A gap is longer than whatever is still under way in it: a TIME_WAIT, a storm. Beyond
// longGap time goes on by a share of what is left of it, down to step again, so that a
// time of another century, which anybody can write into a file, takes some thousand
// steps and not an hour of them.
const (
	longGap  = int64(10 * time.Minute)
	gapShare = 256
)

// maxLate is by how much a replay may be late and make up for it.
const maxLate = 200 * time.Millisecond

// slack is by how much events may be out of order: see the tracer's late ends.
const slack = int64(time.Second)

// Open opens trace files. The caller may set what part is wanted by Between before
// the files are read.
func Open(o Options) (*Files, error) {
	f := &Files{opt: o}
	if o.Filter != nil {
		f.traced = *o.Filter.Spaces()
	}
	var err error
	if f.reader, err = record.Open(o.Files, o.Stdin); err != nil {
		return nil, err
	}
	if limits, err := kernel.ParseLimits(f.Header().Limits); err == nil {
		f.start = &limits
	}
	f.reader.OnLimits = f.learn
	f.readAhead()
	return f, nil
}

// Use sets the filter and what prints lines, of options that were not known when the
// files were opened.
func (f *Files) Use(only *filter.Filter, talk func(string, ...any)) {
	f.traced, f.opt.Talk = *only.Spaces(), talk
}

// NetNSNames are the names of the namespaces that the recording has had so far.
func (f *Files) NetNSNames() map[uint32]string { return maps.Clone(f.names) }

// Header is what the files say of the trace.
func (f *Files) Header() *event.StartInfo { return f.reader.Start().Start }

// Between sets the part that is shown, in ns since the epoch; 0 is the start or the
// end. What comes before it is read all the same.
func (f *Files) Between(from, to int64) { f.from, f.to = from, to }

// SetSpeed sets how many times as fast as it happened the recording plays; 0 is at
// once.
func (f *Files) SetSpeed(speed float64) { f.opt.Speed = speed }

// Speed is how many times as fast as it happened the recording plays; 0 is at once.
func (f *Files) Speed() float64 { return f.opt.Speed }

// maxSpaces bounds the namespaces whose limits are believed.
const maxSpaces = 1 << 16

// learn takes over the limits that the files have, and the names of their namespaces.
func (f *Files) learn(list []record.Limits, read record.Read) {
	f.learned = f.Now()
	if f.limits == nil {
		f.limits, f.names = make(map[uint32]kernel.Limits), make(map[uint32]string)
	}
	for _, l := range list {
		limits, err := kernel.ParseLimits(l.Sysctls)
		if err != nil { // of a later version: not known
			continue
		}
		if l.Home != 0 {
			f.home = l.Home
		}
		for _, netns := range l.NetNS {
			was, known := f.limits[netns]
			if !known && len(f.limits) >= maxSpaces {
				continue
			}
			f.names[netns] = l.Names[netns]
			if !known {
				f.limits[netns] = limits
				continue
			}
			if f.changed(netns, was.Map(), limits.Map(), read); !read.At.IsZero() && read.At.UnixNano() > f.now && len(f.coming) < maxSpaces {
				f.coming = append(f.coming, coming{read.At.UnixNano(), netns, limits})
				continue
			}
			f.limits[netns] = limits
		}
	}
}

// Limits are those that the recording has. A recording of no namespace has only the
// limits of the one that was traced, or was twtrace's own.
func (f *Files) Limits(netns uint32) (kernel.Limits, bool) {
	if f.limits == nil && f.start != nil {
		return *f.start, true
	}
	k, ok := f.limits[netns]
	return k, ok
}

// AllLimits are those that the recording has, by network namespace. They are as old as
// it is; of a stream, as the last that came.
func (f *Files) AllLimits() (map[uint32]kernel.Limits, time.Time) {
	if f.stream {
		return f.limits, f.learned
	}
	return f.limits, time.Time{}
}

// Begin does nothing: a recording starts with the sockets from before it.
func (f *Files) Begin(*conn.Table, func(*event.Event) bool) error { return nil }

// Next returns the next record, or session.ErrIdle when time goes on by a step.
func (f *Files) Next(ctx context.Context, e *event.Event) error {
	if f.finish {
		return f.ended(io.EOF)
	}
	if !f.held && f.over == nil {
		f.read()
	}
	if f.stream && f.to != 0 && f.now > f.to+slack {
		f.held, f.over = false, io.EOF
	}
	if f.held && f.to != 0 && f.ahead.Time > f.to+slack {
		f.held, f.over = false, io.EOF
	}
	if f.stream && !f.held && f.over == nil {
		f.await(ctx)
		return session.ErrIdle
	}
	if end := f.end(); !f.held && errors.Is(f.over, io.EOF) && f.now < end {
		f.step(ctx, f.until(end)) // nothing more happened
		return session.ErrIdle
	}
	if !f.held {
		return f.ended(f.over)
	}
	if gap := f.until(f.ahead.Time); gap >= step {
		f.step(ctx, gap)
		return session.ErrIdle
	}
	*e, f.held, f.quiet = f.ahead, false, 0
	if f.stream {
		f.total.Add(e)
	}
	return nil
}

// ended returns err, and takes over what the end record says if err is io.EOF.
func (f *Files) ended(err error) error {
	if !errors.Is(err, io.EOF) {
		return err
	}
	if end := f.reader.End(); end != nil {
		f.drift = end.End.Drift
	}
	if f.covers != nil && !f.finish {
		x := *f.covers
		x.End = f.Now()
		return cmp.Or(x.check(f.from, "--from"), x.check(f.to, "--to"), err)
	}
	return err
}

// read reads ahead.
func (f *Files) read() {
	switch f.over = f.reader.Read(&f.ahead); {
	case errors.Is(f.over, record.ErrNoBlock):
		f.over = nil
		return
	case f.over != nil:
		return
	}
	f.held = true
	if f.ahead.Time == 0 { // as a Lost event of a damaged file has it
		f.ahead.Time = f.now
	}
}

// readAhead reads the first event, and sets the time to its own.
func (f *Files) readAhead() {
	if f.stream {
		f.began = f.reader.First().UnixNano()
		f.now = f.began
		f.read() // the limits, with the first block
		return
	}
	f.began = f.reader.Start().Time
	f.now = f.began
	late := f.reader.Late()
	f.read()
	if f.held && (f.now == 0 || late || f.ahead.Time < f.now+slack) {
		f.now = f.ahead.Time
	}
	if late {
		f.began = f.now
	}
}

// until is how far away a time is, 0 if it is over.
func (f *Files) until(at int64) int64 {
	if at <= f.now {
		return 0
	}
	if gap := at - f.now; gap > 0 {
		return gap
	}
	return math.MaxInt64 // and centuries
}

// end is when the recording ended, or the part that is wanted, once all was read; 0 if
// it is not known.
func (f *Files) end() int64 {
	end := int64(0)
	if e := f.reader.End(); e != nil {
		end = e.Time
	} else if f.stream {
		end = f.heard()
	}
	if f.to != 0 && (end == 0 || f.to < end) {
		end = f.to
	}
	return end
}

// step lets time go on, as fast as it is to, in a gap of which so much is left.
func (f *Files) step(ctx context.Context, gap int64) {
	paced := f.opt.Speed != 0 && f.now >= f.from
	by := step
	if f.quiet >= longGap {
		by = max(by, gap/gapShare)
	}
	if paced { // no longer than a step takes in real time
		by = max(step, min(by, int64(float64(step)*f.opt.Speed)))
	}
	by = min(by, gap)
	f.now += by
	f.apply()
	f.quiet = min(f.quiet+by, longGap)
	if !paced {
		return
	}
	due := f.played.Add(time.Duration(float64(by) / f.opt.Speed))
	f.wait(due, ctx.Done())
	if time.Since(due) > maxLate {
		due = time.Now() // it was paused, or cannot be as fast
	}
	f.played = due
}

// SkipTo lets time go on by a step of at most by towards a time, with no regard to
// speed. It reports whether time has gone on.
func (f *Files) SkipTo(at, by int64) bool {
	if f.now >= at {
		return false
	}
	f.now += min(by, f.until(at))
	f.apply()
	return true
}

// Shows reports whether e is in the part that is wanted, and a record of what was there
// before only where that was in TIME_WAIT.
func (f *Files) Shows(e *event.Event) bool {
	return e.Time >= f.from && (f.to == 0 || e.Time <= f.to) && !(e.Kind == event.Snapshot && e.New != event.TimeWait && !f.opt.Held)
}

// Early reports whether the time is before the part that is wanted.
func (f *Files) Early() bool { return f.from != 0 && f.now < f.from }

// Within reports whether the time is in the part that is wanted.
func (f *Files) Within() bool { return f.now >= f.from && (f.to == 0 || f.now <= f.to) }

// From and To are the part that is wanted, in ns since the epoch; 0 is the start, or
// the end.
func (f *Files) From() int64 { return f.from }
func (f *Files) To() int64   { return f.to }

// Mode is REPLAY, with the time and the speed, or AGENT.
func (f *Files) Mode() string { return f.ModeBy(clock.UTC) }

// ModeBy is Mode with the time by a clock, and its zone where that is not UTC.
func (f *Files) ModeBy(c clock.Clock) string {
	if f.stream {
		return "AGENT"
	}
	mode := "REPLAY " + c.Time(f.Now())
	if zone := c.Zone(f.Now()); zone != "UTC" {
		mode += " " + zone
	}
	if f.opt.Speed > 0 {
		mode += " x" + strconv.FormatFloat(f.opt.Speed, 'g', 4, 64)
	}
	return mode
}

// Remarks are what the screen says of the recording itself.
func (f *Files) Remarks(time.Time) []string {
	if f.limits == nil && !f.stream {
		return []string{"limits of one network namespace used for all"}
	}
	return nil
}

// Start is the first record of the recording.
func (f *Files) Start() (event.Event, error) {
	e := f.reader.Start()
	if f.stream {
		e.Time = max(e.Time, f.began)
	}
	return e, nil
}

// End is the last record of the recording, if it is whole and was read to its end.
func (f *Files) End(why string) (event.Event, error) {
	if end := f.reader.End(); end != nil {
		return *end, nil
	}
	if f.stream {
		return f.left(why), nil
	}
	return event.Event{}, nil
}

// LastTime is the time of the last record, 0 as long as that was not read.
func (f *Files) LastTime() int64 {
	if end := f.reader.End(); end != nil {
		return end.Time
	}
	return 0
}

func (f *Files) Tend(bool, func(*event.Event) error) error { return nil }
func (f *Files) Finish()                                   { f.finish = true }
func (f *Files) Close()                                    { f.reader.Close() }
func (f *Files) Now() time.Time                            { return time.Unix(0, f.now) }
func (f *Files) Began() time.Time                          { return time.Unix(0, f.began) }
func (f *Files) Storms() bool                              { return true }
func (f *Files) NetNSName(netns uint32) string             { return f.names[netns] }
func (f *Files) Missing() []string                         { return f.Header().Missing }
func (f *Files) OwnersKnown() time.Time                    { return time.Time{} }
func (f *Files) Drift() []event.Drift                      { return f.drift }

// Vitals is how the tracer is doing, as its stream has said last; a recording does not say.
func (f *Files) Vitals() event.Vitals { return f.vitals }

// Traces reports whether the filter accepts a network namespace.
func (f *Files) Traces(netns uint32) bool { return f.traced.Match(&event.Event{NetNS: netns}) }
