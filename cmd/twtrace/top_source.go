package main

import (
	"context"
	"os"
	"sync"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/twtrace/twtrace/internal/event"
	"github.com/twtrace/twtrace/internal/kernel"
	"github.com/twtrace/twtrace/internal/monitor"
	"github.com/twtrace/twtrace/internal/recorder"
	"github.com/twtrace/twtrace/internal/replay"
	"github.com/twtrace/twtrace/internal/session"
	"github.com/twtrace/twtrace/internal/storm"
	"github.com/twtrace/twtrace/internal/view"
)

// topSource feeds the view with the samples of a monitor.
type topSource struct {
	session   *opened
	opt       monitor.Options
	monitor   *monitor.Monitor
	builder   view.Builder
	journal   view.Journal
	recording *recorder.OnDemand
	sampled   func()            // called for each sample; nil if nobody is to know
	spaces    recordedSpaces    // of a recording
	noted     func(*view.State) // called for each state before it is shown; nil if there is nothing to add
}

// player is the source of a view over trace files: a view.Player.
type player struct {
	*topSource
	*replay.Playback
}

// topPast is how much of an agent's past the table of top starts with: as long as it keeps
// what is over.
const topPast = 2 * time.Minute

// openTop opens the session of a live view, and what feeds the view from it.
func openTop(c *cli.Context) (*opened, *topSource, error) {
	interval, err := parseInterval(c)
	if err != nil {
		return nil, nil, err
	}
	t := &topSource{recording: recorder.NewOnDemand()}
	o, err := openSession(c, wants{quiet: true, agent: agentAsk{past: topPast, live: true, late: true}, Options: session.Options{Narrow: true, Storms: &storm.Options{}, Witness: t.recording.Witness}})
	if err != nil {
		return nil, nil, err
	}
	t.session = o
	t.recording.Attach(o.Session)
	t.opt = monitor.Options{Interval: interval, Each: t.each, Idle: t.recording.Answer}
	t.opt.Diagnose.Clock = clockFor(c, c.String("output"))
	host, _ := os.Hostname()
	if o.files != nil {
		host = o.files.Header().Host
		t.opt.Partial, t.opt.Diagnose.FromNow = true, o.files.From() != 0
		t.sampled = o.files.Stepped
	}
	t.builder = view.Builder{Host: host, Clock: clockOf(c), Begin: o.Now(), Limits: o.ConnLimits, Name: o.NetNSName}
	t.journal.Name = o.NetNSName
	if f := o.Filter(); f.NetNS.Active() && !f.NetNS.Not {
		t.opt.Diagnose.Always = f.NetNS.Items
		if len(f.NetNS.Items) == 1 {
			t.builder.Home = f.NetNS.Items[0]
		}
	} else if o.files == nil {
		t.opt.Diagnose.Always = thisNetNS()
	}
	return o, t, nil
}

// prime takes the state at the start, so that the first interval has rates.
func (t *topSource) prime(ctx context.Context) (err error) {
	if t.monitor, err = monitor.New(ctx, t.session.Session, t.session.host, t.opt); err != nil {
		return err
	}
	s := t.monitor.Sample()
	t.builder.Build(s.Table, &s.Pressure)
	return nil
}

// each takes an event that the table has completed.
func (t *topSource) each(e *event.Event) {
	t.journal.Add(e)
	t.recording.Add(e)
}

// SetInterval changes the interval from the next state on.
func (t *topSource) SetInterval(d time.Duration) { t.monitor.SetInterval(d) }

// Reset forgets what is over, at the next state.
func (t *topSource) Reset() { t.monitor.Reset() }

// Next waits for the end of the interval and returns the state then.
func (t *topSource) Next(ctx context.Context) (*view.State, error) {
	sample, err := t.monitor.Next(ctx)
	if err != nil {
		return nil, err
	}
	if sample.Status.Reset {
		t.builder.Forget()
	}
	s := t.builder.Build(sample.Table, &sample.Pressure)
	st := &sample.Status
	s.Mode, s.Interval, s.Filter, s.Remarks = st.Mode, st.Interval, st.Filter, st.Remarks
	s.Traced = t.builder.Named(st.Filter)
	if files := t.session.files; files != nil {
		s.Mode = files.ModeBy(s.Clock)
	}
	s.SelfCPU, s.SelfRSS = st.CPU, st.Memory
	s.Recording = view.Recording(t.recording.State())
	s.Events = t.journal.Entries()
	s.Findings = sample.Findings
	if t.session.files != nil {
		t.spaces.learn(t.session.files, s)
	}
	if t.noted != nil {
		t.noted(s)
	}
	s.Conclude()
	if t.sampled != nil {
		t.sampled()
	}
	return s, nil
}

// thisNetNS is the network namespace of this process.
func thisNetNS() []uint32 {
	n, err := kernel.CurrentNetNS()
	if err != nil {
		return nil
	}
	return []uint32{n.Inum}
}

// enter is what brings a command of the user's shell into a network namespace; of a
// recording, a shell of the host that was recorded.
func (t *topSource) enter(netns uint32) string {
	if t.session.files != nil {
		return t.spaces.enter(netns)
	}
	return enterNetNS(netns)
}

// recordedSpaces are the network namespaces of a recording, as far as it was read. The
// screen asks for them while the source reads on.
type recordedSpaces struct{ known sync.Map }

// learn notes the namespaces that a state has rows of.
func (r *recordedSpaces) learn(files *replay.Files, s *view.State) {
	for i := range s.Rows {
		netns := s.Rows[i].NetNS
		if _, ok := r.known.Load(netns); ok {
			continue
		}
		if space, _, ok := files.Space(netns); ok {
			r.known.Store(netns, space)
		}
	}
}

func (r *recordedSpaces) enter(netns uint32) string {
	space, ok := r.known.Load(netns)
	if !ok {
		space = kernel.NetNS{Inum: netns, Recorded: true}
	}
	return space.(kernel.NetNS).Enter()
}
