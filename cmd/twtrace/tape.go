package main

import (
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/twtrace/twtrace/internal/conn"
	"github.com/twtrace/twtrace/internal/event"
	"github.com/twtrace/twtrace/internal/filter"
	"github.com/twtrace/twtrace/internal/kernel"
	tracefile "github.com/twtrace/twtrace/internal/record"
	"github.com/twtrace/twtrace/internal/tracer"
)

// tape is a trace file in the place of a running trace. Its time is that of the
// recording: it goes on by steps, and after each the session looks after itself as
// it does when a ring is empty.
type tape struct {
	reader *tracefile.Reader
	limits map[uint32]kernel.Limits // of the namespaces that the files tell of
	start  *kernel.Limits           // of the start record, for files that tell of no namespace
	from   int64                    // records before it are read and not shown; ns since the epoch, 0: from the begin
	to     int64                    // 0: to the end
	speed  float64

	transport
	quit <-chan struct{} // ends a pause

	now    int64 // ns since the epoch
	quiet  int64 // how far time has gone on since the last event
	ahead  event.Event
	held   bool // ahead is the next event
	over   error
	played time.Time // when a step was due last
}

// tapeStep is how far the time of a tape goes at once, as pollInterval of a ring.
const tapeStep = int64(50 * time.Millisecond)

// A gap is longer than whatever is still under way in it: a TIME_WAIT, a storm. Beyond
// longGap time goes on by a share of what is left of it, down to tapeStep again, so that
// a time of another century, which anybody can write into a file, takes some thousand
// steps and not an hour of them.
const (
	longGap  = int64(10 * time.Minute)
	gapShare = 256
)

// tapeLate is by how much a tape may be late and make up for it.
const tapeLate = 200 * time.Millisecond

// slack is by how much events may be out of order: see the tracer's late ends.
const slack = int64(time.Second)

// readFlags are those of commands that can read trace files.
func readFlags() []cli.Flag {
	return append(tapeFlags("trace files, `FILE...`, in place of this kernel; - is stdin"),
		&cli.Float64Flag{Name: "speed", Usage: "`N` times as fast as it happened", DefaultText: "1 on a screen, else at once", Category: categoryRead})
}

// tapeFlags say which part of which files is read.
func tapeFlags(usage string) []cli.Flag {
	return []cli.Flag{
		&cli.StringSliceFlag{Name: "read", Aliases: []string{"r"}, Usage: usage, Category: categoryRead},
		&cli.StringFlag{Name: "from", Usage: "from `TIME` of the recording on: 22:14:07, 2026-11-22T22:14:07Z, or 90s after its begin", Category: categoryRead},
		&cli.StringFlag{Name: "to", Usage: "up to `TIME` of the recording", Category: categoryRead},
	}
}

const categoryRead = "Trace files"

// liveOnly are flags that mean something to a running trace alone.
var liveOnly = []string{"hooks", "btf", "buffer", "max-conns", "syscalls", "follow", "cmdline", "duration", "states",
	"short-lived", "storm-rate", "storm-window", "exec"}

// openTape opens the files that the flags name. Their order is that of the recording.
func openTape(c *cli.Context) (*tape, error) {
	for _, name := range liveOnly {
		if c.IsSet(name) {
			return nil, usagef("--%s is for a running trace, and not for a file (-r)", name)
		}
	}
	names, err := fileNames(c)
	if err != nil {
		return nil, err
	}
	t := &tape{speed: c.Float64("speed"), quit: c.Context.Done()}
	if c.IsSet("speed") && !(t.speed > 0 && t.speed <= 1e6) {
		return nil, usagef("--speed: bad number %v: it must be above 0", t.speed)
	}
	if t.reader, err = tracefile.Open(names, c.App.Reader); err != nil {
		return nil, err
	}
	start := t.reader.Start()
	if limits, err := kernel.ParseLimits(start.Start.Limits); err == nil {
		t.start = &limits
	}
	t.reader.OnLimits = t.learn
	if t.from, err = moment(c.String("from"), start.Time); err != nil {
		return nil, usagef("--from: %v", err)
	}
	if t.to, err = moment(c.String("to"), start.Time); err != nil {
		return nil, usagef("--to: %v", err)
	}
	if t.to != 0 && t.to < t.from {
		return nil, usagef("--to is before --from")
	}
	t.begin()
	return t, nil
}

