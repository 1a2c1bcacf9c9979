package doctor

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twtrace/twtrace/internal/advice"
	"github.com/twtrace/twtrace/internal/event"
	"github.com/twtrace/twtrace/internal/kernel"
	"github.com/twtrace/twtrace/internal/session"
	"github.com/twtrace/twtrace/internal/session/sessiontest"
	"github.com/twtrace/twtrace/internal/tracer"
)

var errFake = errors.New("it is broken")

// fakeHost is a host of made-up network namespaces.
type fakeHost struct {
	spaces    []kernel.NetNS
	sockets   map[uint32]uint64 // in TIME_WAIT, by namespace; the counters have them
	full      map[uint32]bool   // all ports towards a destination are held by them
	noCount   map[uint32]error
	noFacts   map[uint32]error
	noListing error
	noListen  error
	hidden    bool

	counted  int
	read     []uint32 // namespaces whose facts were read, in that order
	listened []uint32
}

func (h *fakeHost) Namespaces() ([]kernel.NetNS, error) { return h.spaces, h.noListing }

func (h *fakeHost) Hidden() (bool, error) { return h.hidden, nil }

func (h *fakeHost) Count(n kernel.NetNS) (advice.Counted, error) {
	h.counted++
	return advice.Counted{At: time.Now(), Counters: kernel.Counters{TimeWait: h.sockets[n.Inum]}}, h.noCount[n.Inum]
}

func (h *fakeHost) Facts(ctx context.Context, n kernel.NetNS, since advice.Counted) (advice.Facts, error) {
	h.read = append(h.read, n.Inum)
	f := healthy()
	if h.full[n.Inum] {
		f = filled(28100, there)
	}
	f.NetNS, f.Time = n, time.Now()
	f.Window = f.Time.Sub(since.At)
	return f, errors.Join(ctx.Err(), h.noFacts[n.Inum])
}

func (h *fakeHost) Listeners(_ context.Context, f *advice.Facts) error {
	h.listened = append(h.listened, f.NetNS.Inum)
	return h.noListen
}

// ns is a namespace by number.
func ns(inums ...uint32) (list []kernel.NetNS) {
	for _, i := range inums {
		list = append(list, kernel.NetNS{Inum: i})
	}
	return list
}

func inums(list []kernel.NetNS) (out []uint32) {
	for _, n := range list {
		out = append(out, n.Inum)
	}
	return out
}

// find returns the findings of an ID.
func find(r *Report, id string) (all []advice.Finding) {
	for _, x := range r.Findings {
		if x.ID == id {
			all = append(all, x)
		}
	}
	return all
}

// TestWatchCounters: without a trace the counters are watched, of the caller's own
// namespace and of those that have sockets, the fullest first. What may not be read is
// in the report.
func TestWatchCounters(t *testing.T) {
	h := &fakeHost{spaces: ns(1, 2, 3, 4, 5, 6, 7), sockets: map[uint32]uint64{2: 10, 4: 28100, 5: 5, 6: 7, 7: 20},
		full:    map[uint32]bool{4: true},
		noCount: map[uint32]error{5: fmt.Errorf("count: %w", fs.ErrPermission), 6: errFake, 3: fmt.Errorf("it is gone: %w", fs.ErrNotExist)},
		noFacts: map[uint32]error{7: fmt.Errorf("dump: %w", fs.ErrPermission)}}
	shown := 0
	d := New(Options{Version: "1.2", Window: time.Millisecond, Host: h, FailOn: event.Crit,
		Show: func(_ time.Duration, found []advice.Finding) { shown++ }})
	if err := d.Watch(t.Context()); err != nil {
		t.Fatal(err)
	}
	r := &d.Report
	if got, want := inums(r.Spaces), []uint32{4, 2, 1}; !slices.Equal(got, want) {
		t.Errorf("spaces %v, want %v", got, want)
	}
	if got, want := inums(r.Closed), []uint32{5, 6, 7}; !slices.Equal(got, want) {
		t.Errorf("closed %v, want %v", got, want)
	}
	if h.counted != 7 || !slices.Equal(h.read, []uint32{4, 7, 2, 1, 4, 7, 2, 1}) || h.listened != nil {
		t.Errorf("counted %d times, facts of %v, listeners of %v", h.counted, h.read, h.listened)
	}
	if found := find(r, "TW101"); len(found) != 1 || found[0].Scope.NetNS != 4 || r.ExitCode() != 2 {
		t.Errorf("found %+v, exit %d", found, r.ExitCode())
	}
	if r.Traced || r.Lost != 0 || r.LeftOut != 0 || r.Version != "1.2" || r.Window < time.Millisecond || time.Since(r.Time) > time.Minute {
		t.Errorf("report %+v", r)
	}
	if shown < 1 {
		t.Error("nothing was shown")
	}
}

