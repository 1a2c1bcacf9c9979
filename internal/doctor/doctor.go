package doctor

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"slices"
	"time"

	"github.com/twtrace/twtrace/internal/advice"
	"github.com/twtrace/twtrace/internal/clock"
	"github.com/twtrace/twtrace/internal/diagnose"
	"github.com/twtrace/twtrace/internal/event"
	"github.com/twtrace/twtrace/internal/kernel"
	"github.com/twtrace/twtrace/internal/session"
	"github.com/twtrace/twtrace/internal/tracer"
)

// Host is what a diagnosis reads from /proc and sock_diag. ThisHost is the only one
// but for tests.
type Host interface {
	// Namespaces are the network namespaces that can be found, the caller's own first.
	Namespaces() ([]kernel.NetNS, error)
	// Hidden reports whether there may be more of them, which this user cannot find.
	Hidden() (bool, error)
	// Count reads the counters of a network namespace.
	Count(kernel.NetNS) (advice.Counted, error)
	// Facts reads everything about a network namespace, and what its counters gained.
	Facts(context.Context, kernel.NetNS, advice.Counted) (advice.Facts, error)
	// Listeners sets the listeners of facts that a trace knows the rest of.
	Listeners(context.Context, *advice.Facts) error
}

// ThisHost is the host that runs this program.
type ThisHost struct{}

func (ThisHost) Namespaces() ([]kernel.NetNS, error)           { return kernel.ListNetNS() }
func (ThisHost) Hidden() (bool, error)                         { return kernel.NetNSHidden() }
func (ThisHost) Count(ns kernel.NetNS) (advice.Counted, error) { return advice.ReadCounters(ns) }
func (ThisHost) Facts(ctx context.Context, ns kernel.NetNS, since advice.Counted) (advice.Facts, error) {
	return advice.ReadFactsSince(ctx, ns, since)
}
func (ThisHost) Listeners(ctx context.Context, f *advice.Facts) error { return f.ReadListeners(ctx) }

// Trace is a trace in progress.
type Trace struct {
	Session  *session.Session
	Host     diagnose.Host
	Findings []advice.Finding // about the trace itself
}

// Options of a diagnosis.
type Options struct {
	Version string
	Clock   clock.Clock    // prints the times, in findings too
	Window  time.Duration  // how long to watch
	Named   []kernel.NetNS // network namespaces that the user named; nil: all that have sockets
	FailOn  event.Severity // the least that makes an exit code other than 0; Skip is Warn
	Host    Host           // nil: ThisHost
	// Trace starts a trace; nil: do not trace. Without BPF or the right to use it, the
	// counters are watched for the window instead.
	Trace func() (*Trace, error)
	// Show is called now and then with what was found so far; nil if nobody watches.
	Show func(done time.Duration, found []advice.Finding)
}

// Doctor makes one diagnosis. Its methods are for one goroutine.
type Doctor struct {
	Report Report
	// Damage is what was wrong with the trace files that were read, nil if nothing was.
	Damage error

	opt    Options
	before map[uint32]advice.Counted // the counters at the start
	closed []kernel.NetNS            // whose counters could not be read
	local  *local                    // nil but beside an agent of this host
	kept   []advice.Facts            // of a recording: those that the report is of
}

// New returns a Doctor.
func New(o Options) *Doctor {
	if o.Host == nil {
		o.Host = ThisHost{}
	}
	if o.Show == nil {
		o.Show = func(time.Duration, []advice.Finding) {}
	}
	return &Doctor{opt: o, Report: Report{Version: o.Version, Clock: o.Clock, FailOn: o.FailOn}}
}

// tick is the time between two intermediate results.
const tick = time.Second

// Watch makes a diagnosis of this host: it reads the counters and sockets, and then
// traces for the window. When ctx is done, the window is over.
func (d *Doctor) Watch(ctx context.Context) error {
	start := time.Now()
	spaces, err := d.choose()
	if err != nil {
		return err
	}
	d.Report.Root = os.Geteuid() == 0
	if d.opt.Named == nil {
		if d.Report.Hidden, err = d.opt.Host.Hidden(); err != nil {
			return err
		}
	}
	facts, err := d.facts(ctx, spaces)
	if err != nil {
		return err
	}
	d.conclude(facts)
	d.opt.Show(time.Since(start), d.Report.Findings)
	if d.opt.Trace != nil {
		t, err := d.opt.Trace()
		if err == nil {
			defer t.Session.Close()
			return d.trace(ctx, t, spaces)
		}
		var host *tracer.HostError
		if !errors.As(err, &host) && !errors.Is(err, fs.ErrPermission) {
			return err
		}
		d.untraceable(err)
	}
	return d.watchCounters(ctx, start, spaces)
}

// conclude makes findings of facts, behind those about the trace.
func (d *Doctor) conclude(facts []advice.Facts) {
	kept := slices.DeleteFunc(d.Report.Findings, func(x advice.Finding) bool { return x.Group != "trace" })
	for i := range facts {
		facts[i].Clock = d.opt.Clock
	}
	d.Report.Findings = append(kept, advice.Diagnose(facts...)...)
	d.scoped()
	d.Report.Spaces = nil
	for _, f := range facts {
		if f.NetNS.Inum != 0 {
			d.Report.Spaces = append(d.Report.Spaces, f.NetNS)
		}
		d.Report.Time = f.Time
		d.Report.Window = max(d.Report.Window, f.Window)
	}
}

// scoped has the verdict that nothing is wrong be about what was read, if that is not all.
func (d *Doctor) scoped() {
	for i := range d.Report.Findings {
		if x := &d.Report.Findings[i]; x.ID == verdictOK && d.Report.NotSeen() != "" {
			x.Title = "TIME_WAIT is not the problem in what was read"
		}
	}
}

// pause waits, and reports whether it waited for the whole time.
func pause(ctx context.Context, t time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(t):
		return true
	}
}