// fileNames are the files that -r names, and the arguments behind it.
func fileNames(c *cli.Context) ([]string, error) {
	names := append(c.StringSlice("read"), c.Args().Slice()...)
	for i, name := range names {
		if i > 0 && len(name) > 1 && name[0] == '-' {
			return nil, usagef("%s stands behind the name of a file: flags go before", name)
		}
	}
	return names, nil
}

// moment parses a time of a recording that began at begin.
func moment(s string, begin int64) (int64, error) {
	if s == "" {
		return 0, nil
	}
	if d, err := time.ParseDuration(s); err == nil && d >= 0 {
		return begin + int64(d), nil
	}
	if t, err := time.Parse(time.RFC3339Nano, s); err == nil {
		return t.UnixNano(), nil
	}
	for _, layout := range []string{"15:04:05.999999999", "15:04"} {
		t, err := time.Parse(layout, s)
		if err != nil {
			continue
		}
		first := time.Unix(0, begin).UTC()
		t = time.Date(first.Year(), first.Month(), first.Day(), t.Hour(), t.Minute(), t.Second(), t.Nanosecond(), time.UTC)
		if t.Before(first.Truncate(time.Second)) { // it began before midnight
			t = t.AddDate(0, 0, 1)
		}
		return t.UnixNano(), nil
	}
	return 0, fmt.Errorf("bad time %q: use 22:14:07, 2026-11-22T22:14:07Z, or 90s after the begin; all in UTC", s)
}

// newReplay is a session that reads trace files.
func newReplay(c *cli.Context) (*session, error) {
	f, err := parseFilter(c)
	if err != nil {
		return nil, err
	}
	t, err := openTape(c)
	if err != nil {
		return nil, err
	}
	limits := &limitsCache{tape: t}
	s := &session{tape: t, limits: limits, table: conn.New(conn.Options{Limits: limits.of}), filter: f, names: make(map[uint32]string),
		wanted: func(*event.Event) bool { return true }, lost: make(map[event.Stage]uint64),
		static: filter.Filter{NetNS: f.NetNS}}
	s.talk = func(format string, a ...any) { note(c, format, a...) }
	return s, nil
}

// maxSpaces bounds the namespaces whose limits are believed.
const maxSpaces = 1 << 16

// learn takes down limits that the files tell of.
func (t *tape) learn(list []tracefile.Limits) {
	if t.limits == nil {
		t.limits = make(map[uint32]kernel.Limits)
	}
	for _, l := range list {
		limits, err := kernel.ParseLimits(l.Sysctls)
		if err != nil { // of a later version: not known
			continue
		}
		for _, netns := range l.NetNS {
			if _, known := t.limits[netns]; known || len(t.limits) < maxSpaces {
				t.limits[netns] = limits
			}
		}
	}
}

// space is what the recording has of the limits of a namespace. One that tells of no
// namespace has only those of the one that was traced, or was twtrace's own.
func (t *tape) space(netns uint32) (kernel.Limits, bool) {
	if t.limits == nil && t.start != nil {
		return *t.start, true
	}
	k, ok := t.limits[netns]
	return k, ok
}

// limitsOf is a conn.LimitsFunc.
func (t *tape) limitsOf(netns uint32) (conn.Limits, bool) {
	k, ok := t.space(netns)
	return connLimits(&k), ok
}