// TestWatchesTheFullest leaves out all but the fullest namespaces, and says how many.
func TestWatchesTheFullest(t *testing.T) {
	h := &fakeHost{sockets: make(map[uint32]uint64)}
	for i := range uint32(maxDiagnosed + 5) {
		h.spaces = append(h.spaces, kernel.NetNS{Inum: i + 1})
		h.sockets[i+1] = uint64(i)
	}
	d := New(Options{Window: 1, Host: h})
	if err := d.Watch(t.Context()); err != nil {
		t.Fatal(err)
	}
	if r := &d.Report; r.Verdict() != "ok" || r.NotSeen() != "" {
		t.Errorf("the others are nearly empty: %s, %s", r.Verdict(), r.NotSeen())
	}
	if r := &d.Report; r.LeftOut != 5 || len(r.Spaces) != maxDiagnosed || r.Spaces[0].Inum != maxDiagnosed+5 {
		t.Errorf("%d left out of %v", r.LeftOut, r.Spaces)
	}
}

// TestWatchNamed: all that the user named are watched, however empty, and no other; one
// that cannot be read fails.
func TestWatchNamed(t *testing.T) {
	many := make([]uint32, maxDiagnosed+2)
	for i := range many {
		many[i] = uint32(i + 1)
	}
	h := &fakeHost{noListing: errFake}
	d := New(Options{Window: 1, Host: h, Named: ns(many...)})
	if err := d.Watch(t.Context()); err != nil || len(d.Report.Spaces) != len(many) || d.Report.LeftOut != 0 {
		t.Errorf("%v: %v, %d left out", err, d.Report.Spaces, d.Report.LeftOut)
	}
	for name, h := range map[string]*fakeHost{
		"counters": {noCount: map[uint32]error{2: fs.ErrPermission}},
		"facts":    {noFacts: map[uint32]error{2: fs.ErrPermission}},
	} {
		d := New(Options{Window: 1, Host: h, Named: ns(1, 2)})
		if err := d.Watch(t.Context()); !errors.Is(err, fs.ErrPermission) || d.Report.Closed != nil {
			t.Errorf("%s: %v, closed %v", name, err, d.Report.Closed)
		}
	}
}

