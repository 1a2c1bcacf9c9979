package main

import (
	"context"
	"fmt"
	"os/signal"
	"time"

	"github.com/urfave/cli/v2"
	"golang.org/x/sys/unix"

	"github.com/twtrace/twtrace/internal/agent"
	"github.com/twtrace/twtrace/internal/diagnose"
	"github.com/twtrace/twtrace/internal/event"
	"github.com/twtrace/twtrace/internal/live"
	"github.com/twtrace/twtrace/internal/process"
	"github.com/twtrace/twtrace/internal/replay"
	"github.com/twtrace/twtrace/internal/session"
	"github.com/twtrace/twtrace/internal/tracer"
)

// opened is a session that a verb reads, and what it reads from.
type opened struct {
	*session.Session
	host     diagnose.Host
	duration time.Duration // 0: until a signal
	trace    running       // nil if files are read
	files    *replay.Files // nil if the kernel is traced, or an agent is followed
	agent    *agent.Stream // nil unless an agent is read
}

// Close ends what is read.
func (o *opened) Close() {
	if o.Session != nil {
		o.Session.Close()
	}
	if o.agent != nil {
		o.agent.Close()
	}
}

// running is a trace of this kernel: a *live.Trace, but for tests.
type running interface {
	session.Source
	diagnose.Host
	Check() ([]tracer.Requirement, []tracer.Hook, error)
	RefreshLimits()
	Vitals() event.Vitals
}

// attacher attaches the hooks. The error is a *tracer.HostError where this host cannot
// be traced.
type attacher func(live.Options) (running, error)

// attachKernel is the attacher of the program.
func attachKernel(o live.Options) (running, error) {
	t, err := live.Open(o)
	if err != nil {
		return nil, err
	}
	return t, nil
}

// attach has the attacher of the program start a trace.
func attach(c *cli.Context, o live.Options) (running, error) {
	return c.App.Metadata[metaAttacher].(attacher)(o)
}

// wants is what a verb asks of its session beside what the flags say.
type wants struct {
	session.Options
	quiet   bool // no line on stderr: a screen covers it
	waiting bool // the number of clients in SYN_SENT, fresh
	sparing bool // it goes on for ever
	agent   agentAsk
}

// openSession starts a trace, or opens trace files, as the flags say.
func openSession(c *cli.Context, w wants) (*opened, error) {
	f, err := parseFilter(c)
	if err != nil {
		return nil, err
	}
	if w.Filter = f.Filter; !w.quiet {
		w.Talk = func(format string, a ...any) { note(c, format, a...) }
	}
	if _, _, err := choosesAgent(c); err != nil {
		return nil, err
	}
	if c.IsSet("read") {
		files, err := openRecording(c)
		if err != nil {
			return nil, err
		}
		files.Use(f.Filter, w.Talk)
		s, err := session.New(files, w.Options)
		return &opened{Session: s, host: files, files: files}, err
	}
	if stream, err := askAgent(c, w.agent); stream != nil || err != nil {
		if err != nil {
			return nil, err
		}
		return openAgent(c, stream, f, w)
	}
	for _, name := range []string{"from", "to", "speed"} {
		if c.IsSet(name) {
			return nil, usagef("--%s requires --read (-r) and a trace file", name)
		}
	}
	if words := noProcess(f.Filter); words != "" && !w.quiet && !c.Bool("follow") {
		note(c, "%s", words)
	}
	o := &opened{}
	if o.duration, err = positive(c, "duration"); err != nil {
		return nil, err
	}
	if o.trace, err = openTrace(c, f, w); err != nil {
		return nil, err
	}
	o.host = o.trace
	o.Session, err = session.New(o.trace, w.Options)
	return o, err
}

// openPast opens trace files, or reads a stream that was asked for.
func openPast(c *cli.Context, w wants, stream *agent.Stream) (*opened, error) {
	if stream == nil {
		return openSession(c, w)
	}
	f, err := parseFilter(c)
	if err != nil {
		stream.Close()
		return nil, err
	}
	w.Filter, w.Talk = f.Filter, func(format string, a ...any) { note(c, format, a...) }
	return openAgent(c, stream, f, w)
}

// openAgent reads the stream of an agent.
func openAgent(c *cli.Context, stream *agent.Stream, f asked, w wants) (*opened, error) {
	o := &opened{agent: stream}
	var err error
	if o.duration, err = positive(c, "duration"); err != nil {
		stream.Close()
		return nil, err
	}
	files, err := followAgent(c, stream, w.agent, f.Filter, w.Talk)
	if err != nil {
		stream.Close()
		return nil, err
	}
	if o.host = files; !w.agent.live {
		o.files = files
	}
	if o.Session, err = session.New(files, w.Options); err != nil {
		o.Close()
		return nil, err
	}
	return o, nil
}

// openTrace attaches the hooks as the flags say.
func openTrace(c *cli.Context, f asked, w wants) (running, error) {
	topts, err := parseTracer(c, f.Filter)
	if err != nil {
		return nil, err
	}
	if topts.Follow, err = parseFollow(c, f.Filter); err != nil {
		return nil, err
	}
	topts.AllStates = c.String("states") == "all"
	return attach(c, live.Options{Version: version, Tracer: topts, Process: process.Options{Cmdlines: c.Bool("cmdline")},
		Named: f.named, Shown: w.Print, CountWaiting: w.waiting, Sparing: w.sparing, Progress: showDumps(c.App.ErrWriter), Talk: w.Talk})
}

// stopOnContext ends the session with a signal, and after --duration.
func (o *opened) stopOnContext(c *cli.Context) (release func()) {
	return o.StopOn(c.Context, o.duration)
}

// verdict is the exit of a trace that ended well: 0, unless the files were damaged or,
// with --strict, something was lost.
func (o *opened) verdict(c *cli.Context) error {
	return o.Verdict(context.WithoutCancel(c.Context), c.Bool("strict"))
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

// note prints a line on stderr.
func note(c *cli.Context, format string, args ...any) {
	fmt.Fprintf(c.App.ErrWriter, "twtrace: "+format+"\n", args...)
}