// next returns the next event, or tracer.ErrIdle when time goes on by a step.
func (t *tape) next(e *event.Event) error {
	if !t.held && t.over == nil {
		if t.over = t.reader.Read(&t.ahead); t.over == nil {
			t.held = true
			if t.ahead.Time == 0 { // what a Lost event of a damaged file has
				t.ahead.Time = t.now
			}
			if t.to != 0 && t.ahead.Time > t.to+slack {
				t.held, t.over = false, io.EOF
			}
		}
	}
	if end := t.end(); !t.held && errors.Is(t.over, io.EOF) && t.now < end {
		t.step(t.until(end)) // nothing happened any more
		return tracer.ErrIdle
	}
	if !t.held {
		return t.over
	}
	if gap := t.until(t.ahead.Time); gap >= tapeStep {
		t.step(gap)
		return tracer.ErrIdle
	}
	*e, t.held, t.quiet = t.ahead, false, 0
	return nil
}

// until is how far away a time is, 0 if it is over.
func (t *tape) until(at int64) int64 {
	if at <= t.now {
		return 0
	}
	if gap := at - t.now; gap > 0 {
		return gap
	}
	return math.MaxInt64 // and centuries
}

// end is when the recording ended, or is to, once all was read; 0 if nobody can tell.
func (t *tape) end() int64 {
	end := int64(0)
	if e := t.reader.End(); e != nil {
		end = e.Time
	}
	if t.to != 0 && (end == 0 || t.to < end) {
		end = t.to
	}
	return end
}

// begin sets the time to that of the first event.
func (t *tape) begin() {
	t.now = t.reader.Start().Time
	if t.over = t.reader.Read(&t.ahead); t.over == nil {
		t.held = true
		if t.now == 0 || t.ahead.Time != 0 && t.ahead.Time < t.now+slack {
			t.now = t.ahead.Time
		}
	}
}

// step lets time go on, as fast as it is to, in a gap of which so much is left.
func (t *tape) step(gap int64) {
	paced := t.speed != 0 && t.now >= t.from
	step := tapeStep
	if t.quiet >= longGap {
		step = max(step, gap/gapShare)
	}
	if paced { // no longer than a step takes at the speed of life
		step = max(tapeStep, min(step, int64(float64(tapeStep)*t.speed)))
	}
	step = min(step, gap)
	t.now += step
	t.quiet = min(t.quiet+step, longGap)
	if !paced {
		return
	}
	due := t.played.Add(time.Duration(float64(step) / t.speed))
	t.wait(due, t.quit)
	if time.Since(due) > tapeLate {
		due = time.Now() // it was paused, or cannot be as fast
	}
	t.played = due
}

// shows tells whether e is to be shown, and not only known.
func (t *tape) shows(e *event.Event) bool {
	return e.Time >= t.from && (t.to == 0 || e.Time <= t.to) && !(e.Kind == event.Snapshot && e.New != event.TimeWait)
}

// within tells whether the time is one that is asked for.
func (t *tape) within() bool { return t.now >= t.from && (t.to == 0 || t.now <= t.to) }

// mode is what the screen says of where the session gets its events.
func (s *session) mode() string {
	if s.tape == nil {
		return "LIVE"
	}
	mode := "REPLAY " + s.clock().UTC().Format("15:04:05")
	if s.tape.speed > 0 {
		mode += " x" + strconv.FormatFloat(s.tape.speed, 'g', 4, 64)
	}
	return mode
}

// maxDamage is how many damages are told one by one.
const maxDamage = 5

// verdict is what was wrong with the files, nil if nothing was.
func (t *tape) verdict(talk func(string, ...any)) error {
	if n := t.reader.Unknown(); n > 0 && talk != nil {
		talk("%d words of the recording are of a newer twtrace, and were read as not known", n)
	}
	if len(t.reader.Damage) == 0 {
		return nil
	}
	var parts []string
	for i, d := range t.reader.Damage {
		if i == maxDamage {
			parts = append(parts, fmt.Sprintf("and %d more", len(t.reader.Damage)-i))
			break
		}
		parts = append(parts, d.String())
	}
	return fmt.Errorf("%s", strings.Join(parts, "; "))
}