// TestWatchesNotAll: what was not read makes a verdict unknown that would be ok, with exit
// code 3 and what to run. Trouble that was found goes first.
func TestWatchesNotAll(t *testing.T) {
	busy := &fakeHost{sockets: make(map[uint32]uint64)}
	for i := range uint32(maxDiagnosed + 2) {
		busy.spaces = append(busy.spaces, kernel.NetNS{Inum: i + 1})
		busy.sockets[i+1] = fewSockets + uint64(i)
	}
	denied := map[uint32]error{2: fs.ErrPermission}
	for name, tt := range map[string]struct {
		host    *fakeHost
		opt     Options
		root    bool
		verdict string
		exit    int
		line    string
	}{
		"everything":             {host: &fakeHost{spaces: ns(1, 2)}, verdict: "ok"},
		"another's, as a user":   {host: &fakeHost{spaces: ns(1, 2), noCount: denied}, verdict: "unknown", exit: 3, line: "Not seen: 1 network namespace could not be read (net:[2]). Run `sudo twtrace doctor` to see more."},
		"another's, as root":     {host: &fakeHost{spaces: ns(1, 2), noCount: denied}, root: true, verdict: "unknown", exit: 3, line: "CAP_SYS_ADMIN"},
		"another's, and trouble": {host: &fakeHost{spaces: ns(1, 2), noCount: denied, full: map[uint32]bool{1: true}}, verdict: "crit", exit: 2, line: "sudo twtrace doctor"},
		"other processes":        {host: &fakeHost{spaces: ns(1), hidden: true}, verdict: "unknown", exit: 3, line: "other users' processes are not visible. Run `sudo twtrace doctor`"},
		"fail on crit":           {host: &fakeHost{spaces: ns(1), hidden: true}, opt: Options{FailOn: event.Crit}, verdict: "unknown", exit: 3, line: "sudo"},
		"only what was named":    {host: &fakeHost{hidden: true, noCount: denied}, opt: Options{Named: ns(1)}, verdict: "ok"},
		"too many":               {host: busy, root: true, verdict: "unknown", exit: 3, line: "2 network namespaces with fewer sockets were not examined (net:[2], net:[1]). Run `twtrace doctor -N 2,1`"},
	} {
		tt.opt.Window, tt.opt.Host = 1, tt.host
		d := New(tt.opt)
		if err := d.Watch(t.Context()); err != nil {
			t.Fatal(err)
		}
		r := d.Report
		r.Root = tt.root
		if r.Verdict() != tt.verdict || r.ExitCode() != tt.exit {
			t.Errorf("%s: %s, exit code %d, want %s, %d", name, r.Verdict(), r.ExitCode(), tt.verdict, tt.exit)
		}
		if ok := find(&r, "TW000"); tt.exit == 3 && (len(ok) != 1 || !strings.Contains(ok[0].Title, "in what was read")) {
			t.Errorf("%s: %+v", name, ok)
		}
		for form, write := range map[string]func(*bytes.Buffer) error{
			"text":  func(b *bytes.Buffer) error { return WriteText(b, r, Style{}) },
			"brief": func(b *bytes.Buffer) error { return WriteBrief(b, r, Style{}) },
			"md":    func(b *bytes.Buffer) error { return WriteMarkdown(b, r) },
		} {
			var b bytes.Buffer
			if err := write(&b); err != nil {
				t.Fatal(err)
			}
			text := strings.Join(strings.Fields(strings.ReplaceAll(b.String(), "\\", "")), " ")
			want := tt.line
			if tt.verdict == "unknown" && form != "md" { // the verdict has it, and its command on a line of its own
				want = "unseen " + r.NotSeen() + " now " + cmp.Or(r.SeeMore(), seeHow)
			}
			if !strings.Contains(text, want) || strings.Contains(text, "Not seen") != (want != "" && want == tt.line) {
				t.Errorf("%s, %s: want %q:\n%s", name, form, tt.line, text)
			}
		}
	}
}

// TestWatchFails: without any namespace there is no diagnosis.
func TestWatchFails(t *testing.T) {
	for name, h := range map[string]*fakeHost{
		"no list":               {noListing: errFake},
		"the only one, at once": {spaces: ns(1), noFacts: map[uint32]error{1: errFake}},
	} {
		d := New(Options{Window: 1, Host: h})
		if err := d.Watch(t.Context()); !errors.Is(err, errFake) {
			t.Errorf("%s: %v", name, err)
		}
	}
	h := &fakeHost{spaces: ns(1)}
	d := New(Options{Window: 1, Host: h, Show: func(time.Duration, []advice.Finding) { h.noFacts = map[uint32]error{1: errFake} }})
	if err := d.Watch(t.Context()); !errors.Is(err, errFake) {
		t.Errorf("the only one, at the end: %v", err)
	}
}

// TestWatchUntraceable: a host that cannot be traced is diagnosed without, and the
// report says why. Other errors end the diagnosis.
func TestWatchUntraceable(t *testing.T) {
	for name, cannot := range map[string]error{
		"host":  fmt.Errorf("open: %w", &tracer.HostError{What: "load", Err: errFake}),
		"right": fmt.Errorf("open: %w", fs.ErrPermission),
	} {
		h := &fakeHost{spaces: ns(1), full: map[uint32]bool{1: true}}
		d := New(Options{Window: time.Millisecond, Host: h, Trace: func() (*Trace, error) { return nil, cannot }})
		if err := d.Watch(t.Context()); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		r := &d.Report
		why := find(r, "TWD001")
		if len(why) != 1 || why[0].Severity != event.Skip || why[0].Group != "trace" || why[0].Title != "not traced: "+cannot.Error() || r.Findings[0].ID != "TWD001" {
			t.Errorf("%s: %+v", name, why)
		}
		if r.Traced || len(find(r, "TW101")) != 1 || r.Window < time.Millisecond {
			t.Errorf("%s: traced %v, window %v, %+v", name, r.Traced, r.Window, find(r, "TW101"))
		}
	}
	d := New(Options{Window: time.Hour, Host: &fakeHost{spaces: ns(1)}, Trace: func() (*Trace, error) { return nil, errFake }})
	if err := d.Watch(t.Context()); !errors.Is(err, errFake) {
		t.Errorf("another error: %v", err)
	}
}

// storming is a source in which one process uses up the ports of a namespace towards a
// database within some seconds.
func storming(space uint32) *sessiontest.Source {
	start := time.Now()
	limits := sessiontest.Limits(500)
	src := &sessiontest.Source{From: start, Until: start.Add(10 * time.Second), ByNetNS: map[uint32]kernel.Limits{space: limits}}
	for c := range 480 {
		e := event.Event{Time: start.Add(time.Duration(c) * 10 * time.Millisecond).UnixNano(), NetNS: space, Cookie: uint64(c + 1), Role: event.Client,
			Local: netip.AddrPortFrom(netip.MustParseAddr(here), limits.PortLow+uint16(c)), Remote: netip.MustParseAddrPort(there),
			Opener: event.Proc{PID: 4242, Comm: "checkout"}}
		for _, k := range []event.Kind{event.Open, event.TimeWaitEnter} {
			e.Kind = k
			src.Events = append(src.Events, e)
		}
	}
	return src
}

// traceOf returns what starts a trace of src.
func traceOf(src *sessiontest.Source) func() (*Trace, error) {
	return func() (*Trace, error) {
		s, err := session.New(src, session.Options{Narrow: true})
		return &Trace{Session: s, Host: src, Findings: []advice.Finding{{ID: "TWD006", Group: "trace", Severity: event.OK, Title: "in use: fake"}}}, err
	}
}

// TestWatchTraces: the report is of the trace, with who did it and what was lost. What is
// said of the trace itself comes first, and once.
func TestWatchTraces(t *testing.T) {
	h := &fakeHost{spaces: ns(7, 8), sockets: map[uint32]uint64{7: 1}}
	src := storming(7)
	src.Found = []event.Event{{Time: src.From.UnixNano(), Kind: event.Lost, Stage: event.StageRing, Count: 3}}
	var shows [][]advice.Finding
	d := New(Options{Window: time.Minute, Host: h, Trace: traceOf(src),
		Show: func(_ time.Duration, found []advice.Finding) { shows = append(shows, found) }})
	if err := d.Watch(t.Context()); err != nil {
		t.Fatal(err)
	}
	r := &d.Report
	if !r.Traced || r.Lost != 3 || !src.Closed {
		t.Errorf("traced %v, %d lost, closed %v", r.Traced, r.Lost, src.Closed)
	}
	found := find(r, "TW101")
	if len(found) != 1 || found[0].Severity < event.Warn || found[0].Scope.Comm != "checkout" || found[0].Scope.NetNS != 7 {
		t.Errorf("found %+v", found)
	}
	if len(find(r, "TWD006")) != 1 || r.Findings[0].ID != "TWD006" {
		t.Errorf("of the trace: %+v", find(r, "TWD006"))
	}
	// The other namespace has no limits in this trace: only what is traced stays, and the
	// other one was not read.
	if got := inums(r.Spaces); !slices.Equal(got, []uint32{7}) || !slices.Equal(h.listened, []uint32{7}) || r.NotSeen() != "" {
		t.Errorf("spaces %v, listeners of %v, not seen: %s", got, h.listened, r.NotSeen())
	}
	// One before, then one a second once the source has nothing to read for a moment.
	if len(shows) < 6 || len(shows) > 12 {
		t.Errorf("shown %d times", len(shows))
	}
	last := &Report{Findings: shows[len(shows)-1]}
	if len(find(last, "TW101")) != 1 {
		t.Errorf("shown at last: %+v", last.Findings)
	}
}

// TestWatchUntraced: a namespace that was chosen, and of which the trace has no limits, was
// not read, unless it is gone.
func TestWatchUntraced(t *testing.T) {
	for _, gone := range []bool{false, true} {
		h := &fakeHost{spaces: ns(7, 8), sockets: map[uint32]uint64{8: 1}}
		d := New(Options{Window: time.Minute, Host: h, Trace: traceOf(storming(7)), Show: func(time.Duration, []advice.Finding) {
			if gone {
				h.noCount = map[uint32]error{8: fs.ErrNotExist}
			}
		}})
		if err := d.Watch(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := len(d.Report.Closed); got != 1 && !gone || got != 0 && gone {
			t.Errorf("gone %v: not read %v", gone, d.Report.Closed)
		}
	}
}

// TestWatchTracesWhatGetsFull: a namespace that nothing was wrong with at first is in the
// report once it is.
func TestWatchTracesWhatGetsFull(t *testing.T) {
	src := storming(9)
	src.ByNetNS[7] = sessiontest.Limits(1000)
	d := New(Options{Window: time.Minute, Host: &fakeHost{spaces: ns(7)}, Trace: traceOf(src)})
	if err := d.Watch(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := inums(d.Report.Spaces); !slices.Equal(got, []uint32{7, 9}) {
		t.Errorf("spaces %v", got)
	}
}

// TestWatchTraceFails: what goes wrong once the trace runs is an error of the diagnosis,
// a missing right too. Listeners that cannot be read are missed where there are several
// namespaces.
func TestWatchTraceFails(t *testing.T) {
	denied := fmt.Errorf("dump: %w", fs.ErrPermission)
	for name, tt := range map[string]struct {
		change func(*sessiontest.Source, *fakeHost, *Options)
		want   error
	}{
		"read":                    {func(s *sessiontest.Source, _ *fakeHost, _ *Options) { s.Fail = errFake }, errFake},
		"read, from before":       {func(s *sessiontest.Source, _ *fakeHost, _ *Options) { s.Fail, s.Queued = errFake, len(s.Events)+1 }, errFake},
		"listeners, the only one": {func(_ *sessiontest.Source, h *fakeHost, _ *Options) { h.noListen = denied }, fs.ErrPermission},
		"listeners, named": {func(s *sessiontest.Source, h *fakeHost, o *Options) {
			s.ByNetNS[8], o.Named, h.noListen = s.ByNetNS[7], ns(7, 8), denied
		}, fs.ErrPermission},
		"listeners, one of several": {func(s *sessiontest.Source, h *fakeHost, _ *Options) {
			s.ByNetNS[8], h.sockets, h.noListen = s.ByNetNS[7], map[uint32]uint64{8: 1}, denied
		}, nil},
	} {
		src, h := storming(7), &fakeHost{spaces: ns(7, 8)}
		o := Options{Window: time.Minute, Host: h, Trace: traceOf(src)}
		tt.change(src, h, &o)
		d := New(o)
		if err := d.Watch(t.Context()); !errors.Is(err, tt.want) || (err == nil) != (tt.want == nil) {
			t.Errorf("%s: %v, want %v", name, err, tt.want)
		}
		if !src.Closed || len(find(&d.Report, "TWD001")) != 0 {
			t.Errorf("%s: closed %v, untraceable %v", name, src.Closed, find(&d.Report, "TWD001"))
		}
	}
}

// TestWatchEndsWithItsContext: when it is done, the window is over, and there is a report.
func TestWatchEndsWithItsContext(t *testing.T) {
	for name, traced := range map[string]bool{"counters": false, "trace": true} {
		src := storming(7)
		src.Until = src.From.Add(1000 * time.Hour)
		ctx, cancel := context.WithCancelCause(t.Context())
		shown := 0
		o := Options{Window: time.Hour, Host: &fakeHost{spaces: ns(7)}, Show: func(time.Duration, []advice.Finding) {
			if shown++; shown == 2 {
				cancel(errFake)
			}
		}}
		if traced {
			o.Trace = traceOf(src)
		}
		d := New(o)
		if err := d.Watch(ctx); err != nil || len(d.Report.Spaces) != 1 || d.Report.Traced != traced || d.Report.Window >= time.Hour {
			t.Errorf("%s: %v, %+v", name, err, d.Report)
		}
		cancel(nil)
	}
	ctx, cancel := context.WithDeadline(t.Context(), time.Now().Add(50*time.Millisecond))
	defer cancel()
	src := storming(7)
	src.Until = src.From.Add(1e6 * time.Hour)
	d := New(Options{Window: time.Hour, Host: &fakeHost{spaces: ns(7)}, Trace: traceOf(src)})
	if err := d.Watch(ctx); err != nil || !d.Report.Traced {
		t.Errorf("with a deadline: %v, %+v", err, d.Report)
	}
}

// TestThisHost: the facts of this process's own namespace.
func TestThisHost(t *testing.T) {
	h := New(Options{}).opt.Host
	list, err := h.Namespaces()
	if err != nil || len(list) == 0 {
		t.Fatal(list, err)
	}
	c, err := h.Count(list[0])
	if err != nil {
		t.Fatal(err)
	}
	f, err := h.Facts(t.Context(), list[0], c)
	if err != nil || f.NetNS.Inum != list[0].Inum || f.Limits.PortHigh == 0 || f.Window <= 0 {
		t.Fatalf("%+v, %v", f, err)
	}
	if err := h.Listeners(t.Context(), &f); err != nil {
		t.Error(err)
	}
}
